// TIFF, GeoTIFF and the other raster formats, through GDAL where swath was built with it.
#include <fmt/format.h>

#include "data/image_codec.h"

#ifdef SWATH_WITH_GDAL

#include <cpl_conv.h>
#include <cpl_error.h>
#include <cpl_vsi.h>
#include <gdal.h>
#include <ogr_srs_api.h>

#include <atomic>
#include <cmath>
#include <mutex>

namespace swath::data {
namespace {

void register_drivers_once() {
  static std::once_flag once;
  std::call_once(once, GDALAllRegister);
}

// Collects what GDAL reports on this thread, instead of its printing to stderr.
class ErrorCollector {
 public:
  ErrorCollector() { CPLPushErrorHandlerEx(collect, this); }
  ~ErrorCollector() { CPLPopErrorHandler(); }
  ErrorCollector(const ErrorCollector&) = delete;
  ErrorCollector& operator=(const ErrorCollector&) = delete;

  bool failed() const { return failed_; }
  const std::string& message() const { return message_; }

 private:
  static void CPL_STDCALL collect(CPLErr level, CPLErrorNum, const char* message) {
    if (level < CE_Failure) return;
    auto* self = static_cast<ErrorCollector*>(CPLGetErrorHandlerUserData());
    self->failed_ = true;
    if (self->message_.empty()) self->message_ = message;
  }

  bool failed_ = false;
  std::string message_;
};

// Spares a listing of the image's folder per open; folders may hold a million images.
class NoDirectoryListing {
 public:
  NoDirectoryListing() {
    CPLSetThreadLocalConfigOption("GDAL_DISABLE_READDIR_ON_OPEN", "EMPTY_DIR");
  }
  ~NoDirectoryListing() { CPLSetThreadLocalConfigOption("GDAL_DISABLE_READDIR_ON_OPEN", nullptr); }
  NoDirectoryListing(const NoDirectoryListing&) = delete;
  NoDirectoryListing& operator=(const NoDirectoryListing&) = delete;
};

// Bytes in memory under a file name that only GDAL sees.
class MemoryFile {
 public:
  explicit MemoryFile(std::span<const std::byte> bytes) {
    if (bytes.empty()) return;
    static std::atomic<uint64_t> next{0};
    path_ = fmt::format("/vsimem/swath_{}", next.fetch_add(1));
    // GDAL only reads: files are opened read-only below.
    auto* data = reinterpret_cast<GByte*>(const_cast<std::byte*>(bytes.data()));
    VSIFCloseL(VSIFileFromMemBuffer(path_.c_str(), data, bytes.size(), FALSE));
  }
  ~MemoryFile() {
    if (!path_.empty()) VSIUnlink(path_.c_str());
  }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

GDALDataType gdal_type(PixelType type) {
  switch (type) {
    case PixelType::kUint8:
      return GDT_Byte;
    case PixelType::kUint16:
      return GDT_UInt16;
    case PixelType::kInt16:
      return GDT_Int16;
    case PixelType::kFloat32:
      break;
  }
  return GDT_Float32;
}

class GdalCodec final : public ImageCodec {
 public:
  GdalCodec(const std::filesystem::path& path, std::span<const std::byte> bytes, std::string name,
            const std::string& found)
      : memory_(bytes), name_(std::move(name)) {
    register_drivers_once();
    const ErrorCollector errors;
    const NoDirectoryListing no_listing;
    const std::string& gdal_path = bytes.empty() ? path.string() : memory_.path();
    dataset_ =
        GDALOpenEx(gdal_path.c_str(), GDAL_OF_RASTER | GDAL_OF_READONLY, nullptr, nullptr, nullptr);
    if (dataset_ == nullptr) {
      throw_bad_image(name_, fmt::format("cannot be read as an image: found {}{}{}", found,
                                         errors.message().empty() ? "" : "; ", errors.message()));
    }
    try {
      describe();
    } catch (...) {
      GDALClose(dataset_);
      throw;
    }
  }

  ~GdalCodec() override {
    const ErrorCollector errors;
    GDALClose(dataset_);
  }
  GdalCodec(const GdalCodec&) = delete;
  GdalCodec& operator=(const GdalCodec&) = delete;

  void decode(const DecodeOptions& options, const Region& region, Image* image) override {
    shape_image(info_, options, region.width, region.height, image);
    std::vector<int> bands;
    for (int64_t i = 0; i < image->bands; ++i) {
      const int64_t band = options.bands.empty() ? i : options.bands[static_cast<size_t>(i)];
      bands.push_back(static_cast<int>(band) + 1);
    }
    const int64_t value = pixel_bytes(info_.type);
    const ErrorCollector errors;
    const CPLErr result = GDALDatasetRasterIOEx(
        dataset_, GF_Read, static_cast<int>(region.left), static_cast<int>(region.top),
        static_cast<int>(region.width), static_cast<int>(region.height), image->pixels.data(),
        static_cast<int>(region.width), static_cast<int>(region.height), gdal_type(info_.type),
        static_cast<int>(bands.size()), bands.data(), value * image->bands,
        value * image->bands * region.width, value, nullptr);
    if (result >= CE_Failure || errors.failed()) {
      throw_bad_image(name_, fmt::format("is a truncated or damaged {} file: {}", info_.format,
                                         errors.message()));
    }
  }

 private:
  void describe() {
    info_.format = GDALGetDriverShortName(GDALGetDatasetDriver(dataset_));
    info_.width = GDALGetRasterXSize(dataset_);
    info_.height = GDALGetRasterYSize(dataset_);
    info_.bands = GDALGetRasterCount(dataset_);
    if (info_.bands < 1 || info_.width < 1 || info_.height < 1) {
      throw_bad_image(name_, fmt::format("is a {} file without a raster of its own", info_.format),
                      "convert the layer you want to GeoTIFF with gdal_translate.");
    }
    GDALDataType type = GDALGetRasterDataType(GDALGetRasterBand(dataset_, 1));
    for (int band = 2; band <= info_.bands; ++band) {
      type = GDALDataTypeUnion(type, GDALGetRasterDataType(GDALGetRasterBand(dataset_, band)));
    }
    if (GDALDataTypeIsComplex(type)) {
      throw_bad_image(name_, "holds complex numbers", "store amplitude and phase as two bands.");
    }
    info_.type = type == GDT_Byte     ? PixelType::kUint8
                 : type == GDT_UInt16 ? PixelType::kUint16
                 : type == GDT_Int16  ? PixelType::kInt16
                                      : PixelType::kFloat32;
    take_georeference();
  }

  void take_georeference() {
    double numbers[6];
    if (GDALGetGeoTransform(dataset_, numbers) != CE_None) return;
    // A turned raster has no single step per direction; it counts as not georeferenced.
    if (numbers[2] != 0 || numbers[4] != 0) return;
    Georeference reference;
    reference.origin_x = numbers[0];
    reference.step_x = numbers[1];
    reference.origin_y = numbers[3];
    reference.step_y = numbers[5];
    const char* system = GDALGetProjectionRef(dataset_);
    if (system != nullptr) reference.coordinate_system = system;
    info_.georeference = reference;
  }

  MemoryFile memory_;
  std::string name_;
  GDALDatasetH dataset_ = nullptr;
};

}  // namespace

std::unique_ptr<ImageCodec> open_gdal(const std::filesystem::path& path,
                                      std::span<const std::byte> bytes, const std::string& name,
                                      const std::string& found) {
  return std::make_unique<GdalCodec>(path, bytes, name, found);
}

}  // namespace swath::data

#else  // SWATH_WITH_GDAL

namespace swath::data {

std::unique_ptr<ImageCodec> open_gdal(const std::filesystem::path&, std::span<const std::byte>,
                                      const std::string& name, const std::string& found) {
  throw_bad_image(
      name, fmt::format("cannot be read: found {}, and this swath was built without GDAL", found),
      "install GDAL (Debian and Ubuntu: `apt-get install libgdal-dev`) and build again "
      "with -DSWATH_WITH_GDAL=ON, or convert the images to PNG or .npy.");
}

}  // namespace swath::data

#endif  // SWATH_WITH_GDAL
