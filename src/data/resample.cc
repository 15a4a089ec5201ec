#include "data/resample.h"

#include <fmt/format.h>

#include "core/error.h"
#include "data/resample_coefficients.h"
#include "data/resample_passes.h"

namespace swath::data {
namespace {

struct Scratch {
  AxisWeights horizontal;
  AxisWeights vertical;
};

Scratch& weights_of(const ResampleGeometry& geometry, ResampleFilter filter) {
  thread_local Scratch scratch;
  compute_weights(geometry.input_width, geometry.box_left, geometry.box_right,
                  geometry.output_width, geometry.window.left, geometry.window.width, filter,
                  &scratch.horizontal);
  compute_weights(geometry.input_height, geometry.box_top, geometry.box_bottom,
                  geometry.output_height, geometry.window.top, geometry.window.height, filter,
                  &scratch.vertical);
  return scratch;
}

template <class T>
PixelRows<T> rows_of(const Image& image, int64_t left, int64_t top) {
  return {.pixels = image.as<T>(),
          .values = image.width * image.height * image.bands,
          .stride = image.width * image.bands,
          .bands = image.bands,
          .first_row = top,
          .first_column = left};
}

// Pillow 13's rule, found by trying (testdata/data/find_pillow_pass_order.py): rows first where
// that removes more than twice as many rows as columns. Of sizes of grids, not of the box.
PassOrder order_of(const ResampleGeometry& geometry) {
  const int64_t fewer_rows = geometry.input_height - geometry.output_height;
  const int64_t fewer_columns = geometry.input_width - geometry.output_width;
  return fewer_rows > 0 && fewer_rows > 2 * fewer_columns ? PassOrder::kRowsFirst
                                                          : PassOrder::kColumnsFirst;
}

}  // namespace

ResampleGeometry ResampleGeometry::whole(int64_t input_width, int64_t input_height,
                                         int64_t output_width, int64_t output_height) {
  return {.input_width = input_width,
          .input_height = input_height,
          .box_right = static_cast<double>(input_width),
          .box_bottom = static_cast<double>(input_height),
          .output_width = output_width,
          .output_height = output_height,
          .window = {0, 0, output_width, output_height}};
}

Region needed_input(const ResampleGeometry& geometry, ResampleFilter filter) {
  const Scratch& weights = weights_of(geometry, filter);
  const int64_t left = weights.horizontal.begin();
  const int64_t top = weights.vertical.begin();
  return {left, top, weights.horizontal.end() - left, weights.vertical.end() - top};
}

void resample(const Image& input, int64_t part_left, int64_t part_top,
              const ResampleGeometry& geometry, ResampleFilter filter, Image* output) {
  const Scratch& weights = weights_of(geometry, filter);
  const AxisWeights& horizontal = weights.horizontal;
  const AxisWeights& vertical = weights.vertical;
  if (horizontal.begin() < part_left || horizontal.end() > part_left + input.width ||
      vertical.begin() < part_top || vertical.end() > part_top + input.height) {
    throw Error(
        fmt::format("resample: columns {} to {} and rows {} to {} are needed, given are "
                    "columns {} to {} and rows {} to {}.",
                    horizontal.begin(), horizontal.end(), vertical.begin(), vertical.end(),
                    part_left, part_left + input.width, part_top, part_top + input.height));
  }
  output->width = geometry.window.width;
  output->height = geometry.window.height;
  output->bands = input.bands;
  output->type = input.type == PixelType::kUint8 ? PixelType::kUint8 : PixelType::kFloat32;
  output->pixels.resize(static_cast<size_t>(output->width * output->height * output->bands *
                                            pixel_bytes(output->type)));
  const PassOrder order = order_of(geometry);
  switch (input.type) {
    case PixelType::kUint8:
      return resample_bytes(rows_of<uint8_t>(input, part_left, part_top), horizontal, vertical,
                            order, Instructions::kBest, output->as<uint8_t>());
    case PixelType::kUint16:
      return resample_floats(rows_of<uint16_t>(input, part_left, part_top), horizontal, vertical,
                             order, Instructions::kBest, output->as<float>());
    case PixelType::kInt16:
      return resample_floats(rows_of<int16_t>(input, part_left, part_top), horizontal, vertical,
                             order, Instructions::kBest, output->as<float>());
    case PixelType::kFloat32:
      return resample_floats(rows_of<float>(input, part_left, part_top), horizontal, vertical,
                             order, Instructions::kBest, output->as<float>());
  }
}

Image resize_image(const Image& input, int64_t width, int64_t height, ResampleFilter filter) {
  Image output;
  resample(input, 0, 0, ResampleGeometry::whole(input.width, input.height, width, height), filter,
           &output);
  return output;
}

}  // namespace swath::data
