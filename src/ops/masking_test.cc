#include "ops/masking.h"

#include "ops/gradient_check.h"

namespace swath::ops {
namespace {

using Inputs = std::vector<at::Tensor>;

TEST(Masking, KeepsTheLowestNoiseInItsOrder) {
  const Masking masking = masking_from_noise(torch::tensor({{0.9F, 0.1F, 0.5F, 0.3F}}), 2);
  EXPECT_TRUE(at::equal(masking.ids_keep_BK(), torch::tensor({{1, 3}})));
  EXPECT_TRUE(at::equal(masking.ids_removed_BR(), torch::tensor({{2, 0}})));
  EXPECT_TRUE(at::equal(masking.mask_BN, torch::tensor({{1.0F, 0.0F, 1.0F, 0.0F}})));
}

TEST(Masking, RestoreUndoesShuffle) {
  const at::Tensor noise = random_tensor({5, 49}, 1);
  const Masking masking = masking_from_noise(noise, 12);
  const at::Tensor restored =
      noise.gather(1, masking.ids_shuffle_BN).gather(1, masking.ids_restore_BN);
  EXPECT_TRUE(at::equal(restored, noise));
  EXPECT_EQ(masking.mask_BN.sum().item<double>(), 5 * 37);
}

TEST(Masking, TiesStayInImageOrder) {
  const Masking masking = masking_from_noise(at::zeros({1, 300}), 75);
  EXPECT_TRUE(at::equal(masking.ids_shuffle_BN[0], at::arange(300)));
}

TEST(Masking, AppendMaskTokensPutsEachTokenToItsPosition) {
  const Masking masking = masking_from_noise(random_tensor({2, 6}, 1), 2);
  const at::Tensor position = random_tensor({1, 7, 4}, 2);
  expect_versions_agree(
      [&](const Inputs& in) {
        return append_mask_tokens(in[0], in[1], position.to(in[0].scalar_type()),
                                  masking.ids_shuffle_BN);
      },
      {random_tensor({2, 3, 4}, 3), random_tensor({1, 1, 4}, 4)});

  // Put back in image order it is what the paper's steps give.
  const at::Tensor visible = random_tensor({2, 3, 4}, 3);
  const at::Tensor token = random_tensor({1, 1, 4}, 4);
  const at::Tensor tokens = append_mask_tokens(visible, token, position, masking.ids_shuffle_BN);
  const at::Tensor wide = masking.ids_restore_BN.unsqueeze(-1).expand({-1, -1, 4});
  const at::Tensor shuffled = at::cat({visible.slice(1, 1), token.expand({2, 4, -1})}, 1);
  const at::Tensor expected = shuffled.gather(1, wide) + position.slice(1, 1);
  expect_close(tokens.slice(1, 1).gather(1, wide), expected, 1e-15, "patches");
  expect_close(tokens.select(1, 0), visible.select(1, 0) + position.select(1, 0), 1e-15, "CLS");
}

}  // namespace
}  // namespace swath::ops
