// `swath report RUN...`: one self-contained HTML page from one or several directories of runs and
// of sweeps.
//
// The page opens from a file, without a server and without a network: style, programs, pictures and
// numbers are all in it. What the run directories hold is described in run_directory.h.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "core/config.h"
#include "core/json.h"

namespace swath::bench {

struct ReportOptions {
  std::string output;  // the page; empty: report.html in the run (several runs: beside the first)
  std::string title;   // empty: the name of the run
  bool files = false;  // also writes the CSV files and charts as SVG beside the page
  bool overwrite = false;
  std::string plotly;  // plotly.min.js; empty: looked for where set-up and installation put it

  void describe(FieldTable& fields);
};

// Writes the page and returns {"report": path, "bytes", "runs", "sweeps", "charts", "pictures",
// "files": [path], "warnings": [text], "missing": [text]}. A directory may be both run and sweep.
//
// An existing page of ours is replaced (it can always be made again); any other file only with
// `overwrite`. Throws UsageError for no runs or a path that is no directory, Error for a run
// without results or when plotly.min.js is missing.
Json write_report(const std::vector<std::filesystem::path>& paths, const ReportOptions& options);

// Where plotly.min.js lies: `requested`; else $SWATH_HOME/.deps/report (./swath build puts it
// there), the same above the program, or the installation's share/swath. Throws Error naming all of
// them.
std::filesystem::path find_plotly(const std::string& requested);

}  // namespace swath::bench
