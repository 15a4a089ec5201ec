// For tests: the files that testdata/models/make_fixtures.py writes.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <string>

#include "core/json.h"
#include "core/tensor/tensor_io.h"
#include "core/tensor/torch.h"
#include "models/classifier.h"
#include "models/model_options.h"
#include "models/objective.h"

namespace swath::models {

class Fixture {
 public:
  explicit Fixture(const std::string& name)
      : file_(std::string(SWATH_TESTDATA) + "/models/" + name + ".safetensors"),
        config_(Json::parse(file_.metadata().at("config"))) {}

  at::Tensor tensor(const std::string& name) const { return read_tensor(file_, name); }
  const Json& config() const { return config_; }

  VitDimensions dimensions() const {
    VitDimensions d;
    d.name = "fixture";
    d.width = config_["width"];
    d.depth = config_["depth"];
    d.heads = config_["heads"];
    d.mlp = config_["mlp"];
    d.gated_mlp = config_["gated"];
    d.patch = config_["patch"];
    d.image_size = config_["image_size"];
    d.channels = config_["channels"];
    if (config_.contains("decoder_width")) {
      d.decoder_width = config_["decoder_width"];
      d.decoder_depth = config_["decoder_depth"];
      d.decoder_heads = config_["decoder_heads"];
      d.decoder_mlp = 4 * d.decoder_width;
      d.mask_ratio = config_["mask_ratio"];
      d.norm_pix_loss = config_["norm_pix"];
      d.norm_pix_per_band = config_["per_band"];
    }
    return d;
  }

  SwinDimensions swin_dimensions() const {
    ModelOptions options;
    options.name = "swin_v2_pico";
    options.width = config_["width"];
    options.heads = config_["heads"];
    options.patch = config_["patch"];
    options.image_size = config_["image_size"];
    options.channels = config_["channels"];
    config_["depths"].get_to(options.swin.depths);
    options.swin.window = config_["window"];
    config_["pretrained_windows"].get_to(options.swin.pretrained_windows);
    options.swin.tokens = config_["per_band"].get<bool>() ? "per_band" : "joint";
    options.swin.mask_unit = config_["mask_unit"];
    if (config_.contains("loss")) {
      options.swin.masks = config_["masks_per_band"].get<bool>() ? "per_band" : "tube";
      options.swin.loss = config_["loss"];
      options.swin.target_window = config_["target_window"];
    }
    SwinDimensions d = resolve_swin(options);
    d.name = "fixture";
    return d;
  }
  bool has(const std::string& name) const {
    for (const TensorEntry& entry : file_.entries()) {
      if (entry.name == name) return true;
    }
    return false;
  }

  // Converts the module to `type` and copies the weights by name; every one must be there.
  void fill(torch::nn::Module& module, at::ScalarType type) const {
    const at::NoGradGuard no_grad;
    module.to(type);
    for (auto& parameter : module.named_parameters()) {
      parameter.value().copy_(tensor("weight." + parameter.key()));
    }
  }

  const SafetensorsFile& file() const { return file_; }

 private:
  SafetensorsFile file_;
  Json config_;
};

// max|a - b| <= tolerance * max|b|.
inline void expect_near(const at::Tensor& a, const at::Tensor& b, double tolerance,
                        const std::string& what) {
  ASSERT_EQ(a.sizes(), b.sizes()) << what;
  const at::Tensor difference = (a.detach().to(at::kDouble) - b.to(at::kDouble)).abs();
  EXPECT_LE(difference.max().item<double>(), tolerance * b.abs().max().item<double>())
      << what << ", worst element " << difference.argmax().item<int64_t>() << ", largest value "
      << b.abs().max().item<double>();
}

// Every parameter's gradient; fixed tables have none.
inline void expect_gradients_near(torch::nn::Module& module, const Fixture& fixture,
                                  double tolerance) {
  for (const auto& parameter : module.named_parameters()) {
    if (!parameter.value().requires_grad()) {
      EXPECT_FALSE(parameter.value().grad().defined()) << parameter.key();
      continue;
    }
    ASSERT_TRUE(parameter.value().grad().defined()) << parameter.key();
    expect_near(parameter.value().grad(), fixture.tensor("grad." + parameter.key()), tolerance,
                "gradient of " + parameter.key());
  }
}

// Loss, logits and gradients of a classifier that the fixture has filled, in the type of `images`.
inline void expect_classifier_near(Classifier& classifier, const Fixture& fixture,
                                   at::ScalarType type, double tolerance) {
  Batch batch;
  batch.images_BCHW = fixture.tensor("images").to(type);
  batch.labels_B = fixture.tensor("labels");
  for (int64_t i = 0; i < batch.images_BCHW.size(0); ++i) {
    batch.sample_ids.push_back(static_cast<uint64_t>(i));
  }
  UnitRunner runner;
  const LossResult result = classifier.loss(batch, runner);
  expect_near(result.loss.unsqueeze(0), fixture.tensor("loss"), tolerance, "loss");
  expect_near(classifier.model().forward_logits(batch.images_BCHW, {}, runner),
              fixture.tensor("logits"), tolerance, "logits");
  result.loss.backward();
  expect_gradients_near(classifier.module(), fixture, tolerance);
}

// The spec names every parameter of the module once, by its unit, with its shape.
inline void expect_spec_lists_parameters(Objective& objective) {
  std::map<std::string, ParameterSpec> specified;
  for (const UnitSpec& unit : objective.spec().units) {
    for (const ParameterSpec& parameter : unit.parameters) {
      EXPECT_TRUE(unit.name == "root" || parameter.name.starts_with(unit.name + "."));
      specified[parameter.name] = parameter;
    }
  }
  size_t count = 0;
  for (const auto& parameter : objective.module().named_parameters()) {
    ASSERT_TRUE(specified.contains(parameter.key())) << parameter.key();
    EXPECT_EQ(at::IntArrayRef(specified[parameter.key()].shape), parameter.value().sizes());
    EXPECT_EQ(specified[parameter.key()].trainable, parameter.value().requires_grad());
    ++count;
  }
  EXPECT_EQ(count, specified.size());
}

}  // namespace swath::models
