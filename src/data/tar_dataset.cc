#include "data/tar_dataset.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <map>
#include <optional>

#include "core/error.h"
#include "core/hash.h"
#include "core/json.h"
#include "core/log.h"
#include "data/folder_dataset.h"
#include "data/tar_archive.h"

namespace swath::data {
namespace fs = std::filesystem;
namespace {

// "dir.a/0001.seg.png" -> {"dir.a/0001", "seg.png"}: the key ends at the first dot of the file
// name.
std::pair<std::string_view, std::string_view> split_key(std::string_view name) {
  const size_t slash = name.rfind('/');
  const size_t dot = name.find('.', slash == std::string_view::npos ? 0 : slash + 1);
  if (dot == std::string_view::npos) return {name, {}};
  return {name.substr(0, dot), name.substr(dot + 1)};
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

std::optional<int32_t> as_index(std::string_view text) {
  int32_t value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size() || value < 0 ||
      value > 1'000'000) {
    return std::nullopt;
  }
  return value;
}

}  // namespace

// Gathers the members of one sample until the next key begins.
class TarDataset::Builder {
 public:
  explicit Builder(TarDataset& dataset) : dataset_(dataset) {}

  void begin_archive() {
    const auto archive = static_cast<uint32_t>(dataset_.archives_.size() - 1);
    archive_ = archive;
    scan_tar(bytes(), path(), [this](const TarMember& member) { take(member); });
    end_sample();
  }

  void finish() {
    if (without_image_ > 0) {
      log_warning(fmt::format("tar: {} samples of {} have no image and are left out.",
                              without_image_, dataset_.path_.string()));
    }
    if (!texts_.empty() && has_indices_) {
      throw Error(fmt::format("tar: {} labels some samples by index and others by name ({}).",
                              dataset_.path_.string(), texts_.begin()->first),
                  "write all .cls members as an index, or all as a name.");
    }
    if (!texts_.empty()) {
      for (auto& [name, label] : texts_) {
        label = static_cast<int32_t>(dataset_.class_names_.size());
        dataset_.class_names_.push_back(name);
      }
      for (size_t i = 0; i < dataset_.samples_.size(); ++i) {
        if (!sample_texts_[i].empty()) {
          dataset_.samples_[i].label = texts_.find(sample_texts_[i])->second;
        }
      }
      return;
    }
    int32_t highest = -1;
    for (const Member& sample : dataset_.samples_) highest = std::max(highest, sample.label);
    for (int32_t i = 0; i <= highest; ++i) {
      const auto known = names_of_indices_.find(i);
      dataset_.class_names_.push_back(known != names_of_indices_.end() ? known->second
                                                                       : fmt::format("{}", i));
    }
  }

 private:
  std::string_view bytes() const { return dataset_.archives_[archive_]->bytes(); }
  std::string path() const { return dataset_.archives_[archive_]->path().string(); }

  void take(const TarMember& member) {
    const auto [key, extension] = split_key(member.name);
    if (key != key_) {
      end_sample();
      key_ = key;
    }
    has_members_ = true;
    const std::string_view contents = bytes().substr(member.offset, member.bytes);
    if (has_image_extension(fmt::format(".{}", extension)) &&
        extension.find('.') == std::string_view::npos) {
      if (image_) return;
      image_.emplace(member);
    } else if (extension == "cls") {
      const std::string_view text = trimmed(contents);
      if (text.empty()) fail(member, "is empty");
      if (const auto index = as_index(text)) {
        label_ = index;
      } else {
        label_text_ = text;
      }
    } else if (extension == "json") {
      const Json json = Json::parse(contents, nullptr, false);
      if (!json.is_object()) fail(member, "is not a JSON object");
      if (json.contains("label") && json["label"].is_number_integer()) {
        const std::string text = json["label"].dump();
        label_ = as_index(text);
        if (!label_) fail(member, fmt::format("has the label {}, which is no class index", text));
      }
      if (json.contains("class") && json["class"].is_string()) class_name_ = json["class"];
      if (json.contains("longitude") && json["longitude"].is_number()) {
        longitude_ = json["longitude"];
      }
      if (json.contains("latitude") && json["latitude"].is_number()) latitude_ = json["latitude"];
    }
  }

  [[noreturn]] void fail(const TarMember& member, const std::string& what) const {
    throw Error(fmt::format("tar: {} of {} {}.", member.name, path(), what),
                "make the archive again.");
  }

  void end_sample() {
    if (image_) {
      Member sample;
      sample.archive = static_cast<uint32_t>(archive_);
      sample.name_begin = dataset_.names_.size();
      sample.name_bytes = static_cast<uint32_t>(image_->name.size());
      dataset_.names_ += image_->name;
      sample.offset = image_->offset;
      sample.bytes = image_->bytes;
      sample.longitude = longitude_;
      sample.latitude = latitude_;
      if (label_) {
        sample.label = *label_;
        has_indices_ = true;
        if (!class_name_.empty()) names_of_indices_.emplace(*label_, class_name_);
      } else {
        if (label_text_.empty()) label_text_ = class_name_;
        if (!label_text_.empty()) texts_.emplace(label_text_, 0);
      }
      dataset_.samples_.push_back(sample);
      sample_texts_.push_back(label_ ? std::string() : label_text_);
    } else if (has_members_) {
      ++without_image_;
    }
    has_members_ = false;
    image_.reset();
    label_.reset();
    label_text_.clear();
    class_name_.clear();
    key_.clear();
    longitude_ = latitude_ = std::numeric_limits<double>::quiet_NaN();
  }

  TarDataset& dataset_;
  size_t archive_ = 0;
  std::string key_;
  bool has_members_ = false;
  std::optional<TarMember> image_;
  std::optional<int32_t> label_;
  std::string label_text_;
  std::string class_name_;
  double longitude_ = std::numeric_limits<double>::quiet_NaN();
  double latitude_ = std::numeric_limits<double>::quiet_NaN();
  int64_t without_image_ = 0;
  bool has_indices_ = false;
  std::map<std::string, int32_t> texts_;
  std::vector<std::string> sample_texts_;
  std::map<int32_t, std::string> names_of_indices_;
};

TarDataset::TarDataset(const fs::path& path) : path_(path) {
  std::vector<fs::path> files;
  if (fs::is_directory(path)) {
    for (const auto& entry : fs::directory_iterator(path)) {
      if (entry.path().extension() == ".tar") files.push_back(entry.path());
    }
    std::sort(files.begin(), files.end());
  } else {
    files.push_back(path);
  }
  Builder builder(*this);
  for (const fs::path& file : files) {
    archives_.push_back(std::make_unique<MappedFile>(file));
    builder.begin_archive();
  }
  builder.finish();
  if (samples_.empty()) {
    throw UsageError(fmt::format("tar: no image in {}.", path.string()),
                     "a WebDataset archive has members such as 0001.jpg and 0001.cls.");
  }
}

Sample TarDataset::sample(int64_t index) const {
  const Member& member = samples_.at(static_cast<size_t>(index));
  Sample sample;
  sample.name = name(member);
  sample.id = xxh3(sample.name);
  sample.label = member.label;
  if (!std::isnan(member.longitude) && !std::isnan(member.latitude)) {
    sample.longitude_latitude = {member.longitude, member.latitude};
  }
  return sample;
}

ImageSource TarDataset::source(int64_t index, std::vector<std::byte>*) const {
  const Member& member = samples_.at(static_cast<size_t>(index));
  const MappedFile& archive = *archives_[member.archive];
  const std::string_view bytes = archive.bytes().substr(member.offset, member.bytes);
  ImageSource source;
  source.name = fmt::format("{} of {}", name(member), archive.path().string());
  source.path = name(member);
  source.bytes = std::as_bytes(std::span(bytes));
  if (bytes.empty()) {
    throw BadSample(fmt::format("tar: {} is empty.", source.name),
                    "make the archive again, or go on without it with --skip-bad.");
  }
  return source;
}

std::string TarDataset::description() const {
  return fmt::format("{}: {} samples in {} archives", path_.string(), size(), archives_.size());
}

}  // namespace swath::data
