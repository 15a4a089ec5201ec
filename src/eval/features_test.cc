#include "eval/features.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "core/error.h"
#include "core/files.h"
#include "core/tensor/torch.h"
#include "eval/baselines.h"
#include "eval/toy_dataset.h"
#include "models/registry.h"

namespace swath::eval {
namespace {
namespace fs = std::filesystem;

models::ModelOptions tiny_model() {
  models::ModelOptions options;
  options.name = "vit_pico";
  options.width = 32;
  options.depth = 2;
  options.heads = 2;
  options.mlp = 64;
  options.patch = 4;
  options.image_size = 16;
  options.channels = 3;
  return options;
}

data::Transform plain_transform() {
  data::TransformOptions options;
  options.kind = "none";
  options.size = 16;
  options.horizontal_flip = false;
  return data::Transform(options, toy_normalization());
}

// Counts forward passes.
class CountingEncoder : public models::Encoder {
 public:
  explicit CountingEncoder(std::shared_ptr<models::Encoder> inner) : inner_(std::move(inner)) {}
  at::Tensor forward_features(const at::Tensor& images, UnitRunner& runner) override {
    ++calls;
    EXPECT_FALSE(module().is_training());
    return inner_->forward_features(images, runner);
  }
  torch::nn::Module& module() override { return inner_->module(); }
  const ModelSpec& spec() const override { return inner_->spec(); }
  int calls = 0;

 private:
  std::shared_ptr<models::Encoder> inner_;
};

TEST(Features, PoolingByHand) {
  const at::Tensor tokens = torch::tensor({{{1.0F, 2.0F}, {3.0F, 5.0F}, {5.0F, 9.0F}}});
  EXPECT_TRUE(torch::equal(pool_tokens(tokens, "cls"), torch::tensor({{1.0F, 2.0F}})));
  EXPECT_TRUE(torch::equal(pool_tokens(tokens, "mean"), torch::tensor({{4.0F, 7.0F}})));
  EXPECT_TRUE(torch::equal(pool_tokens(tokens, "both"), torch::tensor({{1.0F, 2.0F, 4.0F, 7.0F}})));
  EXPECT_EQ(pool_tokens(tokens.to(torch::kBFloat16), "both").scalar_type(), torch::kFloat);
  EXPECT_THROW(pool_tokens(tokens, "max"), UsageError);
}

TEST(Features, DoNotDependOnTheBatchSizeBeyondRounding) {
  const auto encoder = models::make_encoder(tiny_model(), 1);
  const auto dataset = std::make_shared<ToyDataset>(5, 3, 16, 1);
  ExtractOptions options;
  options.batch_size = 15;
  const FeatureSet whole =
      extract_features(*encoder, dataset, plain_transform(), options, at::kCPU);
  options.batch_size = 4;  // the last batch holds three
  const FeatureSet parts =
      extract_features(*encoder, dataset, plain_transform(), options, at::kCPU);
  ASSERT_EQ(whole.size(), 15);
  EXPECT_LT((whole.features_ND - parts.features_ND).abs().max().item<double>(), 2e-5);
  EXPECT_TRUE(torch::equal(parts.labels_N, torch::arange(3).repeat({5})));
  for (int64_t i = 0; i < 15; ++i) {
    EXPECT_EQ(parts.names[static_cast<size_t>(i)], dataset->sample(i).name);
    EXPECT_EQ(parts.sample_ids[static_cast<size_t>(i)], dataset->sample(i).id);
  }
  const at::Tensor tokens = extract_tokens(*encoder, dataset, plain_transform(), options, at::kCPU);
  EXPECT_EQ(tokens.sizes(), (at::IntArrayRef{15, 16, 32}));
  options.pooling = "mean";
  const FeatureSet mean = extract_features(*encoder, dataset, plain_transform(), options, at::kCPU);
  EXPECT_LT((mean.features_ND - tokens.mean(1)).abs().max().item<double>(), 1e-5);
}

TEST(Features, TheCacheKnowsWhatTheyDependOn) {
  const fs::path directory = fs::path(testing::TempDir()) / "swath_features_cache";
  fs::remove_all(directory);
  CountingEncoder encoder(models::make_encoder(tiny_model(), 1));
  const auto dataset = std::make_shared<ToyDataset>(2, 3, 16, 1);
  ExtractOptions options;
  options.cache = directory.string();
  const auto extract = [&](const std::shared_ptr<const data::Dataset>& set,
                           const data::Transform& transform) {
    return extract_features(encoder, set, transform, options, at::kCPU);
  };
  const FeatureSet first = extract(dataset, plain_transform());
  EXPECT_EQ(encoder.calls, 1);
  const FeatureSet again = extract(dataset, plain_transform());
  EXPECT_EQ(encoder.calls, 1);
  EXPECT_TRUE(torch::equal(first.features_ND, again.features_ND));
  EXPECT_TRUE(torch::equal(first.labels_N, again.labels_N));
  EXPECT_EQ(first.names, again.names);
  EXPECT_EQ(first.sample_ids, again.sample_ids);

  // Other pixels, another transform, another pooling, other weights: computed anew.
  extract(std::make_shared<ToyDataset>(2, 3, 16, 2), plain_transform());
  EXPECT_EQ(encoder.calls, 2);
  data::TransformOptions other;
  other.kind = "none";
  other.size = 16;
  other.horizontal_flip = false;
  extract(dataset, data::Transform(other, {{0, 0, 0}, {1, 1, 1}}));
  EXPECT_EQ(encoder.calls, 3);
  options.pooling = "mean";
  extract(dataset, plain_transform());
  EXPECT_EQ(encoder.calls, 4);
  options.pooling = "cls";
  {
    at::NoGradGuard no_grad;
    encoder.module().parameters().front().add_(1e-3);
  }
  extract(dataset, plain_transform());
  EXPECT_EQ(encoder.calls, 5);

  // The same weights, cut into other heads.
  models::ModelOptions four_heads = tiny_model();
  four_heads.heads = 4;
  CountingEncoder other_heads(models::make_encoder(four_heads, 1));
  {
    at::NoGradGuard no_grad;
    other_heads.module().parameters().front().add_(1e-3);
  }
  ASSERT_EQ(hash_of_weights(other_heads.module()), hash_of_weights(encoder.module()));
  extract_features(other_heads, dataset, plain_transform(), options, at::kCPU);
  EXPECT_EQ(other_heads.calls, 1);
}

TEST(Features, TheEncoderStaysAsItWas) {
  const auto encoder = models::make_encoder(tiny_model(), 1);
  encoder->module().train();
  const std::string before = hash_of_weights(encoder->module());
  extract_features(*encoder, std::make_shared<ToyDataset>(2, 3, 16, 1), plain_transform(), {},
                   at::kCPU);
  EXPECT_EQ(hash_of_weights(encoder->module()), before);
  EXPECT_TRUE(encoder->module().is_training());
  EXPECT_NE(hash_of_weights(models::make_encoder(tiny_model(), 2)->module()), before);
}

TEST(Features, FilesForOthers) {
  const fs::path directory = fs::path(testing::TempDir()) / "swath_features_files";
  fs::remove_all(directory);
  FeatureSet set;
  set.features_ND = torch::arange(6, torch::kFloat).view({2, 3});
  set.labels_N = torch::tensor({1, -1}, torch::kLong);
  set.sample_ids = {UINT64_MAX, 5};
  set.names = {"a/x.png", "b/y \"quoted\".png"};
  const Json report = write_features(set, directory, Json{{"model", "m"}});
  EXPECT_EQ(report["rows"], 2);
  EXPECT_EQ(report["dim"], 3);
  const FeatureSet read = read_features(directory / "features.safetensors");
  EXPECT_TRUE(torch::equal(read.features_ND, set.features_ND));
  EXPECT_TRUE(torch::equal(read.labels_N, set.labels_N));
  EXPECT_EQ(read.sample_ids, set.sample_ids);
  EXPECT_EQ(read.names, set.names);
  const std::string npy = read_file(directory / "features.npy");
  EXPECT_EQ(npy.substr(1, 5), "NUMPY");
  EXPECT_NE(npy.find("(2, 3)"), std::string::npos);
  ASSERT_EQ(npy.size() % 64, 24U);  // a padded header and six floats
  float last = 0;
  std::memcpy(&last, npy.data() + npy.size() - 4, 4);
  EXPECT_EQ(last, 5);
}

TEST(FeaturesBaselines, BandStatisticsByHand) {
  const auto dataset = std::make_shared<ToyDataset>(1, 2, 16, 3);
  data::TransformOptions options;
  options.kind = "none";
  options.size = 16;
  options.horizontal_flip = false;
  const data::Transform transform(options, {{0, 0, 0}, {1, 1, 1}});
  const FeatureSet features = band_statistics(dataset, transform, {});
  ASSERT_EQ(features.features_ND.sizes(), (at::IntArrayRef{2, 6}));
  double sum = 0;
  double squares = 0;
  double corner = 0;
  const data::ImageSource source = dataset->source(1, nullptr);
  for (size_t i = 1; i < source.bytes.size(); i += 3) {
    const double value = static_cast<double>(source.bytes[i]);
    sum += value;
    squares += value * value;
    const size_t pixel = i / 3;
    if (pixel / 16 < 4 && pixel % 16 < 4) corner += value;
  }
  EXPECT_NEAR(features.features_ND[1][1].item<double>(), sum / 256, 1e-4);
  EXPECT_NEAR(features.features_ND[1][4].item<double>(),
              std::sqrt(squares / 256 - sum / 256 * sum / 256), 1e-3);
  const at::Tensor patches = band_statistics_per_patch(dataset, transform, 4, {});
  ASSERT_EQ(patches.sizes(), (at::IntArrayRef{2, 16, 6}));
  EXPECT_NEAR(patches[1][0][1].item<double>(), corner / 16, 1e-4);
}

TEST(FeaturesBaselines, MajorityClass) {
  EXPECT_DOUBLE_EQ(majority_class_top1(torch::tensor({0, 1, 1}), torch::tensor({1, 0, 2, 1}), 3),
                   0.5);
}

}  // namespace
}  // namespace swath::eval
