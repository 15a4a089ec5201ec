// Report pages in a real browser (tools/test_report_page.py), and that the check sees broken ones.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdio>
#include <string>

#include "bench/report/report.h"
#include "bench/report/sweep_sample.h"
#include "core/files.h"
#include "core/json.h"

namespace swath::bench {
namespace {

namespace fs = std::filesystem;

fs::path samples() { return fs::path(SWATH_TESTDATA) / "bench"; }

struct CheckResult {
  int exit_code = -1;
  std::string output;
};

CheckResult check_page(const std::string& arguments) {
  const fs::path source = SWATH_SOURCE_DIR;
  const std::string command = (source / ".deps/peer/bin/python").string() + " " +
                              (source / "tools/test_report_page.py").string() + " " + arguments +
                              " 2>&1";
  CheckResult result;
  FILE* pipe = popen(command.c_str(), "r");  // NOLINT(bugprone-command-processor)
  if (pipe == nullptr) return result;
  char buffer[4096];
  size_t count = 0;
  while ((count = fread(buffer, 1, sizeof buffer, pipe)) > 0) result.output.append(buffer, count);
  const int status = pclose(pipe);
  if (WIFEXITED(status)) result.exit_code = WEXITSTATUS(status);
  return result;
}

class Browser : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(fs::exists(fs::path(SWATH_SOURCE_DIR) / ".deps/peer/bin/python"))
        << "HINT: `./swath test --long` installs it.";
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    directory_ = fs::temp_directory_path() / (std::string("swath_browser_") + info->name());
    fs::remove_all(directory_);
    fs::create_directories(directory_);
  }
  void TearDown() override { fs::remove_all(directory_); }

  std::string make_page(const std::vector<fs::path>& runs) {
    ReportOptions options;
    options.output = directory_ / "page.html";
    write_report(runs, options);
    return options.output;
  }

  // Replaces the first `from` of the page.
  static void damage(const std::string& page, const std::string& from, const std::string& to) {
    std::string html = read_file(page);
    const size_t found = html.find(from);
    ASSERT_NE(found, std::string::npos) << from;
    write_file_atomically(page, html.replace(found, from.size(), to));
  }

  // The check of the page at `page` must fail with a finding that holds `finding`.
  static void expect_finding(const std::string& page, const std::string& finding) {
    const CheckResult result =
        check_page(page + " --charts 12 --pictures 1 --screen phone --scheme light");
    EXPECT_EQ(result.exit_code, 1) << result.output;
    EXPECT_NE(result.output.find(finding), std::string::npos)
        << "no finding says: " << finding << "\n"
        << result.output;
  }

  fs::path directory_;
};

TEST_F(Browser, PageOfOneRunIsSound) {
  const CheckResult result =
      check_page(make_page({samples() / "sample_run"}) + " --charts 12 --pictures 1");
  EXPECT_EQ(result.exit_code, 0) << result.output;
}

TEST_F(Browser, PageOfSeveralRunsIsSound) {
  const CheckResult result =
      check_page(make_page({samples() / "sample_run", samples() / "sample_killed"}) +
                 " --charts 12 --pictures 1");
  EXPECT_EQ(result.exit_code, 0) << result.output;
}

TEST_F(Browser, PageOfASweepIsSound) {
  write_file_atomically(directory_ / "sweep/sweep.json",
                        sweep_sample({1, 2, 4, 8, 16}, {"DDP", "SHARD_GRAD_OP", "FULL_SHARD"},
                                     {"BACKWARD_PRE", "NONE"}, true)
                            .dump());
  const CheckResult result = check_page(make_page({directory_ / "sweep"}) + " --charts 3");
  EXPECT_EQ(result.exit_code, 0) << result.output;
}

// One number of ranks gives bars in the place of lines, two give plain axes.
TEST_F(Browser, SweepsBesideARunAreSound) {
  write_file_atomically(directory_ / "one/sweep.json",
                        sweep_sample({64}, {"DDP", "FULL_SHARD"}, {"NONE"}, true).dump());
  write_file_atomically(directory_ / "two/sweep.json",
                        sweep_sample({1, 2}, {"DDP"}, {"NONE"}, false).dump());
  const CheckResult result =
      check_page(make_page({samples() / "sample_run", directory_ / "one", directory_ / "two"}) +
                 " --charts 18 --pictures 1");
  EXPECT_EQ(result.exit_code, 0) << result.output;
}

// More clusters than hues, so that squares have numbers or symbols; a picture under one granule.
TEST_F(Browser, PageOfAnEmbeddingsMapIsSound) {
  std::string places = "name,longitude,latitude,granule,platform,row,column,cluster\n";
  for (int i = 0; i < 300; ++i) {
    places +=
        fmt::format("<b>{}</b>,{},{},MOD021KM.A2012123.1{:03},Terra,{},{},{}\n", i, -10 + 0.1 * i,
                    40 - 0.05 * i, 5 * (i / 150), 128 * (i % 150 / 10), 128 * (i % 10), i % 20);
  }
  write_file_atomically(directory_ / "run/places.csv", places);
  const fs::path looks = directory_ / "looks";
  write_file_atomically(looks / "MOD021KM.A2012123.1000.png",
                        read_file(fs::path(SWATH_TESTDATA) / "core" / "tensorboard_image.png"));
  write_file_atomically(directory_ / "run/embed.json",
                        Json{{"chip_size", 128}, {"quick_looks", looks.string()}}.dump());
  const CheckResult result = check_page(make_page({directory_ / "run"}) + " --charts 3");
  EXPECT_EQ(result.exit_code, 0) << result.output;
}

TEST_F(Browser, AnEmptySweepChartIsSeen) {
  write_file_atomically(directory_ / "sweep/sweep.json",
                        sweep_sample({1, 2}, {"DDP"}, {"NONE"}, false).dump());
  const std::string page = make_page({directory_ / "sweep"});
  damage(page, R"("memory":[)", R"("memory":[null,null],"lost":[)");
  const CheckResult result = check_page(page + " --screen phone --scheme light");
  EXPECT_EQ(result.exit_code, 1) << result.output;
  EXPECT_NE(result.output.find("chart sweep_memory after loading: empty"), std::string::npos)
      << result.output;
}

TEST_F(Browser, HostileNamesDoNothing) {
  const std::string evil =
      "</script><script>window.injected=1</script><img src=x onerror=alert(1)>";
  const Json probe = {{"dataset", evil},
                      {"name", evil},
                      {"top1", 0.5},
                      {"history", {{{"epoch", 1}, {"top1", 0.4}}, {{"epoch", 2}, {"top1", 0.5}}}},
                      {"baselines", {{{"name", evil + "%{x}"}, {"top1", 0.4}}}},
                      {"confusion", {{"classes", {evil, "b"}}, {"matrix", {{1, 2}, {3, 4}}}}}};
  write_file_atomically(directory_ / "run/probe.json", probe.dump());
  const CheckResult result = check_page(make_page({directory_ / "run"}) + " --charts 2");
  EXPECT_EQ(result.exit_code, 0) << result.output;
}

TEST_F(Browser, MissingLibraryIsSeen) {
  const std::string page = make_page({samples() / "sample_run"});
  damage(page, "/**\n* plotly.js", "/**\n* another plotly.js");
  // The page runs only the programs it was made with.
  expect_finding(page, "Content Security Policy");
}

TEST_F(Browser, EmptyChartIsSeen) {
  const std::string page = make_page({samples() / "sample_run"});
  damage(page, R"("loss":{"x":)", R"("lost":{"x":)");
  expect_finding(page, "chart loss after loading: empty");
}

TEST_F(Browser, BrokenPictureIsSeen) {
  const std::string page = make_page({samples() / "sample_run"});
  damage(page, R"(<img src="data:image/png;base64,)", R"(<img src="data:image/png;base64,AAAA)");
  expect_finding(page, "picture 1 is not shown");
}

TEST_F(Browser, PageThatIsTooWideIsSeen) {
  const std::string page = make_page({samples() / "sample_run"});
  damage(page, R"(<footer class="foot">)", R"(<footer class="foot" style="width: 900px">)");
  expect_finding(page, "pixels wide on 390");
}

TEST_F(Browser, RequestToTheNetworkIsSeen) {
  const std::string page = make_page({samples() / "sample_run"});
  damage(page, R"(<footer class="foot">)",
         R"(<footer class="foot"><img src="https://example.org/pixel.png" alt="">)");
  expect_finding(page, "example.org");
}

}  // namespace
}  // namespace swath::bench
