#include "bench/report/chart_svg.h"

#include <gtest/gtest.h>

#include "core/error.h"

namespace swath::bench {
namespace {

TEST(ChartSvg, TicksAreRoundAndInside) {
  EXPECT_EQ(round_ticks(0, 10, 5), (std::vector<double>{0, 2, 4, 6, 8, 10}));
  EXPECT_EQ(round_ticks(3, 1007, 4), (std::vector<double>{200, 400, 600, 800, 1000}));
  EXPECT_EQ(round_ticks(5, 5, 4), (std::vector<double>{5}));
}

TEST(ChartSvg, PointsLieWhereTheAxesSay) {
  SvgChart chart{"<Loss>", "step", "loss", {{"a & b", {0, 10}, {0, 1}, false, 2}}, 860, 380};
  const std::string svg = chart_svg(chart);
  // From the lower left to the upper right, 4 % of the height away from the edges.
  EXPECT_NE(svg.find("class=\"line c2\" d=\"M68.0 315.6L838.0 56.4\""), std::string::npos) << svg;
  EXPECT_NE(svg.find("&lt;Loss&gt;"), std::string::npos);
  EXPECT_NE(svg.find("a &amp; b"), std::string::npos);
}

TEST(ChartSvg, GapsAreSkippedAndNothingIsAnError) {
  SvgChart chart{"", "", "", {{"", {0, 1, 2}, {1, kNoNumber, 1}, false, 0}}, 860, 380};
  EXPECT_EQ(chart_svg(chart).find("nan"), std::string::npos);
  chart.lines[0].y = {kNoNumber, kNoNumber, kNoNumber};
  EXPECT_THROW(chart_svg(chart), Error);
}

}  // namespace
}  // namespace swath::bench
