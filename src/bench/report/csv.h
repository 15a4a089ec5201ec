// The numbers of a report as CSV (RFC 4180): for spreadsheets and for plots of one's own.
#pragma once

#include <string>
#include <vector>

#include "bench/report/probe_groups.h"
#include "bench/report/run_directory.h"
#include "bench/report/sections.h"

namespace swath::bench {

std::string steps_csv(const RunDirectory& run);
std::string methods_csv(const std::vector<RunDirectory>& runs,
                        const std::vector<ProbeGroup>& groups);
std::string history_csv(const ProbeResult& probe);
std::string confusion_csv(const Confusion& confusion);
std::string sweep_csv(const SweepTable& sweep);

// All files of a report: steps of each run, methods, history and confusion of each probe, and each
// sweep.
std::vector<Download> csv_files(const std::vector<RunDirectory>& runs,
                                const std::vector<ProbeGroup>& groups,
                                const std::vector<RunDirectory>& sweeps);

}  // namespace swath::bench
