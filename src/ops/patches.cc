#include "ops/patches.h"

#include <cmath>
#include <cstring>
#include <vector>

#include "core/error.h"
#include "core/tensor/torch.h"
#include "ops/fused.h"

namespace swath::ops {
namespace {

// (B, C, H, W) -> (B, C, rows, p, columns, p)
at::Tensor cut(const at::Tensor& images_BCHW, int64_t patch) {
  const int64_t height = images_BCHW.size(2);
  const int64_t width = images_BCHW.size(3);
  if (patch < 1 || height % patch != 0 || width % patch != 0) {
    throw Error(fmt::format("images of {} x {} pixels cannot be cut into patches of {}.", height,
                            width, patch),
                "crop them to a multiple of the patch size.");
  }
  return images_BCHW.reshape(
      {images_BCHW.size(0), images_BCHW.size(1), height / patch, patch, width / patch, patch});
}

}  // namespace

at::Tensor patchify(const at::Tensor& images_BCHW, int64_t patch) {
  return cut(images_BCHW, patch).permute({0, 2, 4, 3, 5, 1}).flatten(3).flatten(1, 2);
}

at::Tensor unpatchify(const at::Tensor& patches_BNE, int64_t patch, int64_t channels,
                      int64_t grid_height) {
  const int64_t grid_width = patches_BNE.size(1) / grid_height;
  return patches_BNE.reshape({patches_BNE.size(0), grid_height, grid_width, patch, patch, channels})
      .permute({0, 5, 1, 3, 2, 4})
      .reshape({patches_BNE.size(0), channels, grid_height * patch, grid_width * patch});
}

at::Tensor patch_rows(const at::Tensor& images_BCHW, int64_t patch) {
  return cut(images_BCHW, patch).permute({0, 2, 4, 1, 3, 5}).flatten(3).flatten(1, 2);
}

at::Tensor gather_patch_rows(const at::Tensor& images_BCHW, int64_t patch,
                             const at::Tensor& ids_BK) {
  if (!runs_fused(images_BCHW) || images_BCHW.requires_grad()) {
    const at::Tensor rows = patch_rows(images_BCHW, patch);
    return rows.gather(1, ids_BK.unsqueeze(-1).expand({-1, -1, rows.size(2)}));
  }
  cut(images_BCHW, patch);  // checks the size
  const at::Tensor images = images_BCHW.contiguous();
  const at::Tensor ids = ids_BK.contiguous();
  const int64_t channels = images.size(1);
  const int64_t height = images.size(2);
  const int64_t width = images.size(3);
  const int64_t columns = width / patch;
  const int64_t kept = ids.size(1);
  const int64_t values = channels * patch * patch;
  const at::Tensor rows = at::empty({images.size(0), kept, values}, images.options());
  const auto bytes_per_value = static_cast<int64_t>(images.element_size());
  const char* from = static_cast<const char*>(images.const_data_ptr());
  char* to = static_cast<char*>(rows.mutable_data_ptr());
  const int64_t* id = ids.const_data_ptr<int64_t>();
  at::parallel_for(0, ids.numel(), kGrainValues / values + 1, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t top = id[row] / columns * patch;
      const int64_t left = id[row] % columns * patch;
      char* target = to + row * values * bytes_per_value;
      for (int64_t channel = 0; channel < channels; ++channel) {
        const int64_t plane = (row / kept * channels + channel) * height;
        for (int64_t y = 0; y < patch; ++y) {
          std::memcpy(target, from + ((plane + top + y) * width + left) * bytes_per_value,
                      static_cast<size_t>(patch * bytes_per_value));
          target += patch * bytes_per_value;
        }
      }
    }
  });
  return rows;
}

at::Tensor sincos_position_table(int64_t width, int64_t grid_height, int64_t grid_width) {
  if (width % 4 != 0) {
    throw Error(fmt::format("a position table of width {} is not possible.", width),
                "choose a multiple of 4.");
  }
  const int64_t quarter = width / 4;
  const at::Tensor table =
      at::zeros({1, grid_height * grid_width + 1, width}, at::TensorOptions(at::kFloat));
  float* out = table.mutable_data_ptr<float>() + width;
  for (int64_t row = 0; row < grid_height; ++row) {
    for (int64_t column = 0; column < grid_width; ++column) {
      for (int64_t k = 0; k < quarter; ++k) {
        const double omega =
            std::pow(10000.0, -static_cast<double>(k) / static_cast<double>(quarter));
        const double x = static_cast<double>(column) * omega;
        const double y = static_cast<double>(row) * omega;
        out[k] = static_cast<float>(std::sin(x));
        out[quarter + k] = static_cast<float>(std::cos(x));
        out[2 * quarter + k] = static_cast<float>(std::sin(y));
        out[3 * quarter + k] = static_cast<float>(std::cos(y));
      }
      out += width;
    }
  }
  return table;
}

}  // namespace swath::ops
