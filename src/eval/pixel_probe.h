// A linear probe per pixel: logistic regression from patch tokens to label rasters, such as a
// land-cover map. The first step to segmentation.
//
// n images, L = g * g patches in row-major order, D token width, H = W raster side, K classes.
//
// Training: a patch's target is the share of each class among its labelled pixels, which gives the
// same solution as one sample per pixel. Prediction: the patches' logits are interpolated
// bilinearly to the raster (pixel centres as corners are not aligned), then the best class wins.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "core/config.h"
#include "core/json.h"
#include "eval/metrics.h"

namespace swath::eval {

struct PixelSet {
  at::Tensor tokens_NLD;  // float32, CPU: patch tokens without the CLS token
  // uint8, CPU; a value of K or more (255 by custom) is unlabelled: neither trained nor counted.
  at::Tensor labels_NHW;
};

struct PixelProbeOptions {
  std::vector<double> c_values = {1e-4, 1e-2, 1, 100};  // chosen on a fifth of the training images
  int64_t max_iterations = 1000;
  double tolerance = 1e-5;

  void describe(FieldTable& fields);
};

struct PixelProbeResult {
  double c = 0;
  double mean_iou = 0;
  double pixel_accuracy = 0;
  ConfusionMatrix confusion{1};
  at::Tensor predictions_NHW;  // uint8, of the test images
};

// Throws Error when the raster's side is no multiple of the patch grid's, or sizes disagree.
PixelProbeResult run_pixel_probe(const PixelSet& train, const PixelSet& test, int64_t num_classes,
                                 const PixelProbeOptions& options, uint64_t seed);

// {"mean_iou", "pixel_accuracy", "balanced_accuracy", "c", "iou": {class: value}, "confusion"}.
Json to_json(const PixelProbeResult& result, const std::vector<std::string>& class_names);

// (n, L, K): weight of each class in each patch; a fully labelled patch sums to 1.
at::Tensor patch_targets(const at::Tensor& labels_NHW, int64_t grid, int64_t num_classes);

}  // namespace swath::eval
