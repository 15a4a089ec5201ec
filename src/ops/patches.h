// Images as patches, and the fixed position table.
//
// B samples, C channels, H x W pixels, p patch side, N = (H/p)(W/p) patches in row-major order,
// K chosen patches. H and W must be multiples of p (Error otherwise).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace swath::ops {

// (B, N, p*p*C) in the order (y, x, channel) inside a patch: the order of MAE's loss target.
at::Tensor patchify(const at::Tensor& images_BCHW, int64_t patch);
// The exact inverse, for a grid of `grid_height` rows.
at::Tensor unpatchify(const at::Tensor& patches_BNE, int64_t patch, int64_t channels,
                      int64_t grid_height);

// (B, N, C*p*p) in the order (channel, y, x): what a patch embedding's (D, C, p, p) weight, seen as
// (D, C*p*p), multiplies. Not the order of patchify.
at::Tensor patch_rows(const at::Tensor& images_BCHW, int64_t patch);
// The rows of chosen patches only: ids (B, K) int64, result (B, K, C*p*p).
at::Tensor gather_patch_rows(const at::Tensor& images_BCHW, int64_t patch,
                             const at::Tensor& ids_BK);

// The fixed 2-D sine and cosine table of MAE, (1, N + 1, width) float32: row 0 (CLS) is zero; the
// first half of each row encodes the column, the second the row. Computed in float64. `width` must
// be a multiple of 4.
at::Tensor sincos_position_table(int64_t width, int64_t grid_height, int64_t grid_width);

}  // namespace swath::ops
