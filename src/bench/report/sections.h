// The parts of a report page as HTML: everything that is text, tables and pictures. Charts are
// empty elements that assets/program.js fills.
#pragma once

#include <string>
#include <vector>

#include "bench/report/probe_groups.h"
#include "bench/report/run_directory.h"

namespace swath::bench {

// A file that the page offers. One without contents is too large for a page and is only named.
struct Download {
  std::string file;
  std::string contents;
};

// A part of the page, with its entry in the navigation. Empty `html` leaves it out.
struct Section {
  std::string id;
  std::string title;
  std::string html;
  int num_charts = 0;
};

// A figure in a box. All texts are HTML.
std::string tile(const std::string& label, const std::string& value, const std::string& note,
                 bool leads = false);

// Warnings, as plain texts; no HTML for none.
std::string warnings_notice(const std::vector<std::string>& warnings);

// No runs leave it out.
Section summary_section(const std::vector<RunDirectory>& runs,
                        const std::vector<ProbeGroup>& groups);
Section training_section(const std::vector<RunDirectory>& runs);
// Of directories with a sweep.
Section sweep_section(const std::vector<RunDirectory>& sweeps);
Section pictures_section(const std::vector<RunDirectory>& runs);
Section probe_section(const std::vector<ProbeGroup>& groups);
// Comparisons of cloud classes; no such result leaves it out.
Section clouds_section(const std::vector<RunDirectory>& runs);
// Clusters of embeddings where the chips lie; no such directory leaves it out.
Section embeddings_section(const std::vector<RunDirectory>& runs);
Section numbers_section(const std::vector<RunDirectory>& runs,
                        const std::vector<ProbeGroup>& groups,
                        const std::vector<Download>& downloads);

}  // namespace swath::bench
