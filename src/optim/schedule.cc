#include "optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace swath::optim {

void ScheduleOptions::describe(FieldTable& fields) {
  fields.add("lr", &lr, "peak learning rate; 0 takes base_lr * batch / base_batch").at_least(0);
  fields.add("base_lr", &base_lr, "learning rate at base_batch images per step").at_least(0);
  fields.add("base_batch", &base_batch, "batch that base_lr belongs to (MAE 256, SimMIM 512)")
      .at_least(1);
  fields.add("min_lr", &min_lr, "learning rate at the end").at_least(0);
  fields.add("warmup_epochs", &warmup_epochs, "epochs of linear warm-up").at_least(0);
  fields.add("schedule", &kind, "shape after warm-up").one_of({"cosine", "constant"});
}

double peak_learning_rate(const ScheduleOptions& options, double global_batch) {
  return options.lr > 0 ? options.lr : options.base_lr * global_batch / options.base_batch;
}

double learning_rate_at(const ScheduleOptions& options, double peak, double epoch,
                        double total_epochs) {
  if (epoch < options.warmup_epochs) return peak * epoch / options.warmup_epochs;
  if (options.kind == "constant") return peak;
  const double span = total_epochs - options.warmup_epochs;
  const double progress = span > 0 ? std::min(1.0, (epoch - options.warmup_epochs) / span) : 1.0;
  return options.min_lr +
         (peak - options.min_lr) * 0.5 * (1 + std::cos(std::numbers::pi * progress));
}

}  // namespace swath::optim
