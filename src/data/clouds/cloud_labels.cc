#include "data/clouds/cloud_labels.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <map>

#include "core/error.h"
#include "core/files.h"
#include "data/clouds/label_map.h"
#include "data/clouds/label_netcdf.h"
#include "data/clouds/label_table.h"

namespace swath::data::clouds {
namespace fs = std::filesystem;
namespace {

constexpr double kNoValue = std::numeric_limits<double>::quiet_NaN();

bool is_label_file(const fs::path& path) {
  if (path.filename() == kLabelMapFile) return false;
  return path.extension() == ".nc" || path.extension() == ".csv";
}

std::vector<fs::path> label_files(const fs::path& path) {
  std::vector<fs::path> files;
  if (fs::is_regular_file(path)) {
    if (is_label_file(path)) files.push_back(path);
  } else if (fs::is_directory(path)) {
    for (const auto& entry : fs::recursive_directory_iterator(path)) {
      if (entry.is_regular_file() && is_label_file(entry.path())) files.push_back(entry.path());
    }
  } else {
    throw UsageError(fmt::format("labels: {} does not exist.", path.string()),
                     "name the folder or file of labels with --labels.");
  }
  if (files.empty()) {
    throw UsageError(fmt::format("labels: there is no .nc and no .csv in {}.", path.string()));
  }
  std::sort(files.begin(), files.end());
  return files;
}

// Files of labels that lie in the directory. They may be replaced: throws where one of them was not
// derived by us.
std::vector<fs::path> replaceable_labels(const fs::path& directory) {
  std::vector<fs::path> files;
  if (!fs::exists(directory)) return files;
  for (const auto& entry : fs::directory_iterator(directory)) {
    if (!entry.is_regular_file() || !is_label_file(entry.path())) continue;
    if (read_cloud_labels(entry.path()).derived.empty()) {
      throw UsageError(fmt::format("labels: {} was not derived from pixels or products: it is not "
                                   "overwritten.",
                                   entry.path().string()),
                       "name another --output.");
    }
    files.push_back(entry.path());
  }
  return files;
}

// One NetCDF file per granule, named as the producers do.
int64_t write_granules(const fs::path& directory, const CloudLabels& labels) {
  std::map<Granule, CloudLabels> granules;
  for (int64_t i = 0; i < labels.size(); ++i) {
    const auto at = static_cast<size_t>(i);
    CloudLabels& of_granule = granules[labels.places[at].granule];
    of_granule.derived = labels.derived;
    of_granule.property_names = labels.property_names;
    of_granule.places.push_back(labels.places[at]);
    of_granule.raw.push_back(labels.raw[at]);
    const std::span<const double> row = labels.properties_of(i);
    of_granule.properties.insert(of_granule.properties.end(), row.begin(), row.end());
  }
  for (const auto& [granule, of_granule] : granules) {
    write_label_netcdf(directory / ("CMPST_" + granule.name() + ".nc"), of_granule);
  }
  return static_cast<int64_t>(granules.size());
}

}  // namespace

std::span<const double> CloudLabels::properties_of(int64_t index) const {
  const size_t width = property_names.size();
  return std::span(properties).subspan(static_cast<size_t>(index) * width, width);
}

void OtherLabels::add(const Granule& granule, int64_t raw_class) {
  ++count;
  ++raw[raw_class];
  auto& span = spans.try_emplace(granule.platform, granule, granule).first->second;
  span = {std::min(span.first, granule), std::max(span.second, granule)};
}

void OtherLabels::append(const OtherLabels& other) {
  count += other.count;
  for (const auto& [raw_class, labels] : other.raw) raw[raw_class] += labels;
  for (const auto& [platform, span] : other.spans) {
    auto& own = spans.try_emplace(platform, span).first->second;
    own = {std::min(own.first, span.first), std::max(own.second, span.second)};
  }
}

void CloudLabels::append(const CloudLabels& other) {
  if (form.empty()) {
    *this = other;
    return;
  }
  if (form != other.form) {
    throw UsageError(fmt::format("labels: {} and {} are mixed.", form, other.form),
                     "give labels of one form at a time.");
  }
  if (derived != other.derived) {
    throw UsageError(
        fmt::format("labels: some are derived (`{}`), others are not, or otherwise (`{}`).",
                    derived, other.derived),
        "keep labels of different origin in folders of their own.");
  }
  std::vector<std::string> names = property_names;
  for (const std::string& name : other.property_names) {
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  if (names.size() > property_names.size()) {
    std::vector<double> wider;
    for (int64_t i = 0; i < size(); ++i) {
      const std::span<const double> row = properties_of(i);
      wider.insert(wider.end(), row.begin(), row.end());
      wider.resize(static_cast<size_t>(i + 1) * names.size(), kNoValue);
    }
    properties = std::move(wider);
    property_names = std::move(names);
  }
  const size_t width = property_names.size();
  std::vector<size_t> target;
  for (const std::string& name : other.property_names) {
    target.push_back(static_cast<size_t>(
        std::find(property_names.begin(), property_names.end(), name) - property_names.begin()));
  }
  others.append(other.others);
  for (int64_t i = 0; i < other.size(); ++i) {
    places.push_back(other.places[static_cast<size_t>(i)]);
    raw.push_back(other.raw[static_cast<size_t>(i)]);
    properties.resize(properties.size() + width, kNoValue);
    double* row = properties.data() + properties.size() - width;
    const std::span<const double> values = other.properties_of(i);
    for (size_t p = 0; p < values.size(); ++p) row[target[p]] = values[p];
  }
}

CloudLabels read_cloud_labels(const fs::path& path, const std::set<Granule>* granules) {
  CloudLabels labels;
  for (const fs::path& file : label_files(path)) {
    labels.append(file.extension() == ".nc" ? read_label_netcdf(file, granules)
                                            : read_label_table(file, granules));
  }
  if (labels.size() + labels.others.count == 0) {
    throw UsageError(fmt::format("labels: {} holds no label.", path.string()));
  }
  return labels;
}

fs::path new_label_directory(const std::string& output, bool overwrite) {
  if (output.empty()) {
    throw UsageError("labels: no output is named.", "name a directory with --output.");
  }
  if (fs::exists(output) && !fs::is_empty(output) && !overwrite) {
    throw UsageError(fmt::format("labels: {} is not empty.", output),
                     "name another --output, or replace its labels with --overwrite.");
  }
  replaceable_labels(output);
  return output;
}

void describe_label_form(FieldTable& fields, std::string* form) {
  fields.add("form", form, "CSV table, or one NetCDF file per granule").one_of({"table", "netcdf"});
}

int64_t write_labels_with_map(const fs::path& directory, const CloudLabels& labels,
                              const std::map<int64_t, std::string>& class_names) {
  fs::create_directories(directory);
  // Else those of other options or granules would be read together with these.
  for (const fs::path& old : replaceable_labels(directory)) fs::remove(old);
  int64_t files = 1;
  if (labels.form == "table") {
    write_label_table(directory / "labels.csv", labels);
  } else {
    files = write_granules(directory, labels);
  }
  std::string map = "raw,class\n";
  for (const auto& [raw, name] : class_names) map += fmt::format("{},{}\n", raw, name);
  write_file_atomically(directory / kLabelMapFile, map);
  return files;
}

}  // namespace swath::data::clouds
