#include "bench/report/chart_svg.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "bench/report/chart_data.h"
#include "bench/report/html.h"
#include "core/error.h"

namespace swath::bench {
namespace {

constexpr size_t kMostPoints = 800;
constexpr double kSmoothing = 0.9;
constexpr int kNumColors = 8;

// The colours of the page (assets/style.css).
constexpr std::string_view kStyle = R"(
text{font:13px system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;fill:#566372}
.title{font-size:16px;font-weight:650;fill:#16202c}
.back{fill:#fff}.grid{stroke:#e8edf3}.line{fill:none;stroke-width:2.4;stroke-linejoin:round}
.faint{stroke-width:1;opacity:.3}
.c0{stroke:#1668c7}.c1{stroke:#d9570f}.c2{stroke:#0b8a63}.c3{stroke:#9a3fbd}
.c4{stroke:#a87100}.c5{stroke:#c02653}.c6{stroke:#0c7f93}.c7{stroke:#5b6675}
@media (prefers-color-scheme:dark){
text{fill:#96a3b3}.title{fill:#e6ebf2}.back{fill:#141a23}.grid{stroke:#232d3a}
.c0{stroke:#62a8ff}.c1{stroke:#ff9a57}.c2{stroke:#42cf9d}.c3{stroke:#d08bf2}
.c4{stroke:#e8bd4f}.c5{stroke:#ff82a0}.c6{stroke:#4fcbe0}.c7{stroke:#a5b1c0}}
)";

struct Range {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();

  void include(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
};

bool is_drawable(double x, double y) { return std::isfinite(x) && std::isfinite(y); }

// Exponential average without the pull towards zero at the start.
std::vector<double> averaged(const std::vector<double>& values) {
  std::vector<double> result;
  double average = 0;
  double norm = 0;
  for (const double value : values) {
    average = kSmoothing * average + (1 - kSmoothing) * value;
    norm = kSmoothing * norm + (1 - kSmoothing);
    result.push_back(average / norm);
  }
  return result;
}

}  // namespace

std::vector<double> round_ticks(double low, double high, int count) {
  const double rough = (high - low) / std::max(1, count);
  if (!(rough > 0)) return {low};
  const double power = std::pow(10.0, std::floor(std::log10(rough)));
  double spacing = 10 * power;
  for (const double factor : {5.0, 2.0, 1.0}) {
    if (factor * power >= 0.7 * rough) spacing = factor * power;
  }
  const auto first = static_cast<int64_t>(std::ceil(low / spacing - 1e-9));
  const auto last = static_cast<int64_t>(std::floor(high / spacing + 1e-9));
  std::vector<double> ticks;
  for (int64_t i = first; i <= last; ++i) ticks.push_back(static_cast<double>(i) * spacing);
  return ticks;
}

std::string chart_svg(const SvgChart& chart) {
  Range x_range;
  Range y_range;
  for (const SvgLine& line : chart.lines) {
    for (size_t i = 0; i < line.x.size(); ++i) {
      if (!is_drawable(line.x[i], line.y[i])) continue;
      x_range.include(line.x[i]);
      y_range.include(line.y[i]);
    }
  }
  if (!(x_range.low <= x_range.high)) {
    throw Error(fmt::format("chart \"{}\" has no finite point.", chart.title));
  }
  const double margin = 0.04 * (y_range.high - y_range.low);
  const double y_margin = margin > 0 ? margin : std::max(1e-3, std::abs(y_range.low) * 0.05);
  y_range.low -= y_margin;
  y_range.high += y_margin;
  if (x_range.low == x_range.high) x_range.high = x_range.low + 1;

  constexpr double kLeft = 68;
  constexpr double kTop = 46;
  const double right = chart.width - 22.0;
  const double bottom = chart.height - 54.0;
  const auto to_x = [&](double x) {
    return kLeft + (x - x_range.low) / (x_range.high - x_range.low) * (right - kLeft);
  };
  const auto to_y = [&](double y) {
    return bottom - (y - y_range.low) / (y_range.high - y_range.low) * (bottom - kTop);
  };

  std::string svg = fmt::format(
      R"(<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {0} {1}" width="{0}" height="{1}" role="img"><title>{2}</title><style>{3}</style><rect class="back" width="{0}" height="{1}" rx="12"/><text class="title" x="22" y="30">{2}</text>)",
      chart.width, chart.height, escape_html(chart.title), kStyle);
  for (const double tick : round_ticks(y_range.low, y_range.high, 5)) {
    svg += fmt::format(
        R"(<path class="grid" d="M{0} {1:.1f}H{2}"/><text x="{3}" y="{4:.1f}" text-anchor="end">{5}</text>)",
        kLeft, to_y(tick), right, kLeft - 8, to_y(tick) + 4.5, format_number(tick, 3));
  }
  for (const double tick : round_ticks(x_range.low, x_range.high, 7)) {
    svg += fmt::format(R"(<text x="{:.1f}" y="{}" text-anchor="middle">{}</text>)", to_x(tick),
                       bottom + 20, format_number(tick, 4));
  }
  svg += fmt::format(R"(<text x="{}" y="{}" text-anchor="middle">{}</text>)", (kLeft + right) / 2,
                     bottom + 42, escape_html(chart.x_label));
  svg += fmt::format(
      R"svg(<text transform="translate(18 {}) rotate(-90)" text-anchor="middle">{}</text>)svg",
      (kTop + bottom) / 2, escape_html(chart.y_label));

  double legend_x = right;
  for (const SvgLine& line : chart.lines) {
    std::string path;
    for (size_t i = 0; i < line.x.size(); ++i) {
      if (!is_drawable(line.x[i], line.y[i])) continue;
      path += fmt::format("{}{:.1f} {:.1f}", path.empty() ? "M" : "L", to_x(line.x[i]),
                          to_y(line.y[i]));
    }
    if (path.empty()) continue;
    const int color = line.color % kNumColors;
    svg += fmt::format(R"(<path class="line c{}{}" d="{}"/>)", color, line.is_faint ? " faint" : "",
                       path);
    if (line.is_faint || line.name.empty()) continue;
    svg += fmt::format(R"(<text x="{0}" y="30" text-anchor="end">{1}</text>)", legend_x,
                       escape_html(line.name));
    legend_x -= 8.0 * static_cast<double>(line.name.size()) + 10;
    svg += fmt::format(R"(<path class="line c{}" d="M{} 25.5h18"/>)", color, legend_x - 14);
    legend_x -= 30;
  }
  return svg + "</svg>\n";
}

std::string loss_svg(const std::vector<RunDirectory>& runs) {
  SvgChart chart{"Training loss", "step", "loss", {}, 860, 380};
  for (size_t r = 0; r < runs.size(); ++r) {
    std::vector<double> steps;
    std::vector<double> losses;
    for (const StepRecord& step : runs[r].steps) {
      steps.push_back(static_cast<double>(step.step));
      losses.push_back(step.loss);
    }
    const Json series = thinned_series(steps, losses, kMostPoints);
    const Json& means = series.contains("mean") ? series["mean"] : series;
    const auto color = static_cast<int>(r);
    chart.lines.push_back({"", series["x"], series["y"], true, color});
    chart.lines.push_back({runs.size() > 1 ? runs[r].name : std::string(), means["x"],
                           averaged(means["y"].get<std::vector<double>>()), false, color});
  }
  return chart_svg(chart);
}

}  // namespace swath::bench
