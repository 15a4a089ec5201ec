#include "bench/report/report.h"

#include <gtest/gtest.h>

#include <string>

#include "bench/report/page.h"
#include "bench/report/sweep_sample.h"
#include "core/error.h"
#include "core/files.h"

namespace swath::bench {
namespace {

namespace fs = std::filesystem;

fs::path samples() { return fs::path(SWATH_TESTDATA) / "bench"; }

size_t count_of(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t found = 0; (found = text.find(part, found)) != std::string::npos; ++found) ++count;
  return count;
}

// Pages in a folder of their own, with a few bytes in the place of plotly.min.js.
class ReportFiles : public testing::Test {
 protected:
  void SetUp() override {
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    directory_ = fs::temp_directory_path() / (std::string("swath_report_") + info->name());
    fs::remove_all(directory_);
    fs::create_directories(directory_);
    options_.output = directory_ / "page.html";
    options_.plotly = directory_ / "plotly.js";
    write_file_atomically(options_.plotly, "/* charts */ var text = '</script>';");
  }
  void TearDown() override { fs::remove_all(directory_); }

  std::string page() const { return read_file(options_.output); }

  fs::path directory_;
  ReportOptions options_;
};

TEST_F(ReportFiles, PageHoldsWhatTheRunHas) {
  const Json result = write_report({samples() / "sample_run"}, options_);
  EXPECT_EQ(result["report"], options_.output);
  EXPECT_EQ(result["charts"], 12);
  EXPECT_EQ(result["pictures"], 1);
  EXPECT_TRUE(result["warnings"].empty());
  const std::string html = page();
  EXPECT_EQ(result["bytes"], html.size());
  EXPECT_EQ(count_of(html, "class=\"chart"), 12U);
  EXPECT_EQ(count_of(html, "<img src=\"data:image/png;base64,"), 1U);
  for (const char* part :
       {"data-chart=\"loss\"", "data-chart=\"lr\"", "data-chart=\"throughput\"",
        "data-chart=\"wait\"", "data-chart=\"memory\"", "data-chart=\"mfu\"",
        "data-chart=\"probe_curve\"", "data-chart=\"few_shot\"", "data-chart=\"confusion\"",
        "untrained encoder", "steps.csv", "base_lr = 0.00015", "vit_pico", "Chips never trained on",
        "+6.8 points</span> (95 %: +4.9 to +8.8)", "Balanced accuracy on",
        "points</span> (95 %: +5.2 to +13.0)"}) {
    EXPECT_NE(html.find(part), std::string::npos) << part;
  }
  // Without the charts' library: page, style, program, picture and numbers.
  EXPECT_LT(html.size(), 400000U);
  // Nothing is loaded from anywhere.
  EXPECT_EQ(html.find("http://"), html.find("http://www.w3.org/2000/svg"));
  EXPECT_EQ(html.find("https://"), std::string::npos);
}

TEST_F(ReportFiles, PowerUtilisationAndTheTimeOfAnEpochAreShown) {
  fs::create_directories(directory_ / "run");
  write_file_atomically(
      directory_ / "run" / "log.jsonl",
      R"({"kind":"step","step":5,"loss":1,"epoch":1,"watts":310,"utilisation":0.9,"time":100})"
      "\n"
      R"({"kind":"epoch","step":5,"epoch":1,"seconds":75,"test_loss":0.9})"
      "\n"
      R"({"kind":"step","step":10,"loss":0.5,"epoch":2,"watts":330,"utilisation":0.8,"time":200})"
      "\n"
      R"({"kind":"epoch","step":10,"epoch":2,"seconds":75,"test_loss":0.7})"
      "\n"
      R"({"kind":"end","steps":10,"seconds":150,"reason":"max_minutes"})"
      "\n");
  write_report({directory_ / "run"}, options_);
  const std::string html = page();
  for (const char* part :
       {"data-chart=\"power\"", "Power. run: 310 at step 5, 330 at step 10",
        "data-chart=\"utilisation\"", "2 epochs of 1", "finished: budget reached"}) {
    EXPECT_NE(html.find(part), std::string::npos) << part;
  }
}

// Four scripts: theme, data, plotly, program. One that a text brought along would be a fifth, and
// one that a text ended early would be a fifth end.
void expect_four_scripts(const std::string& html) {
  EXPECT_EQ(count_of(html, "<script"), 4U);
  EXPECT_EQ(count_of(html, "</script"), 4U);
  EXPECT_EQ(count_of(html, "<!--"), 0U);
}

TEST_F(ReportFiles, HostileTextsStayTexts) {
  const std::string evil = "</script><script>window.injected=1</script><!--{{data}}\"'";
  const Json named = {{"dataset", evil},
                      {"name", evil},
                      {"top1", 0.5},
                      {"history", {{{"epoch", 1}, {"top1", 0.5}}}},
                      {"baselines", {{{"name", evil}, {"top1", 0.4}}}},
                      {"few_shot", {{{"name", evil}, {"shots", 1}, {"top1", 0.3}}}},
                      {"confusion", {{"classes", {evil, "b"}}, {"matrix", {{1, 2}, {3, 4}}}}}};
  const Json start = {{"kind", "run"},
                      {"command", evil},
                      {"machine", evil},
                      {"model", {{"name", evil}}},
                      {"data", {{evil, evil}}}};
  const Json step = {{"kind", "step"}, {"step", 1}, {"loss", 1}};
  const Json event = {{"kind", "event"}, {"message", evil}};
  const fs::path run = directory_ / "<script>run";
  write_file_atomically(run / "probe.json", named.dump());
  write_file_atomically(run / "log.jsonl", start.dump() + "\n" + step.dump() + "\n" + event.dump() +
                                               "\n" + evil + "\n");
  write_file_atomically(run / "config.toml", evil + "\xff");
  const std::string png = read_file(fs::path(SWATH_TESTDATA) / "core" / "tensorboard_image.png");
  write_file_atomically(run / "a.png", png);
  write_file_atomically(run / "pictures.json",
                        Json({{{"file", "a.png"}, {"caption", evil}}}).dump());
  options_.title = evil;
  write_report({run}, options_);
  const std::string html = page();
  expect_four_scripts(html);
  EXPECT_EQ(html.find("<script>window.injected"), std::string::npos);
}

TEST_F(ReportFiles, SeveralRunsShareAPage) {
  const Json result =
      write_report({samples() / "sample_run", samples() / "sample_killed"}, options_);
  EXPECT_EQ(result["runs"], 2);
  EXPECT_EQ(result["missing"].size(), 3U);
  const std::string html = page();
  expect_four_scripts(html);
  EXPECT_NE(html.find("2 runs side by side"), std::string::npos);
  EXPECT_NE(html.find("sample_killed: no probe (probe.json)"), std::string::npos);
  EXPECT_NE(html.find("no end record"), std::string::npos);
}

// A share of what a maker promises is not a share of what this machine was seen to do.
TEST_F(ReportFiles, AShareOfPeakComputeSaysOfWhichPeak) {
  const auto write_run = [&](const std::string& name, const std::string& origin) {
    const Json start = {{"kind", "run"}, {"peak_flops", 1e12}, {"peak_flops_are", origin}};
    const Json step = {{"kind", "step"}, {"step", 1}, {"loss", 1}, {"mfu", 0.25}};
    write_file_atomically(directory_ / name / "log.jsonl",
                          start.dump() + "\n" + step.dump() + "\n");
    return directory_ / name;
  };
  const fs::path published = write_run("gpu", "published");
  const fs::path measured = write_run("cpu", "measured");
  write_report({published}, options_);
  EXPECT_EQ(count_of(page(), "<p>median 25.0\u202f% of the published peak</p>"), 1U);
  EXPECT_EQ(count_of(page(), "of the published peak"), 2U);  // the chart's note and the tile's
  EXPECT_EQ(count_of(page(), "of the measured matrix-product rate"), 0U);
  write_report({measured}, options_);
  EXPECT_EQ(count_of(page(), "<p>median 25.0\u202f% of the measured matrix-product rate</p>"), 1U);
  EXPECT_EQ(count_of(page(), "of the measured matrix-product rate"), 2U);
  EXPECT_EQ(count_of(page(), "of the published peak"), 0U);
  write_report({published, measured}, options_);
  EXPECT_EQ(
      count_of(page(), "<p>gpu of the published peak; cpu of the measured matrix-product rate</p>"),
      1U);
  EXPECT_EQ(count_of(page(), "25.0\u202f% <span class=\"muted\">of the published peak</span>"), 1U);
  write_report({published, write_run("other_gpu", "published")}, options_);
  EXPECT_EQ(count_of(page(), "<p>of the published peak</p>"), 1U);
}

TEST_F(ReportFiles, ARunWithLittleHasAPageToo) {
  write_file_atomically(directory_ / "run/probe.json", R"({"top1": 0.5, "confusion":
      {"classes": ["a", "b"], "matrix": [[1, 2]]}})");
  const Json result = write_report({directory_ / "run"}, options_);
  EXPECT_EQ(result["charts"], 0);
  ASSERT_EQ(result["warnings"].size(), 1U);
  EXPECT_NE(result["warnings"][0].get<std::string>().find("probe.json"), std::string::npos);
  EXPECT_EQ(result["missing"].size(), 3U);
}

TEST_F(ReportFiles, FilesLieBesideThePageWhenAskedFor) {
  options_.files = true;
  const Json result = write_report({samples() / "sample_run"}, options_);
  ASSERT_EQ(result["files"].size(), 5U);
  for (const Json& file : result["files"]) EXPECT_TRUE(fs::exists(file.get<std::string>())) << file;
  const std::string svg = read_file(directory_ / "page_files/loss.svg");
  EXPECT_TRUE(svg.starts_with("<svg xmlns"));
}

TEST_F(ReportFiles, ASweepHasAPageOfItsOwn) {
  const fs::path sweep = directory_ / "sweep";
  write_file_atomically(
      sweep / "sweep.json",
      sweep_sample({1, 2, 4}, {"DDP", "FULL_SHARD"}, {"BACKWARD_PRE", "NONE"}, true).dump());
  const Json result = write_report({sweep}, options_);
  EXPECT_EQ(result["runs"], 0);
  EXPECT_EQ(result["sweeps"], 1);
  EXPECT_EQ(result["charts"], 3);
  EXPECT_TRUE(result["warnings"].empty());
  EXPECT_TRUE(result["missing"].empty());
  const std::string html = page();
  expect_four_scripts(html);
  EXPECT_EQ(count_of(html, "class=\"chart"), 3U);
  EXPECT_EQ(count_of(html, "id=\"summary\""), 0U);
  EXPECT_EQ(count_of(html, "<th scope=\"rowgroup\""), 3U);
  EXPECT_EQ(count_of(html, "<tr><th scope=\"row\">"), 8U);  // three of DDP, five of FULL_SHARD
  EXPECT_EQ(count_of(html, "download=\"sweep.csv\""), 1U);
  for (const char* part :
       {"data-chart=\"sweep_rate\" data-sweep=\"0\"", "data-chart=\"sweep_memory\"",
        "data-chart=\"sweep_wait\"", "3 cases on 1 to 4 ranks", "FULL_SHARD, NONE",
        "DDP: 61.5 on 1, 121.5 on 2", ">Efficiency</th>", ">Energy</th>", "97.6\u202f%",
        "dashed: the fastest on 1 rank, times the ranks", "All-gathers limited."}) {
    EXPECT_NE(html.find(part), std::string::npos) << part;
  }
}

TEST_F(ReportFiles, WhatASweepLacksIsLeftOut) {
  write_file_atomically(directory_ / "sweep/sweep.json", R"({"rows": [
      {"ranks": 64, "strategy": "<b>&", "peak_memory_bytes": 1073741824},
      {"ranks": 64, "strategy": "DDP", "mfu": 38}]})");
  const Json result = write_report({directory_ / "sweep"}, options_);
  EXPECT_EQ(result["charts"], 1);
  ASSERT_EQ(result["warnings"].size(), 1U);
  const std::string html = page();
  EXPECT_NE(html.find("row 2 has a share mfu outside 0..1; it was left out."), std::string::npos);
  EXPECT_NE(
      html.find("&lt;b&gt;&amp;</th></tr><tr><th scope=\"row\">64</th><td>1\u202fGiB</td></tr>"),
      std::string::npos);
  EXPECT_EQ(html.find("<b>&"), std::string::npos);
  for (const char* part : {">Images/s</th>", ">Efficiency</th>", ">Energy</th>", "\"sweep_rate\"",
                           "\"sweep_wait\"", "Prefetch"}) {
    EXPECT_EQ(html.find(part), std::string::npos) << part;
  }
}

TEST_F(ReportFiles, ASweepStandsBesideARun) {
  for (const char* name : {"one", "two"}) {
    write_file_atomically(directory_ / name / "sweep.json",
                          sweep_sample({1, 2}, {"DDP"}, {"NONE"}, false).dump());
  }
  const Json result =
      write_report({samples() / "sample_run", directory_ / "one", directory_ / "two"}, options_);
  EXPECT_EQ(result["runs"], 1);
  EXPECT_EQ(result["sweeps"], 2);
  EXPECT_EQ(result["charts"], 18);
  EXPECT_TRUE(result["missing"].empty());
  const std::string html = page();
  for (const char* part : {"1 run and 2 sweeps side by side", "sample_run, one, two", "Sweep one",
                           "Sweep two", "download=\"one-sweep.csv\"", "download=\"steps.csv\""}) {
    EXPECT_NE(html.find(part), std::string::npos) << part;
  }
}

TEST_F(ReportFiles, AnUnusableSweepIsNoResult) {
  for (const char* contents : {"{\"rows\": []}", "[]", "{"}) {
    write_file_atomically(directory_ / "sweep/sweep.json", contents);
    try {
      write_report({directory_ / "sweep"}, options_);
      FAIL() << "no error for " << contents;
    } catch (const Error& error) {
      EXPECT_NE(error.message().find("holds no results"), std::string::npos);
      EXPECT_NE(error.message().find("sweep/sweep.json "), std::string::npos) << error.message();
    }
  }
}

// Two processes of one run: saves and their stalls add up over both, and so does the time.
TEST_F(ReportFiles, WhatSavingCostIsTold) {
  std::string log;
  const auto add = [&](const Json& record) { log += record.dump() + "\n"; };
  const auto add_save = [&](double stall, double write) {
    add({{"kind", "checkpoint"}, {"step", 1}, {"stall_seconds", stall}, {"write_seconds", write}});
  };
  add({{"kind", "run"}, {"time", 0}});
  add({{"kind", "step"}, {"step", 1}, {"loss", 1}, {"time", 60}});
  add_save(0.5, 9);
  add_save(2.5, 3);
  write_file_atomically(directory_ / "a/log.jsonl",
                        log + Json{{"kind", "end"}, {"seconds", 100}}.dump() + "\n");
  add({{"kind", "run"}, {"time", 1000}});
  add_save(1, 4);
  add({{"kind", "step"}, {"step", 2}, {"loss", 1}, {"time", 1020}});
  add({{"kind", "end"}, {"seconds", 25}});
  write_file_atomically(directory_ / "b/log.jsonl", log);
  write_report({directory_ / "a", directory_ / "b"}, options_);
  const std::string html = page();
  const std::string head = "<th scope=\"row\" class=\"wrap\">";
  EXPECT_NE(html.find(head + "a</th><td>2</td><td>3\u202fs</td><td>3.0\u202f%</td>"),
            std::string::npos);
  EXPECT_NE(html.find(head + "b</th><td>3</td><td>4\u202fs</td><td>5.0\u202f%</td>"
                             "<td>4\u202fs</td></tr>"),
            std::string::npos);
  // A log without these fields has no such table.
  write_report({samples() / "sample_run"}, options_);
  EXPECT_EQ(page().find("Saving checkpoints"), std::string::npos);
}

TEST_F(ReportFiles, OnlyOurOwnPagesAreReplaced) {
  write_report({samples() / "sample_run"}, options_);
  EXPECT_NO_THROW(write_report({samples() / "sample_run"}, options_));
  write_file_atomically(options_.output, "somebody's thesis");
  EXPECT_THROW(write_report({samples() / "sample_run"}, options_), UsageError);
  EXPECT_EQ(page(), "somebody's thesis");
  options_.overwrite = true;
  EXPECT_NO_THROW(write_report({samples() / "sample_run"}, options_));
}

TEST_F(ReportFiles, AMissingLibraryIsNamedWithItsRemedy) {
  options_.plotly = directory_ / "absent.js";
  try {
    write_report({samples() / "sample_run"}, options_);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_NE(error.message().find("absent.js"), std::string::npos);
    EXPECT_NE(error.hint().find("./swath build"), std::string::npos);
  }
  EXPECT_FALSE(fs::exists(options_.output));
}

TEST_F(ReportFiles, WrongUseIsAUsageError) {
  EXPECT_THROW(write_report({}, options_), UsageError);
  EXPECT_THROW(write_report({directory_ / "absent"}, options_), UsageError);
}

// The numbers of `swath clouds` on the page, and that labels were derived and granules synthetic
// where they were.
TEST_F(ReportFiles, CloudClassesAreComparedAndMarkedAsDerived) {
  const auto summary = [](double mean, int count) {
    return Json{{"mean", mean}, {"sd", 0.012}, {"count", count}};
  };
  Json values = {{"derived", "a <known> field"},
                 {"synthetic", 3},
                 {"test_chips_seen", 12},
                 {"classes", 2},
                 {"class_names", {"low", "high"}},
                 {"test_images", 40},
                 {"test_granules", 5},
                 {"prior", {0.75, 0.25}},
                 {"clusters", {{"probe", {{"ami", summary(0.321, 5)}, {"ari", summary(0.2, 5)}}}}},
                 {"table", Json::array()},
                 {"rows", Json::array()}};
  for (const char* method : {"probe", "majority"}) {
    for (const double fraction : {0.01, 1.0}) {
      const int draws = fraction < 1 ? 3 : 1;
      values["table"].push_back({{"method", method},
                                 {"fraction", fraction},
                                 {"top1", summary(0.5 + fraction / 10, draws)},
                                 {"balanced_accuracy", summary(0.4, draws)}});
    }
    values["rows"].push_back({{"method", method},
                              {"fraction", 1.0},
                              {"top1", 0.6},
                              {"kappa", 0.4567},
                              {"intervals", {{"top1", {0.55, 0.65}}}},
                              {"agreement", {{"rotations", 0.875}}},
                              {"recall", {0.5, nullptr}},
                              {"confusion", {{21, 9}, {method[0] == 'p' ? 4 : 5, 6}}},
                              {"physics", {{"pressure", {{"pearson_r", 0.987}, {"rms", 12.5}}}}},
                              {"subsets", {{"platform Aqua", {{"images", 7}, {"top1", 0.25}}}}}});
  }
  write_file_atomically(directory_ / "run/clouds.json", values.dump());
  const Json result = write_report({directory_ / "run"}, options_);
  EXPECT_EQ(result["missing"].size(), 0U);
  EXPECT_EQ(result["warnings"].size(), 0U);
  EXPECT_EQ(result["charts"], 1);
  EXPECT_EQ(count_of(page(), R"(data-chart="confusion" data-clouds="0")"), 1U);
  EXPECT_EQ(
      count_of(
          page(),
          R"("clouds":[{"confusion":{"classes":["low","high"],"counts":[[21.0,9.0],[4.0,6.0]]}}])"),
      1U);
  EXPECT_EQ(count_of(page(), "<td class=\"text wrap\">high</td><td>9</td><td>30.0\u202f%</td>"),
            1U);
  EXPECT_EQ(count_of(page(), R"(<section id="clouds")"), 1U);
  EXPECT_EQ(count_of(page(), "derived from known fields (a &lt;known&gt; field)"), 1U);
  EXPECT_EQ(count_of(page(), "Synthetic granules in this comparison: 3."), 1U);
  EXPECT_EQ(count_of(page(), "12 of the test chips were among those"), 1U);
  EXPECT_EQ(count_of(page(), "1 % of the labels"), 2U);
  EXPECT_EQ(count_of(page(), "50.1\u202f% <span class=\"muted\">± 1.2</span>"), 2U);
  EXPECT_EQ(count_of(page(), "(55.0\u202f%–65.0\u202f%)"), 2U);
  EXPECT_EQ(count_of(page(), "<td>0.457</td>"), 2U);
  EXPECT_EQ(count_of(page(), "<td>0.321</td>"), 1U);
  EXPECT_EQ(count_of(page(), "<td>87.5\u202f%</td>"), 2U);
  EXPECT_EQ(count_of(page(), "r 0.987"), 2U);
  EXPECT_EQ(count_of(page(), "platform Aqua"), 1U);
  EXPECT_EQ(count_of(page(), "Recall of each of 2 classes"), 1U);
  values.erase("derived");
  values["synthetic"] = nullptr;
  values["rows"][0]["confusion"] = {{21, 9}, {4}};
  write_file_atomically(directory_ / "run/clouds.json", values.dump());
  const Json broken = write_report({directory_ / "run"}, options_);
  EXPECT_EQ(count_of(page(), "derived from known fields"), 0U);
  EXPECT_EQ(count_of(page(), "Synthetic granules in this comparison"), 0U);
  EXPECT_EQ(broken["charts"], 0);
  ASSERT_EQ(broken["warnings"].size(), 1U);
  EXPECT_NE(broken["warnings"][0].get<std::string>().find("clouds.json: the confusion matrix"),
            std::string::npos);
  write_file_atomically(directory_ / "run/clouds.json", "[]");
  EXPECT_THROW(write_report({directory_ / "run"}, options_), Error);
}

// What `swath embed` wrote of two chips on a swath and one elsewhere.
TEST_F(ReportFiles, EmbeddingsAreDrawnWhereTheChipsLie) {
  const std::string evil = "</script><script>window.injected=1</script>";
  write_file_atomically(directory_ / "run/places.csv",
                        "name,longitude,latitude,granule,platform,row,column,cluster\n"
                        "one" +
                            evil + ",10.5,-20,MOD021KM.A2012123.1000" + evil +
                            ",Terra,0,128,0\n"
                            "two,11,-21,MOD021KM.A2012123.1000" +
                            evil +
                            ",Terra,128,0,0\n"
                            "three,12,-22,,,,,1\n");
  const auto write_description = [this](int num_synthetic) {
    write_file_atomically(directory_ / "run/embed.json", Json{{"chip_size", 128},
                                                              {"checkpoint", "runs/<p>"},
                                                              {"synthetic", num_synthetic},
                                                              {"clusters", {{"seed", 7}}}}
                                                             .dump());
  };
  write_description(1);
  const Json result = write_report({directory_ / "run"}, options_);
  EXPECT_EQ(result["charts"], 2);
  EXPECT_TRUE(result["warnings"].empty());
  EXPECT_TRUE(result["missing"].empty());
  std::string html = page();
  expect_four_scripts(html);
  for (const char* part :
       {R"(<section id="embeddings")", R"(data-chart="embedding_positions" data-embedding="0")",
        R"(data-chart="embedding_swath" data-embedding="0" data-granule="0")",
        "3 chips of 1 granule in 2 clusters; encoder: runs/&lt;p&gt;",
        "Synthetic granules on this map: 1.", "seed 7",
        R"(<span class="cluster-1" aria-hidden="true">●</span> 0 <span class="muted">(2)</span>)",
        R"(<span class="cluster-2" aria-hidden="true">●</span> 1 <span class="muted">(1)</span>)",
        R"("side":128.0)"}) {
    EXPECT_EQ(count_of(html, part), 1U) << part;
  }
  write_description(0);
  write_report({directory_ / "run"}, options_);
  EXPECT_EQ(count_of(page(), "Synthetic granules"), 0U);
}

// Beyond twelve granules and twelve hues.
TEST_F(ReportFiles, AMapOfManyGranulesSaysWhatItLeavesOut) {
  std::string places = "name,longitude,latitude,granule,platform,row,column,cluster\n";
  for (int i = 0; i < 15; ++i) {
    places += "chip,,,MOD021KM.A20121" + std::to_string(10 + i) + ".1000,Terra,0,0," +
              std::to_string(i) + "\n";
  }
  write_file_atomically(directory_ / "run/places.csv", places);
  const Json result = write_report({directory_ / "run"}, options_);
  EXPECT_EQ(result["charts"], 12);
  const std::string html = page();
  EXPECT_EQ(count_of(html, "Of 15 granules the first 12 by name are drawn; 3 are left out."), 1U);
  EXPECT_EQ(count_of(html, "data-chart=\"embedding_positions\""), 0U);
  EXPECT_EQ(count_of(html, R"(<span class="cluster-1" aria-hidden="true">◆</span> 12)"), 1U);
  // A damaged table is no result.
  write_file_atomically(directory_ / "run/places.csv", places + "half a line\n");
  EXPECT_THROW(write_report({directory_ / "run"}, options_), Error);
}

TEST(Report, TemplateValuesAreNotReadAgain) {
  EXPECT_EQ(fill_template("a {{x}} b {{y}}", {{"x", "{{y}}"}, {"y", "2"}}), "a {{y}} b 2");
  EXPECT_THROW(fill_template("{{z}}", {{"x", "1"}}), Error);
}

}  // namespace
}  // namespace swath::bench
