#include "bench/report/run_figures.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace swath::bench {
namespace {

double first_finite(double preferred, double otherwise) {
  return std::isnan(preferred) ? otherwise : preferred;
}

}  // namespace

double median_of(const RunDirectory& run, double StepRecord::* column) {
  std::vector<double> values;
  for (size_t i = run.steps.size() / 10; i < run.steps.size(); ++i) {
    if (std::isfinite(run.steps[i].*column)) values.push_back(run.steps[i].*column);
  }
  if (values.empty()) return kNoNumber;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

RunFigures figures_of(const RunDirectory& run) {
  RunFigures figures;
  for (const StepRecord& step : run.steps) {
    figures.steps = static_cast<double>(step.step);
    figures.epochs = first_finite(step.epoch, figures.epochs);
    figures.first_loss = first_finite(figures.first_loss, step.loss);
    figures.final_loss = first_finite(step.loss, figures.final_loss);
    figures.seconds = first_finite(step.elapsed_seconds, figures.seconds);
    const double peak = first_finite(step.peak_bytes, step.allocated_bytes);
    if (!(figures.peak_bytes >= peak)) figures.peak_bytes = first_finite(peak, figures.peak_bytes);
  }
  figures.data_wait = median_of(run, &StepRecord::data_wait);
  figures.mfu = median_of(run, &StepRecord::mfu);
  figures.images_per_second = first_finite(number_of(run.end, "images_per_second"),
                                           median_of(run, &StepRecord::images_per_second));
  figures.steps = first_finite(number_of(run.end, "steps"), figures.steps);
  figures.final_loss = first_finite(number_of(run.end, "loss"), figures.final_loss);
  figures.seconds = first_finite(number_of(run.end, "seconds"), figures.seconds);
  figures.peak_bytes = first_finite(number_of(run.end, "peak_memory_bytes"), figures.peak_bytes);
  return figures;
}

std::string share_of_what(const RunDirectory& run) {
  const std::string origin = text_of(run.run, "peak_flops_are");
  if (origin == "published") return "of the published peak";
  if (origin == "measured") return "of the measured matrix-product rate";
  return "of peak compute";
}

RunStatus status_of(const RunDirectory& run) {
  if (run.end.empty()) {
    return {run.steps.empty() ? "no training log" : "no end record: running, or killed", false};
  }
  const std::string reason = text_of(run.end, "reason");
  if (reason.empty() || reason == "epochs" || reason == "finished") return {"finished", true};
  if (reason == "max_steps") return {"finished: step limit", true};
  if (reason == "max_minutes") return {"finished: time limit", true};
  return {"stopped: " + reason, false};
}

}  // namespace swath::bench
