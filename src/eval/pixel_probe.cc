#include "eval/pixel_probe.h"

#include <cmath>

#include "core/error.h"
#include "core/random.h"
#include "eval/feature_set.h"
#include "eval/logistic.h"

namespace swath::eval {
namespace {

constexpr int64_t kImagesPerBlock = 64;
constexpr int64_t kHoldoutPart = 5;  // one image in five

int64_t grid_side(const PixelSet& set) {
  const int64_t patches = set.tokens_NLD.size(1);
  const auto side = static_cast<int64_t>(std::llround(std::sqrt(static_cast<double>(patches))));
  const int64_t raster = set.labels_NHW.size(1);
  if (side * side != patches || raster % side != 0 || set.labels_NHW.size(2) != raster ||
      set.labels_NHW.size(0) != set.tokens_NLD.size(0)) {
    throw Error(fmt::format("pixel probe: {} images with {} tokens do not fit {} label rasters of "
                            "{} x {} pixels.",
                            set.tokens_NLD.size(0), patches, set.labels_NHW.size(0), raster,
                            set.labels_NHW.size(2)),
                "the rasters' side must be a multiple of the patch grid's side.");
  }
  return side;
}

LogisticProblem problem_of(const PixelSet& set, const at::Tensor& image_indices,
                           int64_t num_classes) {
  const at::Tensor targets =
      patch_targets(set.labels_NHW.index_select(0, image_indices), grid_side(set), num_classes)
          .flatten(0, 1);
  const at::Tensor tokens = set.tokens_NLD.index_select(0, image_indices).flatten(0, 1);
  const at::Tensor labelled = (targets.sum(1) > 0).nonzero().squeeze(1);
  if (labelled.numel() == 0) throw Error("pixel probe: no labelled pixel to train on.");
  return LogisticProblem::with_targets(tokens.index_select(0, labelled),
                                       targets.index_select(0, labelled));
}

// Adds to `confusion`; returns the predicted rasters.
at::Tensor predict(const LogisticModel& model, const PixelSet& set,
                   const std::vector<int64_t>& images, int64_t num_classes,
                   ConfusionMatrix* confusion) {
  const int64_t side = grid_side(set);
  const int64_t raster = set.labels_NHW.size(1);
  std::vector<at::Tensor> predictions;
  for (size_t begin = 0; begin < images.size(); begin += kImagesPerBlock) {
    const size_t end = std::min(images.size(), begin + size_t{kImagesPerBlock});
    const at::Tensor block =
        at::tensor(std::vector<int64_t>(images.begin() + static_cast<std::ptrdiff_t>(begin),
                                        images.begin() + static_cast<std::ptrdiff_t>(end)),
                   at::kLong);
    const at::Tensor tokens = set.tokens_NLD.index_select(0, block);
    const at::Tensor logits = model.logits(tokens.flatten(0, 1))
                                  .view({tokens.size(0), side, side, num_classes})
                                  .permute({0, 3, 1, 2});
    const at::Tensor predicted =
        at::upsample_bilinear2d(logits.contiguous(), {raster, raster}, /*align_corners=*/false)
            .argmax(1)
            .to(at::kByte)
            .contiguous();
    const at::Tensor truth = set.labels_NHW.index_select(0, block).contiguous();
    const uint8_t* truth_pixels = truth.const_data_ptr<uint8_t>();
    const uint8_t* predicted_pixels = predicted.const_data_ptr<uint8_t>();
    for (int64_t i = 0; i < truth.numel(); ++i) {
      if (truth_pixels[i] < num_classes) confusion->add(truth_pixels[i], predicted_pixels[i]);
    }
    predictions.push_back(predicted);
  }
  return at::cat(predictions);
}

std::vector<int64_t> first_numbers(int64_t count) {
  std::vector<int64_t> numbers(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) numbers[static_cast<size_t>(i)] = i;
  return numbers;
}

}  // namespace

void PixelProbeOptions::describe(FieldTable& fields) {
  fields.add("c_values", &c_values, "values of C tried on a fifth of the training images")
      .at_least(1e-12);
  fields.add("max_iterations", &max_iterations, "limit of L-BFGS").at_least(1);
  fields.add("tolerance", &tolerance, "gradient norm that counts as solved").at_least(1e-12);
}

at::Tensor patch_targets(const at::Tensor& labels_NHW, int64_t grid, int64_t num_classes) {
  const int64_t images = labels_NHW.size(0);
  const int64_t cell = labels_NHW.size(1) / grid;
  const at::Tensor labels = labels_NHW.contiguous();
  at::Tensor targets = at::zeros({images, grid * grid, num_classes}, at::kDouble);
  const auto pixels = labels.accessor<uint8_t, 3>();
  auto out = targets.accessor<double, 3>();
  const double share = 1.0 / static_cast<double>(cell * cell);
  for (int64_t n = 0; n < images; ++n) {
    for (int64_t y = 0; y < grid * cell; ++y) {
      for (int64_t x = 0; x < grid * cell; ++x) {
        const uint8_t label = pixels[n][y][x];
        if (label < num_classes) out[n][y / cell * grid + x / cell][label] += share;
      }
    }
  }
  return targets;
}

PixelProbeResult run_pixel_probe(const PixelSet& train, const PixelSet& test, int64_t num_classes,
                                 const PixelProbeOptions& options, uint64_t seed) {
  at::NoGradGuard no_grad;
  if (num_classes < 2 || num_classes > 255) {
    throw Error(fmt::format("pixel probe: {} classes; it takes 2 to 255.", num_classes));
  }
  if (options.c_values.empty()) throw UsageError("pixel probe: c_values is empty.");
  PixelProbeResult result;
  result.c = options.c_values.front();
  const int64_t images = train.tokens_NLD.size(0);
  if (options.c_values.size() > 1 && images >= kHoldoutPart) {
    std::vector<int64_t> inside;
    std::vector<int64_t> outside;
    const Permutation order(static_cast<uint64_t>(images), seed, /*epoch=*/0);
    for (int64_t i = 0; i < images; ++i) {
      const auto image = static_cast<int64_t>(order(static_cast<uint64_t>(i)));
      (i % kHoldoutPart == 0 ? outside : inside).push_back(image);
    }
    const LogisticProblem problem = problem_of(train, at::tensor(inside, at::kLong), num_classes);
    LogisticModel model;
    double best = -1;
    for (const double c : options.c_values) {
      model = problem.solve(c, options.max_iterations, options.tolerance,
                            model.weight_KD.defined() ? &model : nullptr);
      ConfusionMatrix confusion(num_classes);
      predict(model, train, outside, num_classes, &confusion);
      if (confusion.mean_iou() > best) {
        best = confusion.mean_iou();
        result.c = c;
      }
    }
  }
  const std::vector<int64_t> all = first_numbers(images);
  const LogisticModel model = problem_of(train, at::tensor(all, at::kLong), num_classes)
                                  .solve(result.c, options.max_iterations, options.tolerance);
  result.confusion = ConfusionMatrix(num_classes);
  result.predictions_NHW =
      predict(model, test, first_numbers(test.tokens_NLD.size(0)), num_classes, &result.confusion);
  if (result.confusion.total() == 0) throw Error("pixel probe: no labelled pixel to test on.");
  result.mean_iou = result.confusion.mean_iou();
  result.pixel_accuracy = result.confusion.accuracy();
  return result;
}

Json to_json(const PixelProbeResult& result, const std::vector<std::string>& class_names) {
  Json iou;
  const std::vector<double> values = result.confusion.iou_per_class();
  for (size_t c = 0; c < values.size(); ++c) {
    if (values[c] >= 0) iou[class_names[c]] = values[c];
  }
  return Json{{"mean_iou", result.mean_iou},
              {"pixel_accuracy", result.pixel_accuracy},
              {"balanced_accuracy", result.confusion.balanced_accuracy()},
              {"c", result.c},
              {"pixels", result.confusion.total()},
              {"iou", std::move(iou)},
              {"confusion", result.confusion.to_json()}};
}

}  // namespace swath::eval
