// The texts that describe a synthetic granule in the file itself.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "data/modis/granule.h"

namespace swath::data::modis {

inline constexpr const char* kNotice =
    "SYNTHETIC: invented pixels in the layout of the product; not a measurement";

// CoreMetadata.0 of the file named `file`: product, day or night, times, platform.
std::string core_metadata(const GranuleName& name, const std::string& file, bool is_day);

// StructMetadata.0: HDF-EOS describes a swath once more as text.
class StructText {
 public:
  struct FieldText {
    std::string name;
    std::string type;
    std::string dimensions;
  };

  StructText(const std::string& swath, const std::vector<std::pair<std::string, int64_t>>& sizes);
  void maps(const std::vector<std::pair<std::string, std::string>>& geo_to_data);
  void fields(const std::string& kind, const std::vector<FieldText>& list);
  std::string done() const;

 private:
  void begin(const std::string& group);
  void end(const std::string& group);
  void object(const std::string& name, const std::string& body);

  std::string text_;
  int count_ = 0;
};

}  // namespace swath::data::modis
