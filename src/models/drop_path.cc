#include "models/drop_path.h"

#include "core/random.h"
#include "core/tensor/torch.h"

namespace swath::models {

std::vector<at::Tensor> drop_path_scales(const Batch& batch, double rate, int64_t depth,
                                         uint64_t seed, at::ScalarType dtype) {
  if (rate == 0) return {};
  const at::Tensor all = at::empty({2 * depth, batch.size(), 1, 1}, at::TensorOptions(at::kFloat));
  auto values = all.accessor<float, 4>();
  for (int64_t b = 0; b < batch.size(); ++b) {
    Random random(seed, RandomPurpose::kDropPath, batch.epoch,
                  batch.sample_ids[static_cast<size_t>(b)]);
    for (int64_t i = 0; i < 2 * depth; ++i) {
      const int64_t block = i / 2;
      const double of_block =
          depth == 1 ? rate : rate * static_cast<double>(block) / static_cast<double>(depth - 1);
      values[i][b][0][0] =
          random.uniform() < of_block ? 0.0F : static_cast<float>(1 / (1 - of_block));
    }
  }
  const c10::Device device = batch.images_BCHW.device();
  return (device.is_cpu() ? all : all.pin_memory()).to(device, dtype, true).unbind(0);
}

}  // namespace swath::models
