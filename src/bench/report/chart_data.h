// What the page's program draws, as JSON.
#pragma once

#include <vector>

#include "bench/report/probe_groups.h"
#include "bench/report/run_directory.h"
#include "core/json.h"

namespace swath::bench {

// A line of many points, thinned to what a screen can show. With at most `limit` finite points all
// are kept: {"x": [...], "y": [...]}. With more, they are put into buckets; x and y hold the lowest
// and the highest point of each (no spike is lost), and "mean": {"x", "y"} the averages, which is
// what a smoothed line is made from. Points that are not finite are left out.
Json thinned_series(const std::vector<double>& x, const std::vector<double>& y, size_t limit);

// {"runs": [{name, clock, series}], "groups": [{dataset, probes, baselines, ...}],
// "sweeps": [{ranks, cases, ideal}], "clouds": [{confusion}],
// "embeddings": [{positions, granules}]}; assets/program.js is the only reader.
Json chart_data(const std::vector<RunDirectory>& runs, const std::vector<ProbeGroup>& groups,
                const std::vector<RunDirectory>& sweeps);

// Which columns of the log hold at least one number in some run.
bool has_column(const std::vector<RunDirectory>& runs, double StepRecord::* column);

}  // namespace swath::bench
