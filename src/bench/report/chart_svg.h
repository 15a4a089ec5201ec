// A still line chart as SVG, for a README or a slide; it follows the viewer's light or dark scheme.
#pragma once

#include <string>
#include <vector>

#include "bench/report/run_directory.h"

namespace swath::bench {

struct SvgLine {
  std::string name;
  std::vector<double> x;  // rising
  std::vector<double> y;  // points that are not finite are left out
  bool is_faint = false;  // raw points behind their average; faint lines are not in the legend
  int color = 0;          // 0..7; lines of one run share it
};

struct SvgChart {
  std::string title;
  std::string x_label;
  std::string y_label;
  std::vector<SvgLine> lines;
  int width = 860;
  int height = 380;
};

// Throws Error when no line has a finite point.
std::string chart_svg(const SvgChart& chart);

// The loss of each run over its steps, with its average.
std::string loss_svg(const std::vector<RunDirectory>& runs);

// About `count` round numbers (1, 2 or 5 times a power of ten apart) that span low..high.
std::vector<double> round_ticks(double low, double high, int count);

}  // namespace swath::bench
