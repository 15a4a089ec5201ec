#include "data/transform.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <utility>

#include "core/error.h"
#include "data/crop.h"
#include "data/image_codec.h"
#include "data/normalize.h"
#include "data/resample.h"

namespace swath::data {
namespace {

constexpr ResampleFilter kFilter = ResampleFilter::kBicubic;

// What one sample becomes. The grid of `geometry` starts at (left, top) of the image decoded at
// 1/jpeg_scale of its size.
struct Plan {
  bool resized = true;
  ResampleGeometry geometry;
  int64_t left = 0;
  int64_t top = 0;
  int jpeg_scale = 1;
};

struct Scratch {
  Image decoded;
  Image strip;
  Image cropped;
  Image presence;
  std::vector<float> planes;
};

// A resampled value whose weights of missing pixels sum to more than this is missing. Well over the
// rounding of sums of weights, and under the part of any pixel that could be seen.
constexpr float kTraceOfMissing = 1e-4F;

// The presence of each value as 1 or 0, and the band's mean where there is none.
void split_presence(std::span<const float> mean, Image* image, Image* presence) {
  *presence = *image;
  auto* values = image->as<float>();
  auto* present = presence->as<float>();
  const int64_t pixels = image->width * image->height;
  for (int64_t i = 0; i < pixels; ++i) {
    for (int64_t band = 0; band < image->bands; ++band) {
      const int64_t place = i * image->bands + band;
      const bool is_missing = std::isnan(values[place]);
      present[place] = is_missing ? 0.0F : 1.0F;
      if (is_missing) values[place] = mean[static_cast<size_t>(band)];
    }
  }
}

// The largest fraction at which the crop still has at least `size` pixels a side.
int fast_scale(const Region& crop, int64_t size) {
  int scale = 1;
  while (scale < 8 && std::min(crop.width, crop.height) >= int64_t{2} * scale * size) scale *= 2;
  return scale;
}

Plan plan_of_crop(const Region& crop, int64_t size, int jpeg_scale) {
  const int64_t scale = jpeg_scale;
  Plan plan;
  plan.jpeg_scale = jpeg_scale;
  plan.left = crop.left / scale;
  plan.top = crop.top / scale;
  const int64_t right = (crop.left + crop.width + scale - 1) / scale;
  const int64_t bottom = (crop.top + crop.height + scale - 1) / scale;
  plan.geometry = ResampleGeometry::whole(right - plan.left, bottom - plan.top, size, size);
  if (scale > 1) {
    const auto edge = [scale](int64_t pixel, int64_t origin) {
      return static_cast<double>(pixel) / static_cast<double>(scale) - static_cast<double>(origin);
    };
    plan.geometry.box_left = edge(crop.left, plan.left);
    plan.geometry.box_top = edge(crop.top, plan.top);
    plan.geometry.box_right = edge(crop.left + crop.width, plan.left);
    plan.geometry.box_bottom = edge(crop.top + crop.height, plan.top);
  }
  return plan;
}

// A window that is taken as it is.
Plan plan_of_window(const Region& window) {
  Plan plan;
  plan.resized = false;
  plan.left = window.left;
  plan.top = window.top;
  plan.geometry = ResampleGeometry::whole(window.width, window.height, window.width, window.height);
  return plan;
}

Plan choose(const TransformOptions& options, const ImageInfo& info, const std::string& name,
            Random& random) {
  const int64_t size = options.size;
  const CropRange range{options.scale_min, options.scale_max, options.ratio_min, options.ratio_max};
  if (options.kind == "center_crop") {
    const auto short_side =
        static_cast<int64_t>(std::floor(static_cast<double>(size) / options.resize_ratio));
    Plan plan;
    plan.geometry = resize_and_center_crop(info.width, info.height, short_side, size);
    return plan;
  }
  if (options.kind == "random_crop" || options.kind == "center_window") {
    if (info.width < size || info.height < size) {
      throw_bad_image(name,
                      fmt::format("has {} x {} pixels, too few for windows of {} x {}", info.width,
                                  info.height, size, size),
                      "lower the transform's size, or leave small images out with `--skip-bad`.");
    }
    const Region window =
        options.kind == "random_crop"
            ? random_window(info.width, info.height, size, random)
            : Region{(info.width - size) / 2, (info.height - size) / 2, size, size};
    return plan_of_window(window);
  }
  if (options.kind == "none") {
    if (info.width != size || info.height != size) {
      throw_bad_image(
          name,
          fmt::format("has {} x {} pixels where exactly {} x {} are expected", info.width,
                      info.height, size, size),
          "set the transform's size to that of the images, or its kind to center_crop.");
    }
    return plan_of_window({0, 0, size, size});
  }
  const Region crop = options.kind == "probe_crop"
                          ? single_draw_crop(info.width, info.height, range, random)
                          : random_resized_crop(info.width, info.height, range, random);
  const bool is_fast = options.jpeg_fast_scale && info.format == "JPEG";
  return plan_of_crop(crop, size, is_fast ? fast_scale(crop, size) : 1);
}

Orientation draw_orientation(const TransformOptions& options, Random& random) {
  Orientation orientation;
  if (options.dihedral) {
    const uint64_t choice = random.below(8);
    orientation = {(choice & 4) != 0, (choice & 2) != 0, (choice & 1) != 0};
  } else if (options.horizontal_flip) {
    orientation.mirror_columns = random.uniform() < 0.5;
  }
  return orientation;
}

void check_finite(const Image& image, const Region& region, const std::string& name) {
  if (image.type != PixelType::kFloat32) return;
  // All exponent bits set: NaN or infinite. Integer code, so that it becomes vector code.
  constexpr uint32_t kExponent = 0x7F800000;
  const auto* bits = image.as<uint32_t>();
  const int64_t size = image.width * image.height * image.bands;
  uint32_t found = 0;
  for (int64_t i = 0; i < size; ++i) found |= (bits[i] & kExponent) == kExponent ? 1U : 0U;
  if (found == 0) return;
  const auto* values = image.as<float>();
  const int64_t place =
      std::find_if(values, values + size, [](float value) { return !std::isfinite(value); }) -
      values;
  const int64_t pixel = place / image.bands;
  throw_bad_image(name,
                  fmt::format("has the value {} in band {} at column {}, row {}", values[place],
                              place % image.bands, region.left + pixel % image.width,
                              region.top + pixel / image.width),
                  "fill missing values before training, or leave such images out with "
                  "`--skip-bad`.");
}

// Decodes what `geometry`'s window needs and resamples it to `out`.
class Cutter {
 public:
  Cutter(ImageReader& reader, const TransformOptions& options, const std::string& name,
         const Plan& plan, Image* decoded)
      : reader_(reader), name_(name), plan_(plan), decoded_(decoded) {
    decode_.bands = options.bands;
    decode_.jpeg_scale = plan.jpeg_scale;
    decode_.memory_limit_bytes = options.memory_limit_mb << 20;
  }

  bool fits(const ResampleGeometry& geometry) const {
    const Region part = part_of(geometry);
    const int64_t bands =
        decode_.bands.empty() ? reader_.info().bands : static_cast<int64_t>(decode_.bands.size());
    return static_cast<double>(part.width) * static_cast<double>(part.height) *
               static_cast<double>(bands * pixel_bytes(reader_.info().type)) <=
           static_cast<double>(decode_.memory_limit_bytes);
  }

  void cut(const ResampleGeometry& geometry, Image* out) {
    const Region part = part_of(geometry);
    const int64_t scale = plan_.jpeg_scale;
    Region region{(plan_.left + part.left) * scale, (plan_.top + part.top) * scale, 0, 0};
    region.width = std::min(part.width * scale, reader_.info().width - region.left);
    region.height = std::min(part.height * scale, reader_.info().height - region.top);
    decode_.region = region;
    Image* decoded = plan_.resized ? decoded_ : out;
    reader_.read(decode_, decoded);
    check_finite(*decoded, region, name_);
    if (plan_.resized) resample(*decoded, part.left, part.top, geometry, kFilter, out);
  }

 private:
  Region part_of(const ResampleGeometry& geometry) const {
    return plan_.resized ? needed_input(geometry, kFilter) : geometry.window;
  }

  ImageReader& reader_;
  const std::string& name_;
  const Plan& plan_;
  Image* decoded_;
  DecodeOptions decode_;
};

// What has missing values goes this way: whole crops, cut as float32.
class MissingValues {
 public:
  MissingValues(const TransformOptions& options, std::span<const float> mean,
                std::span<const float> inverse_deviation)
      : options_(options), mean_(mean), inverse_deviation_(inverse_deviation) {}

  // Counts of a record, not resampled: one pass from the record into the batch.
  bool is_one_pass(const ImageSource& source, const Plan& plan) const {
    return source.calibration != nullptr && !plan.resized;
  }
  void one_pass(const ImageSource& source, const Plan& plan, const Orientation& orientation,
                float* out, bool* valid) const {
    const int64_t bands = source.raw->bands;
    const auto* counts = reinterpret_cast<const uint16_t*>(source.bytes.data()) +
                         (plan.top * source.raw->width + plan.left) * bands;
    calibrate_to_planes(counts, source.raw->width * bands, bands, options_.bands, options_.size,
                        options_.size, *source.calibration, orientation, mean_, inverse_deviation_,
                        out, valid);
  }

  void cut(ImageReader& reader, const std::string& name, const Plan& plan,
           const Orientation& orientation, Scratch* scratch, float* out, bool* valid) const {
    const Region part = plan.resized ? needed_input(plan.geometry, kFilter) : plan.geometry.window;
    DecodeOptions decode;
    decode.bands = options_.bands;
    decode.memory_limit_bytes = options_.memory_limit_mb << 20;
    decode.region = Region{plan.left + part.left, plan.top + part.top, part.width, part.height};
    reader.read(decode, &scratch->decoded);
    split_presence(mean_, &scratch->decoded, &scratch->presence);
    check_finite(scratch->decoded, *decode.region, name);
    normalize(scratch->decoded, plan, part, orientation, mean_, inverse_deviation_, scratch, out);
    const std::vector<float> zeros(mean_.size(), 0.0F);
    const std::vector<float> ones(mean_.size(), 1.0F);
    scratch->planes.resize(mean_.size() * static_cast<size_t>(options_.size * options_.size));
    normalize(scratch->presence, plan, part, orientation, zeros, ones, scratch,
              scratch->planes.data());
    for (size_t i = 0; i < scratch->planes.size(); ++i) {
      valid[i] = std::abs(scratch->planes[i] - 1.0F) <= kTraceOfMissing;
      if (!valid[i]) out[i] = 0.0F;
    }
  }

 private:
  static void normalize(const Image& image, const Plan& plan, const Region& part,
                        const Orientation& orientation, std::span<const float> mean,
                        std::span<const float> inverse_deviation, Scratch* scratch, float* out) {
    if (plan.resized) {
      resample(image, part.left, part.top, plan.geometry, kFilter, &scratch->cropped);
      normalize_to_planes(scratch->cropped, orientation, mean, inverse_deviation, out);
    } else {
      normalize_to_planes(image, orientation, mean, inverse_deviation, out);
    }
  }

  const TransformOptions& options_;
  std::span<const float> mean_;
  std::span<const float> inverse_deviation_;
};

void append_rows(const Image& strip, int64_t total_rows, int64_t first_row, Image* image) {
  image->width = strip.width;
  image->height = total_rows;
  image->bands = strip.bands;
  image->type = strip.type;
  const int64_t row_bytes = strip.width * strip.bands * pixel_bytes(strip.type);
  image->pixels.resize(static_cast<size_t>(total_rows * row_bytes));
  std::memcpy(image->pixels.data() + first_row * row_bytes, strip.pixels.data(),
              static_cast<size_t>(strip.height * row_bytes));
}

// A crop of a very large image passes the memory limit: its output rows are then made in strips,
// each from the input rows that it needs.
void cut_in_strips(Cutter& cutter, const ResampleGeometry& geometry, Image* strip, Image* out) {
  int64_t rows = geometry.window.height;
  for (int64_t row = 0; row < geometry.window.height;) {
    ResampleGeometry part = geometry;
    part.window.top = geometry.window.top + row;
    part.window.height = std::min(rows, geometry.window.height - row);
    if (part.window.height > 1 && !cutter.fits(part)) {
      rows = (part.window.height + 1) / 2;
      continue;
    }
    cutter.cut(part, strip);
    append_rows(*strip, geometry.window.height, row, out);
    row += part.window.height;
  }
}

void check_options_of(const TransformOptions& options, const Normalization& normalization) {
  const size_t channels = normalization.mean.size();
  if (channels == 0 || normalization.standard_deviation.size() != channels) {
    throw UsageError(
        fmt::format("normalization: {} means and {} standard deviations; one of each "
                    "per band is needed.",
                    channels, normalization.standard_deviation.size()));
  }
  if (!options.bands.empty() && options.bands.size() != channels) {
    throw UsageError(fmt::format("transform: {} bands are selected, but the statistics are those "
                                 "of {} bands.",
                                 options.bands.size(), channels),
                     "compute the statistics with the same selection of bands.");
  }
  for (size_t band = 0; band < channels; ++band) {
    const double deviation = normalization.standard_deviation[band];
    if (!(deviation > 0) || !std::isfinite(deviation) || !std::isfinite(normalization.mean[band])) {
      throw UsageError(fmt::format("normalization: band {} has mean {} and standard deviation {}.",
                                   band, normalization.mean[band], deviation),
                       "a band that is the same everywhere carries nothing: leave it out of the "
                       "selection of bands.");
    }
  }
  if (options.scale_min > options.scale_max || options.ratio_min > options.ratio_max) {
    throw UsageError(
        fmt::format("transform: scale {} to {}, ratio {} to {}: a minimum is over its "
                    "maximum.",
                    options.scale_min, options.scale_max, options.ratio_min, options.ratio_max));
  }
}

}  // namespace

TransformOptions TransformOptions::without_random_choices() const {
  TransformOptions fixed = *this;
  const bool is_window = kind == "random_crop" || kind == "center_window";
  if (is_window) {
    fixed.kind = "center_window";  // at the scale of training
  } else if (kind != "none") {
    fixed.kind = "center_crop";
  }
  fixed.horizontal_flip = false;
  fixed.dihedral = false;
  fixed.jpeg_fast_scale = false;
  return fixed;
}

void TransformOptions::describe(FieldTable& fields) {
  fields.add("kind", &kind, "how an image becomes the network's input")
      .one_of({"random_resized_crop", "probe_crop", "center_crop", "random_crop", "center_window",
               "none"});
  fields.add("size", &size, "pixels a side of the result").at_least(1);
  fields.add("scale_min", &scale_min, "smallest share of the area that a crop takes")
      .at_least(1e-6)
      .at_most(1);
  fields.add("scale_max", &scale_max, "largest share of the area that a crop takes")
      .at_least(1e-6)
      .at_most(1);
  fields.add("ratio_min", &ratio_min, "smallest width / height of a crop").at_least(1e-3);
  fields.add("ratio_max", &ratio_max, "largest width / height of a crop").at_least(1e-3);
  fields.add("horizontal_flip", &horizontal_flip, "mirror left to right with probability 1/2");
  fields.add(
      "dihedral", &dihedral,
      "one of the eight turns and mirrors of a square, for overhead images; replaces the flip");
  fields.add("jpeg_fast_scale", &jpeg_fast_scale,
             "decode a JPEG at 1/2, 1/4 or 1/8 where the crop stays larger than the result; "
             "for pretraining only");
  fields.add("resize_ratio", &resize_ratio, "center_crop: short side to floor(size / resize_ratio)")
      .at_least(1e-2)
      .at_most(1);
  fields.add("bands", &bands, "bands to use, counted from 0; empty: all").at_least(0);
  fields
      .add("memory_limit_mb", &memory_limit_mb,
           "decoded pixels that a thread holds at a time, in MiB; larger crops come in strips")
      .at_least(1);
}

Transform::Transform(TransformOptions options, Normalization normalization)
    : options_(std::move(options)), normalization_(std::move(normalization)) {
  // Limits and choices of single fields, for options that did not come through a parser.
  FieldTable table = make_field_table(options_);
  table.apply_toml(table.to_toml(), "transform");
  check_options_of(options_, normalization_);
  for (size_t band = 0; band < normalization_.mean.size(); ++band) {
    mean_.push_back(static_cast<float>(normalization_.mean[band]));
    inverse_deviation_.push_back(static_cast<float>(1.0 / normalization_.standard_deviation[band]));
  }
}

void Transform::apply(const ImageSource& source, Random& random, float* out_CHW,
                      bool* valid_CHW) const {
  thread_local Scratch scratch;
  ImageReader reader(source);
  const ImageInfo& info = reader.info();
  if (options_.bands.empty() && info.bands != channels()) {
    throw_bad_image(source.name,
                    fmt::format("has {} bands where {} are expected", info.bands, channels()),
                    "select bands that all images have, or leave others out with `--skip-bad`.");
  }
  const Plan plan = choose(options_, info, source.name, random);
  const Orientation orientation = draw_orientation(options_, random);
  if (info.has_missing && valid_CHW != nullptr) {
    const MissingValues missing(options_, mean_, inverse_deviation_);
    if (missing.is_one_pass(source, plan)) {
      missing.one_pass(source, plan, orientation, out_CHW, valid_CHW);
    } else {
      missing.cut(reader, source.name, plan, orientation, &scratch, out_CHW, valid_CHW);
    }
    return;
  }
  if (valid_CHW != nullptr) {
    std::fill_n(valid_CHW, channels() * options_.size * options_.size, true);
  }
  Cutter cutter(reader, options_, source.name, plan, &scratch.decoded);
  if (!plan.resized || cutter.fits(plan.geometry)) {
    cutter.cut(plan.geometry, &scratch.cropped);
  } else {
    cut_in_strips(cutter, plan.geometry, &scratch.strip, &scratch.cropped);
  }
  normalize_to_planes(scratch.cropped, orientation, mean_, inverse_deviation_, out_CHW);
}

}  // namespace swath::data
