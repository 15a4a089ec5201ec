#include "ops/patches.h"

#include "core/error.h"
#include "ops/gradient_check.h"

namespace swath::ops {
namespace {

TEST(Patches, UnpatchifyIsTheInverse) {
  for (const int64_t channels : {1, 3, 6, 14}) {
    const at::Tensor images = random_tensor({2, channels, 12, 8}, 1);
    const at::Tensor patches = patchify(images, 4);
    EXPECT_EQ(patches.sizes(), at::IntArrayRef({2, 6, 16 * channels}));
    EXPECT_TRUE(at::equal(unpatchify(patches, 4, channels, 3), images));
  }
}

// One pixel set: where it lands tells the order inside a patch and of the patches.
TEST(Patches, ImpulseShowsBothOrders) {
  const int64_t channel = 2;
  const int64_t y = 5;
  const int64_t x = 10;
  at::Tensor images = at::zeros({1, 3, 8, 12}, at::TensorOptions(at::kFloat));
  images[0][channel][y][x] = 1;
  const int64_t patch = (y / 4) * 3 + x / 4;
  const int64_t loss_order = ((y % 4) * 4 + x % 4) * 3 + channel;
  const int64_t embed_order = (channel * 4 + y % 4) * 4 + x % 4;
  EXPECT_NE(loss_order, embed_order);
  EXPECT_EQ(patchify(images, 4)[0][patch][loss_order].item<float>(), 1);
  EXPECT_EQ(patch_rows(images, 4)[0][patch][embed_order].item<float>(), 1);
  EXPECT_EQ(patchify(images, 4).sum().item<float>(), 1);
}

TEST(Patches, RowsTimesTheWeightAreTheConvolution) {
  const at::Tensor images = random_tensor({2, 6, 12, 12}, 1);
  const at::Tensor weight = random_tensor({5, 6, 4, 4}, 2);
  const at::Tensor expected = at::conv2d(images, weight, {}, 4).flatten(2).transpose(1, 2);
  expect_close(at::matmul(patch_rows(images, 4), weight.flatten(1).t()), expected, 1e-14, "embed");
}

TEST(Patches, GatherTakesChosenRowsInTheirOrder) {
  for (const auto type : {at::kFloat, at::kDouble, at::kBFloat16}) {
    const at::Tensor images = random_tensor({2, 3, 12, 8}, 1).to(type);
    const at::Tensor ids = torch::tensor({{5, 0, 3}, {1, 1, 4}});
    const at::Tensor all = patch_rows(images, 4);
    for (const char* name : {"reference", "fused"}) {
      set_backend(name);
      // A crop is a strided view.
      const at::Tensor wide = at::constant_pad_nd(images, {0, 2, 0, 2}, 7);
      const at::Tensor rows = gather_patch_rows(wide.narrow(2, 0, 12).narrow(3, 0, 8), 4, ids);
      for (int64_t b = 0; b < 2; ++b) {
        for (int64_t k = 0; k < 3; ++k) {
          EXPECT_TRUE(at::equal(rows[b][k], all[b][ids[b][k].item<int64_t>()])) << name;
        }
      }
    }
  }
  set_backend("fused");
}

TEST(Patches, RefusesAnImageThatPatchesDoNotFill) {
  try {
    patchify(at::zeros({1, 3, 512, 512}), 14);
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(error.message().find("512"), std::string::npos);
    EXPECT_NE(error.message().find("14"), std::string::npos);
  }
}

// Golden rows of the reference: the first half encodes the column.
TEST(Patches, PositionTableGoldenRows) {
  const at::Tensor table = sincos_position_table(8, 2, 2);
  EXPECT_EQ(table.scalar_type(), at::kFloat);
  EXPECT_TRUE(at::equal(table[0][0], at::zeros({8})));
  const at::Tensor expected =
      torch::tensor({{0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0},
                     {0.841471, 0.01, 0.540302, 0.99995, 0.0, 0.0, 1.0, 1.0},
                     {0.0, 0.0, 1.0, 1.0, 0.841471, 0.01, 0.540302, 0.99995}});
  EXPECT_LT((table[0].slice(0, 1, 4) - expected).abs().max().item<double>(), 1e-6);
  EXPECT_THROW(sincos_position_table(10, 2, 2), Error);
}

}  // namespace
}  // namespace swath::ops
