#include "bench/report/run_figures.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

namespace swath::bench {
namespace {

double first_finite(double preferred, double otherwise) {
  return std::isnan(preferred) ? otherwise : preferred;
}

// NaN for no values.
double middle_of(std::vector<double> values) {
  if (values.empty()) return kNoNumber;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace

double median_of(const RunDirectory& run, double StepRecord::* column) {
  std::vector<double> values;
  for (size_t i = run.steps.size() / 10; i < run.steps.size(); ++i) {
    if (std::isfinite(run.steps[i].*column)) values.push_back(run.steps[i].*column);
  }
  return middle_of(std::move(values));
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
  std::vector<double> epochs;
  for (const EpochRecord& epoch : run.epochs) {
    if (!std::isnan(epoch.seconds)) epochs.push_back(epoch.seconds);
  }
  figures.epoch_seconds = middle_of(std::move(epochs));
  figures.images_per_second = first_finite(number_of(run.end, "images_per_second"),
                                           median_of(run, &StepRecord::images_per_second));
  figures.steps = first_finite(number_of(run.end, "steps"), figures.steps);
  figures.final_loss = first_finite(number_of(run.end, "loss"), figures.final_loss);
  figures.seconds = first_finite(number_of(run.end, "seconds"), figures.seconds);
  figures.peak_bytes = first_finite(number_of(run.end, "peak_memory_bytes"), figures.peak_bytes);
  return figures;
}

SaveFigures saves_of(const RunDirectory& run) {
  SaveFigures saves;
  saves.num_saves = run.checkpoints.size();
  std::vector<double> writes;
  for (const Json& checkpoint : run.checkpoints) {
    const double stall = number_of(checkpoint, "stall_seconds");
    if (!std::isnan(stall)) saves.stall_seconds = first_finite(saves.stall_seconds, 0) + stall;
    const double write = number_of(checkpoint, "write_seconds");
    if (!std::isnan(write)) writes.push_back(write);
  }
  saves.write_seconds = middle_of(std::move(writes));
  // The "end" record counts its own process only.
  double seconds = run.num_resumes == 0 ? number_of(run.end, "seconds") : kNoNumber;
  if (std::isnan(seconds) && !run.steps.empty()) seconds = run.steps.back().elapsed_seconds;
  if (seconds > 0) saves.stall_share = saves.stall_seconds / seconds;
  return saves;
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
  if (reason == "max_minutes") return {"finished: budget reached", true};
  return {"stopped: " + reason, false};
}

}  // namespace swath::bench
