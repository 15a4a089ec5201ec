// `swath clouds`: what a pretrained encoder is worth for cloud classes, beside honest baselines,
// over shares of the labels.
//
// Rows of the comparison:
//   probe            frozen encoder, multinomial logistic regression on standardised features
//   untrained        the same with random weights
//   band_statistics  the same on the mean and standard deviation of each band
//   finetune         the whole model trained, from the pretrained weights
//   scratch          the same, from random weights
//   majority         the training set's shares of the classes, whatever the chip
#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/config.h"
#include "core/json.h"
#include "data/dataset.h"
#include "data/transform.h"
#include "eval/features.h"
#include "eval/finetune.h"
#include "eval/grouped_scores.h"
#include "eval/logistic.h"
#include "eval/probe.h"
#include "models/classifier.h"

namespace swath::eval {

struct CloudOptions {
  std::vector<std::string> methods = {"probe",    "untrained", "band_statistics",
                                      "majority", "finetune",  "scratch"};
  // Also predicts each test chip turned by 90, 180 and 270 degrees and mirrored: eight passes.
  bool turns = true;
  int64_t kmeans_seeds = 5;  // 0: no clustering
  int64_t finetune_min_steps = 300;
  int64_t finetune_draws = 0;  // lists of each share that finetune and scratch train on; 0: all
  ExtractOptions features;
  ProbeTransformOptions transform;
  LogisticOptions logistic;
  FinetuneOptions finetune;

  // Chips have the model's size, and cloud classes stay the same under turns and mirrors: nothing
  // is cropped or resized, and training draws one of the eight symmetries. Fine-tuning tests once,
  // at its end: a small share of the labels makes hundreds of epochs of one step each.
  CloudOptions();
  void describe(FieldTable& fields);
};

// One list of training chips.
struct CloudTraining {
  double fraction = 1;  // of the labels
  int64_t draw = 0;
  std::shared_ptr<const data::Dataset> train;
  // The granule of each chip as a number from 0, in the order of `train`; empty: not known.
  std::vector<int64_t> groups = {};
};

struct CloudInputs {
  models::Encoder* encoder = nullptr;
  models::Encoder* untrained = nullptr;
  // A fresh classifier, with the pretrained encoder's weights or without.
  std::function<std::shared_ptr<models::Classifier>(bool is_pretrained, uint64_t seed)>
      make_classifier;
  // All have the classes of `test`; one of them has fraction 1 and holds the chips of all others.
  std::vector<CloudTraining> trainings;
  std::shared_ptr<const data::Dataset> test;
  TestGroups groups;  // of the test chips, in the order of `test`
  data::Normalization normalization;
  std::vector<int64_t> bands;
  c10::Device device = c10::Device(c10::kCPU);
  uint64_t seed = 0;
};

// {"class_names", "classes", "test_images", "test_granules", "prior", "top1" (of the first method
//  on all labels),
//  "rows": [{"method", "fraction", "draw", "train_images", score_groups' keys, "agreement":
//            {"rotations", "symmetries"}: share of the test chips with one prediction for all}],
//  "table": [{"method", "fraction", "train_images" and the main scores: {mean, sd, count} over the
//            draws}],
//  "clusters": {METHOD: {"clusters", "ari": {mean, sd, count}, "ami": ...}}}: k-means on the
// frozen features of the test chips with as many clusters as classes.
// Throws UsageError for a method that is none, or inputs that do not fit together.
Json run_clouds(const CloudInputs& inputs, const CloudOptions& options);

// One of the eight symmetries of the square, on (B, C, S, S): turned by `symmetry` % 4 right
// angles, from 4 on mirrored before.
at::Tensor apply_symmetry(const at::Tensor& images_BCHW, int64_t symmetry);

}  // namespace swath::eval
