#include "bench/report/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <fstream>

#include "bench/report/chart_data.h"
#include "bench/report/chart_svg.h"
#include "bench/report/csv.h"
#include "bench/report/html.h"
#include "bench/report/page.h"
#include "bench/report/run_figures.h"
#include "core/error.h"
#include "core/files.h"
#include "core/log.h"

namespace swath::bench {
namespace {

namespace fs = std::filesystem;

// A larger CSV file is not carried inside the page; --files still writes it.
constexpr size_t kLargestEmbeddedCsv = size_t{4} << 20;
constexpr std::string_view kOurPage = R"(<meta name="generator" content="swath report">)";

fs::path output_path(const std::vector<fs::path>& runs, const ReportOptions& options) {
  if (!options.output.empty()) {
    const fs::path output = options.output;
    return fs::is_directory(output) ? output / "report.html" : output;
  }
  if (runs.size() == 1) return runs.front() / "report.html";
  return fs::weakly_canonical(runs.front()).parent_path() / "report.html";
}

void refuse_foreign_file(const fs::path& path) {
  if (!fs::exists(path)) return;
  std::ifstream file(path, std::ios::binary);
  std::string head(2048, '\0');
  file.read(head.data(), static_cast<std::streamsize>(head.size()));
  if (head.find(kOurPage) == std::string::npos) {
    throw UsageError(fmt::format("{} exists and is not a report of swath.", path.string()),
                     "choose another --output, or replace it with --overwrite.");
  }
}

// A confusion matrix that does not fit together is named and left out; the rest of its result
// counts.
void drop_broken_confusions(RunDirectory& run) {
  const auto is_broken = [&run](const auto& result) {
    try {
      confusion_of(result);
      return false;
    } catch (const Error& error) {
      run.warnings.push_back(
          fmt::format("{} It was left out.", (run.path / error.message()).string()));
      return true;
    }
  };
  for (ProbeResult& probe : run.probes) {
    if (is_broken(probe)) probe.values.erase("confusion");
  }
  for (CloudResult& clouds : run.clouds) {
    if (!is_broken(clouds)) continue;
    for (Json& row : clouds.values.at("rows")) {
      if (row.is_object()) row.erase("confusion");
    }
  }
}

std::string heading_of(const std::vector<RunDirectory>& directories, const ReportOptions& options) {
  if (!options.title.empty()) return options.title;
  if (directories.size() == 1) return directories.front().name;
  const auto num_runs = std::count_if(directories.begin(), directories.end(),
                                      [](const RunDirectory& d) { return d.holds_run(); });
  const auto num_sweeps = static_cast<std::ptrdiff_t>(directories.size()) - num_runs;
  const auto counted = [](std::ptrdiff_t count, const char* what) {
    return count == 0 ? "" : fmt::format("{} {}{}", count, what, count == 1 ? "" : "s");
  };
  return fmt::format("{}{}{} side by side", counted(num_runs, "run"),
                     num_runs > 0 && num_sweeps > 0 ? " and " : "", counted(num_sweeps, "sweep"));
}

std::string subtitle_of(const std::vector<RunDirectory>& directories) {
  if (directories.size() > 1) {
    std::string names;
    for (const RunDirectory& run : directories) names += (names.empty() ? "" : ", ") + run.name;
    return names;
  }
  const RunDirectory& run = directories.front();
  if (!run.holds_run()) {
    const std::vector<double> ranks = run.sweep.ranks();
    const bool is_one = run.sweep.cases.size() == 1;
    return fmt::format(
        "{} on {} ranks",
        is_one ? run.sweep.cases.front().name : fmt::format("{} cases", run.sweep.cases.size()),
        ranks.size() == 1
            ? format_count(ranks.front())
            : fmt::format("{} to {}", format_count(ranks.front()), format_count(ranks.back())));
  }
  const Json model = run.run.value("model", Json::object());
  std::string text = text_of(model, "name");
  const auto add = [&text](const std::string& part) {
    if (!part.empty()) text += (text.empty() ? "" : " · ") + part;
  };
  const double parameters = number_of(model, "parameters");
  if (!std::isnan(parameters)) add(format_large(parameters) + " parameters");
  if (!run.probes.empty()) add("probed on " + text_of(run.probes.front().values, "dataset"));
  const double started = time_of(run.run);
  if (!std::isnan(started)) add(format_time(started));
  return text;
}

std::string footer_of() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return fmt::format(
      "Made by swath on {}. Charts: plotly.js (MIT license). The page holds all it shows; it opens "
      "without a network.",
      format_time(std::chrono::duration<double>(now).count()));
}

// CSV files and the loss curve, in a folder beside the page.
std::vector<std::string> write_files(const fs::path& page, const std::vector<RunDirectory>& runs,
                                     const std::vector<Download>& downloads) {
  const fs::path folder = page.parent_path() / (page.stem().string() + "_files");
  std::vector<std::string> written;
  const auto write = [&](const std::string& file, const std::string& contents) {
    write_file_atomically(folder / file, contents);
    written.push_back((folder / file).string());
  };
  for (const Download& download : downloads) write(download.file, download.contents);
  if (has_column(runs, &StepRecord::loss)) write("loss.svg", loss_svg(runs));
  return written;
}

}  // namespace

void ReportOptions::describe(FieldTable& fields) {
  fields.add("output", &output, "the page; default report.html in the run's directory");
  fields.add("title", &title, "heading of the page; default the run's name");
  fields.add("files", &files, "also write CSV files and the loss curve as SVG beside the page");
  fields.add("overwrite", &overwrite, "replace an output that is not a report of ours");
  fields.add("plotly", &plotly, "plotly.min.js to embed; default the one that set-up installed");
}

fs::path find_plotly(const std::string& requested) {
  std::vector<fs::path> candidates;
  if (!requested.empty()) {
    candidates.emplace_back(requested);
  } else {
    const fs::path in_checkout = ".deps/report/plotly/package_data/plotly.min.js";
    const char* home = std::getenv("SWATH_HOME");
    if (home != nullptr && *home != '\0') candidates.push_back(home / in_checkout);
    std::error_code error;
    const fs::path program = fs::read_symlink("/proc/self/exe", error);
    for (fs::path above = program.parent_path(); above.has_relative_path();
         above = above.parent_path()) {
      candidates.push_back(above / in_checkout);
    }
    candidates.push_back(program.parent_path().parent_path() / "share/swath/plotly.min.js");
  }
  std::string tried;
  for (const fs::path& candidate : candidates) {
    if (fs::is_regular_file(candidate)) return candidate;
    tried += "\n  " + candidate.string();
  }
  throw Error(fmt::format("the charts' library plotly.min.js is missing; looked for{}", tried),
              "run ./swath build, which installs it, or name one with --plotly FILE.");
}

Json write_report(const std::vector<fs::path>& paths, const ReportOptions& options) {
  if (paths.empty()) {
    throw UsageError("report: no run is named.", "for example: ./swath report runs/demo-1");
  }
  const fs::path output = output_path(paths, options);
  if (!options.overwrite) refuse_foreign_file(output);
  const std::string plotly = read_file(find_plotly(options.plotly));

  std::vector<RunDirectory> directories = read_run_directories(paths);
  for (RunDirectory& directory : directories) drop_broken_confusions(directory);
  std::vector<RunDirectory> runs;
  std::vector<RunDirectory> sweeps;
  for (const RunDirectory& directory : directories) {
    if (directory.holds_run()) runs.push_back(directory);
    if (!directory.sweep.rows.empty()) sweeps.push_back(directory);
  }
  const std::vector<ProbeGroup> groups = group_probes(runs);
  const std::vector<Download> downloads = csv_files(runs, groups, sweeps);
  std::vector<Download> embedded = downloads;
  for (Download& download : embedded) {
    if (download.contents.size() > kLargestEmbeddedCsv) download.contents.clear();
  }

  Page page;
  page.heading = heading_of(directories, options);
  page.title = page.heading + " · swath report";
  page.subtitle = subtitle_of(directories);
  page.footer = footer_of();
  page.sections = {summary_section(runs, groups), training_section(runs),
                   sweep_section(sweeps),         pictures_section(runs),
                   probe_section(groups),         clouds_section(runs),
                   embeddings_section(runs),      numbers_section(runs, groups, embedded)};
  page.data = chart_data(runs, groups, sweeps);
  page.plotly = plotly;
  const std::string html = render_page(page);
  write_file_atomically(output, html);

  Json result = {{"report", output.string()},
                 {"bytes", html.size()},
                 {"runs", runs.size()},
                 {"sweeps", sweeps.size()}};
  int num_charts = 0;
  for (const Section& section : page.sections) num_charts += section.num_charts;
  result["charts"] = num_charts;
  size_t num_pictures = 0;
  Json warnings = Json::array();
  Json missing = Json::array();
  for (const RunDirectory& run : directories) {
    num_pictures += run.pictures.size();
    for (const std::string& warning : run.warnings) {
      log_warning("report: " + warning);
      warnings.push_back(warning);
    }
    for (const std::string& what : run.missing) missing.push_back(run.name + ": " + what);
  }
  result["pictures"] = num_pictures;
  result["files"] =
      options.files ? write_files(output, runs, downloads) : std::vector<std::string>();
  result["warnings"] = warnings;
  result["missing"] = missing;
  return result;
}

}  // namespace swath::bench
