// Learning rate as a function of the fractional epoch. Free of LibTorch.
#pragma once

#include <cstdint>
#include <string>

#include "core/config.h"

namespace swath::optim {

struct ScheduleOptions {
  double lr = 0;  // 0: base_lr * batch / base_batch
  double base_lr = 1.5e-4;
  double base_batch = 256;  // 256 for MAE, 512 for SimMIM
  double min_lr = 0;
  double warmup_epochs = 40;
  std::string kind = "cosine";

  void describe(FieldTable& fields);
};

// The peak learning rate: `lr` if given, else the linear scaling rule of Goyal et al. (2017).
double peak_learning_rate(const ScheduleOptions& options, double global_batch);

// MAE's schedule (lr_sched.py): linear from 0 over warmup_epochs w, then
// min_lr + (lr - min_lr) (1 + cos(pi (e - w) / (E - w))) / 2. The first step has rate 0 when there
// is a warm-up. `epoch` is fractional: epoch + iteration / iterations_per_epoch.
double learning_rate_at(const ScheduleOptions& options, double peak, double epoch,
                        double total_epochs);

}  // namespace swath::optim
