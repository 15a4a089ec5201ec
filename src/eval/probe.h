// `swath probe`: everything that is measured on the frozen features of one encoder, with honest
// baselines under the same protocol.
#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/config.h"
#include "core/json.h"
#include "data/dataset.h"
#include "data/transform.h"
#include "eval/features.h"
#include "eval/few_shot.h"
#include "eval/knn.h"
#include "eval/linear_probe.h"
#include "eval/logistic.h"
#include "eval/pixel_probe.h"
#include "models/objective.h"

namespace swath::eval {

// How images become the encoder's input.
struct ProbeTransformOptions {
  // Evaluation: "center_crop" (short side to size / resize_ratio, then the centre, as MAE and RVSA)
  // or "none" (images have the model's size already, as chips do).
  std::string evaluation = "center_crop";
  double resize_ratio = 0.875;
  // Training, with linear.augment: MAE's probe "crop" and flip, or "none": whole images of the
  // model's size, which are only flipped or turned.
  std::string training = "crop";
  double scale_min = 0.08;
  double scale_max = 1.0;
  bool horizontal_flip = true;
  bool dihedral = false;  // one of the eight turns and mirrors, for overhead imagery

  void describe(FieldTable& fields);
  // `size` is the encoder's, `bands` those of the checkpoint.
  data::TransformOptions for_evaluation(int64_t size, const std::vector<int64_t>& bands) const;
  data::TransformOptions for_training(int64_t size, const std::vector<int64_t>& bands) const;
};

// The per-pixel probe needs label rasters: datasets with the images' names, one uint8 band, values
// below the number of classes (others are unlabelled), a side that is a multiple of the patch grid.
struct PixelDataOptions {
  std::string train_labels;  // as data.root; empty: no pixel probe
  std::string test_labels;
  std::vector<std::string> class_names;  // of the values 0, 1 ...; empty: as label shards name them
  int64_t most_images = 1000;            // of each list, a seeded choice; 0: all
  PixelProbeOptions probe;

  void describe(FieldTable& fields);
};

struct ProbeOptions {
  // Any of linear, logistic, knn, few_shot; "all" is all four. The first in this order gives top1.
  std::vector<std::string> methods = {"linear"};
  bool baselines = true;
  ExtractOptions features;
  ProbeTransformOptions transform;
  LinearProbeOptions linear;
  KnnOptions knn;
  LogisticOptions logistic;
  FewShotOptions few_shot{.shots = {}, .episodes = 20};  // shots given: few_shot is run as well
  PixelDataOptions pixels;

  void describe(FieldTable& fields);
};

struct ProbeInputs {
  // Encoders are moved to `device`.
  models::Encoder* encoder = nullptr;
  // The same architecture with fresh weights; null leaves this baseline out.
  models::Encoder* untrained = nullptr;
  std::shared_ptr<const data::Dataset> train;
  std::shared_ptr<const data::Dataset> test;
  data::Normalization normalization;  // of the checkpoint
  std::vector<int64_t> bands;         // 0-based selection of the checkpoint; empty: all
  c10::Device device = c10::Device(c10::kCPU);
  uint64_t seed = 0;
};

// Keys: top1, top5, best_top1 (of the first method), train_images, test_images, classes,
// class_names, method, history, then the parts that were run: linear's own keys, "logistic", "knn",
// "few_shot", "pixels"; "baselines": {"untrained": the same keys, "band_statistics": {...},
// "majority_class"}; "versus": per baseline the paired difference of top1 with its 95 % interval
// and under "balanced" that of balanced accuracy, of the first of linear and logistic, and of each
// by its name. Throws UsageError for data without
// labels, classes that differ, or bands that do not fit.
Json run_probe(const ProbeInputs& inputs, const ProbeOptions& options);

// Mean and sample standard deviation over split seeds of every number that all reports have, by its
// path: {"top1": {mean, sd, count}, "baselines.untrained.logistic.raw.top1": {...},
// "knn.weighted.20.top1" ...}.
Json summarize_repeats(const std::vector<Json>& reports);

// Reports of several splits as one: the first, with every accuracy replaced by the mean, of model
// and baselines alike; "repeats": the summary; "seeds": the reports. What is true of one split only
// (interval, best_epoch, versus) stays in "seeds"; history and confusion are the first split's. One
// report is returned as it is.
Json merge_repeats(const std::vector<Json>& reports);

// The test set with its labels counted in the training set's classes, found by name. Throws
// UsageError naming the classes of test images that the training set does not know.
std::shared_ptr<const data::Dataset> with_classes_of(
    const std::shared_ptr<const data::Dataset>& test, const data::Dataset& train);

// Throws UsageError when an encoder of `spec` cannot read images normalised like this.
void check_bands(const ModelSpec& spec, const data::Normalization& normalization,
                 const std::vector<int64_t>& bands);

}  // namespace swath::eval
