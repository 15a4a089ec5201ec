#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "bench/report/chart_data.h"
#include "bench/report/html.h"
#include "bench/report/run_figures.h"
#include "bench/report/sections.h"

namespace swath::bench {
namespace {

struct TrainingChart {
  const char* chart;  // a builder of assets/program.js
  const char* title;
  double StepRecord::* column;
  bool is_wide;
  std::string note;
};

// "0.981 at step 10, 0.412 at step 5,000" for one run: what the chart shows, in words.
std::string in_words(const std::vector<RunDirectory>& runs, double StepRecord::* column) {
  std::string text;
  for (const RunDirectory& run : runs) {
    const StepRecord* first = nullptr;
    const StepRecord* last = nullptr;
    for (const StepRecord& step : run.steps) {
      if (!std::isfinite(step.*column)) continue;
      if (first == nullptr) first = &step;
      last = &step;
    }
    if (first == nullptr) continue;
    text += fmt::format("{}{}: {} at step {}, {} at step {}", text.empty() ? "" : "; ", run.name,
                        format_number(first->*column, 3), first->step,
                        format_number(last->*column, 3), last->step);
  }
  return text;
}

std::string median_note(const std::vector<RunDirectory>& runs, double StepRecord::* column,
                        std::string (*format)(double)) {
  if (runs.size() != 1) return {};
  const double median = median_of(runs.front(), column);
  return std::isnan(median) ? std::string() : "median " + format(median);
}

std::string seconds_per_image(double value) { return format_number(value, 3); }
std::string format_watts(double value) { return format_number(value, 3) + " W"; }

// "median 61 % of the measured matrix-product rate" for one run. For several what they are shares
// of, told run by run where that differs.
std::string mfu_note(const std::vector<RunDirectory>& runs) {
  std::set<std::string> shares;
  std::string of_each;
  for (const RunDirectory& run : runs) {
    if (std::isnan(median_of(run, &StepRecord::mfu))) continue;
    shares.insert(share_of_what(run));
    of_each += fmt::format("{}{} {}", of_each.empty() ? "" : "; ", escape_html(run.name),
                           share_of_what(run));
  }
  if (shares.size() != 1) return of_each;
  const std::string median = median_note(runs, &StepRecord::mfu, format_share);
  return (median.empty() ? "" : median + " ") + *shares.begin();
}

// What the saves of each run cost; empty where no log says it.
std::string saves_card(const std::vector<RunDirectory>& runs) {
  std::string rows;
  for (const RunDirectory& run : runs) {
    const SaveFigures saves = saves_of(run);
    if (std::isnan(saves.stall_seconds) && std::isnan(saves.write_seconds)) continue;
    rows += fmt::format(
        R"(<tr><th scope="row" class="wrap">{}</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>)",
        escape_html(run.name), format_count(static_cast<double>(saves.num_saves)),
        format_seconds(saves.stall_seconds), format_share(saves.stall_share),
        format_seconds(saves.write_seconds));
  }
  if (rows.empty()) return {};
  return fmt::format(
      R"(<div class="card wide"><div class="card-head"><h3>Saving checkpoints</h3><p>waited: training stood still for a save; writing may go on beside the steps</p></div><div class="table-wrap" tabindex="0" role="region" aria-label="What saving cost"><table class="wrap-head"><thead><tr><th scope="col">Run</th><th scope="col">Saves</th><th scope="col">Waited</th><th scope="col">Of the time</th><th scope="col">Median write</th></tr></thead><tbody>{}</tbody></table></div></div>)",
      rows);
}

std::string controls() {
  return R"(<div class="controls">
<div class="segmented" role="group" aria-label="Horizontal axis"><button type="button" data-axis="step" aria-pressed="true">Steps</button><button type="button" data-axis="epoch" aria-pressed="false">Epochs</button><button type="button" data-axis="minutes" aria-pressed="false">Time</button></div>
<label>Smoothing <input type="range" id="smoothing" min="0" max="1" step="0.05" value="0.5"></label>
<label><input type="checkbox" id="log-loss"> log loss</label>
</div>)";
}

}  // namespace

Section training_section(const std::vector<RunDirectory>& runs) {
  const std::vector<TrainingChart> charts = {
      {"loss", "Loss", &StepRecord::loss, true, "faint: as logged; strong: smoothed"},
      {"lr", "Learning rate", &StepRecord::lr, false, ""},
      {"throughput", "Throughput", &StepRecord::images_per_second, false,
       median_note(runs, &StepRecord::images_per_second, seconds_per_image)},
      {"wait", "Waiting for data", &StepRecord::data_wait, false,
       median_note(runs, &StepRecord::data_wait, format_share)},
      {"memory", "Memory", &StepRecord::peak_bytes, false, ""},
      {"step_time", "Step time", &StepRecord::step_seconds, false,
       median_note(runs, &StepRecord::step_seconds, format_seconds)},
      {"mfu", "Share of peak compute", &StepRecord::mfu, false, mfu_note(runs)},
      {"grad_norm", "Gradient norm", &StepRecord::grad_norm, false, "before clipping"},
      {"power", "Power", &StepRecord::watts, false,
       median_note(runs, &StepRecord::watts, format_watts)},
      {"utilisation", "Device utilisation", &StepRecord::utilisation, false,
       median_note(runs, &StepRecord::utilisation, format_share)},
  };
  std::vector<const TrainingChart*> present;
  for (const TrainingChart& chart : charts) {
    const bool is_memory = chart.column == &StepRecord::peak_bytes;
    if (has_column(runs, chart.column) ||
        (is_memory && has_column(runs, &StepRecord::allocated_bytes))) {
      present.push_back(&chart);
    }
  }
  Section section{"training", "Training", "", static_cast<int>(present.size())};
  const std::string saves = saves_card(runs);
  if (present.empty() && saves.empty()) return section;

  std::string figures;
  size_t num_narrow = 0;
  for (const TrainingChart* chart : present) num_narrow += chart->is_wide ? 0 : 1;
  for (const TrainingChart* chart : present) {
    // An odd last one would leave a hole.
    const bool is_odd_last = chart == present.back() && num_narrow % 2 == 1;
    const bool is_wide = chart->is_wide || is_odd_last;
    figures += fmt::format(
        R"(<figure class="card{}"><figcaption class="card-head"><h3>{}</h3><p>{}</p></figcaption><div class="chart{}" data-chart="{}" role="img" aria-label="{}"></div></figure>)",
        is_wide ? " wide" : "", chart->title, chart->note, chart->is_wide ? " tall" : "",
        chart->chart,
        escape_html(std::string(chart->title) + ". " + in_words(runs, chart->column)));
  }
  section.html = fmt::format(
      R"(<section id="training" aria-labelledby="training-title"><div class="section-head"><h2 id="training-title">Training</h2>{}</div><div class="grid">{}</div></section>)",
      present.empty() ? "" : controls(), figures + saves);
  return section;
}

}  // namespace swath::bench
