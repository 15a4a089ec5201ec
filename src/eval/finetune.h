// `swath finetune`: supervised training of a whole model or of its last blocks.
//
// Recipe of MAE (FINETUNE.md): AdamW with beta2 0.999, learning rates that fall by a factor from
// each block to the one below, drop path, label smoothing, mixup.
#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/config.h"
#include "core/json.h"
#include "data/dataset.h"
#include "data/skipped_list.h"
#include "data/transform.h"
#include "eval/linear_probe.h"
#include "eval/probe.h"
#include "models/classifier.h"
#include "optim/adamw.h"
#include "optim/schedule.h"
#include "sharding/local_parameters.h"

namespace swath::eval {

struct FinetuneOptions {
  int64_t epochs = 100;
  int64_t test_epochs = 1;         // between two tests; 0: the last only
  int64_t batch_size = 64;         // images per step
  int64_t last_blocks = -1;        // trains the last k blocks, norm and head; below 0: everything
  double layer_decay = 0.65;       // 1: one learning rate for all
  double clip_norm = 0;            // 0: no clipping
  double max_minutes = 0;          // > 0: ends after the epoch that passes this time
  std::string precision = "auto";  // as in pretraining
  int64_t workers = 0;
  bool skip_bad = false;
  std::shared_ptr<data::SkippedList> skipped;  // where they are listed; none: only in the log
  ProbeTransformOptions transform;
  optim::ScheduleOptions schedule;
  optim::AdamWOptions adamw;

  // MAE's values where they differ from pretraining's: base_lr 5e-4, 5 epochs of warm-up, min_lr
  // 1e-6, beta2 0.999; a warm-up of at most a fifth of the epochs.
  FinetuneOptions();
  void describe(FieldTable& fields);
};

// decay^(depth + 1 - the classifier's layer of the parameter), and weight decay by MAE's rule,
// except for what the model spares. The classifier must outlive the rules.
sharding::ParameterRules finetune_rules(const models::Classifier& classifier, double layer_decay);

// Leaves a gradient to the last `last_blocks` blocks, the norms and the head only; below 0 leaves
// all as they are. Throws UsageError when the model has fewer blocks.
void freeze_below(models::Classifier& classifier, int64_t last_blocks);

struct FinetuneInputs {
  models::Classifier* classifier = nullptr;
  std::shared_ptr<const data::Dataset> train;
  std::shared_ptr<const data::Dataset> test;
  data::Normalization normalization;
  std::vector<int64_t> bands;
  c10::Device device = c10::Device(c10::kCPU);
  uint64_t seed = 0;
};

// The classifier holds the trained weights afterwards. Keys as run_probe's: top1, top5, best_top1,
// best_epoch, train_images, test_images, classes, class_names, history, interval, and macro_f1,
// balanced_accuracy, confusion, trained_parameters, steps, seconds.
Json run_finetune(const FinetuneInputs& inputs, const FinetuneOptions& options);

}  // namespace swath::eval
