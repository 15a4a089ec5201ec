#include "models/vit.h"

#include "models/fixture.h"
#include "models/registry.h"
#include "ops/backend.h"

namespace swath::models {
namespace {

TEST(Vit, FeaturesMatchPython) {
  for (const char* backend : {"reference", "fused"}) {
    ops::set_backend(backend);
    for (const char* name : {"mae_1_channel", "mae_3_channels", "mae_6_channels", "mae_gated"}) {
      SCOPED_TRACE(std::string(name) + " " + backend);
      const Fixture fixture(name);
      for (const auto& [type, tolerance] :
           {std::pair{at::kDouble, 1e-10}, std::pair{at::kFloat, 1e-5},
            std::pair{at::kBFloat16, 5e-2}}) {
        VisionTransformer encoder(fixture.dimensions());
        fixture.fill(encoder, type);
        UnitRunner runner;
        const at::NoGradGuard no_grad;
        const at::Tensor features =
            encoder.forward_features(fixture.tensor("images").to(at::kFloat), runner);
        expect_near(features, fixture.tensor("features"), tolerance, c10::toString(type));
      }
    }
  }
  ops::set_backend("fused");
}

TEST(Vit, LastQueriesAreThoseOfTheWholeBlock) {
  for (const bool gated : {false, true}) {
    Block block(24, 3, 40, gated);
    const at::NoGradGuard no_grad;
    torch::manual_seed(1);
    for (const auto& parameter : block.parameters()) parameter.normal_(0, 0.3);
    block.to(at::kDouble);
    const at::Tensor x = at::randn({2, 9, 24}, at::TensorOptions(at::kDouble));
    expect_near(block.forward_last(x, 4), block.forward(x).slice(1, 5), 1e-13, "last four");
  }
}

// 5040 / 48 = 105: no multiple of 8.
TEST(Vit, OddHeadSizeWorks) {
  for (const char* backend : {"reference", "fused"}) {
    ops::set_backend(backend);
    ModelOptions options;
    options.name = "vit_pico";
    options.width = 420;
    options.heads = 4;
    options.depth = 1;
    const auto encoder = make_vit(options, 1);
    UnitRunner runner;
    const at::Tensor features = encoder->forward_features(at::ones({1, 3, 32, 32}), runner);
    EXPECT_EQ(features.sizes(), at::IntArrayRef({1, 65, 420}));
    features.sum().backward();
    EXPECT_TRUE(encoder->named_parameters()["patch_embed.proj.weight"]
                    .grad()
                    .isfinite()
                    .all()
                    .item<bool>());
  }
  ops::set_backend("fused");
}

TEST(Vit, EncoderOfTheSameSeedIsTheObjectives) {
  ModelOptions options;
  options.name = "vit_pico";
  options.depth = 1;
  const auto encoder = make_vit(options, 5);
  const auto objective = make_objective(options, 5);
  const auto trained = objective->module().named_parameters();
  for (const auto& parameter : encoder->named_parameters()) {
    EXPECT_TRUE(at::equal(parameter.value(), trained[parameter.key()])) << parameter.key();
  }
}

}  // namespace
}  // namespace swath::models
