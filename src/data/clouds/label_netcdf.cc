#include "data/clouds/label_netcdf.h"

#include <fmt/format.h>

#include "core/error.h"

#ifdef SWATH_WITH_NETCDF

#include <netcdf.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>

namespace swath::data::clouds {
namespace fs = std::filesystem;
namespace {

constexpr const char* kLabels = "labels_nc-42";
constexpr const char* kOrigin = "label_origin";
constexpr std::string_view kDerivedMark = "derived: ";
constexpr std::string_view kPhase = "Cloud_Phase_Infrared_";

// An open file; names it in every error.
class NetcdfFile {
 public:
  static NetcdfFile open(const fs::path& path) {
    NetcdfFile file(path);
    file.check(nc_open(path.c_str(), NC_NOWRITE, &file.id_), "cannot be opened");
    return file;
  }
  static NetcdfFile create(const fs::path& path) {
    NetcdfFile file(path);
    file.check(nc_create(path.c_str(), NC_NETCDF4 | NC_CLOBBER, &file.id_), "cannot be written");
    return file;
  }
  NetcdfFile(NetcdfFile&& other) noexcept
      : path_(std::move(other.path_)), id_(std::exchange(other.id_, -1)) {}
  NetcdfFile& operator=(NetcdfFile&&) = delete;
  NetcdfFile(const NetcdfFile&) = delete;
  NetcdfFile& operator=(const NetcdfFile&) = delete;
  ~NetcdfFile() {
    if (id_ >= 0) nc_close(id_);
  }

  int id() const { return id_; }
  void check(int status, const std::string& what) const {
    if (status == NC_NOERR) return;
    fail(fmt::format("{}: {}", what, nc_strerror(status)));
  }
  [[noreturn]] void fail(const std::string& message) const {
    throw Error(fmt::format("labels: {} {}.", path_.string(), message),
                "docs/clouds.md describes the NetCDF files of labels.");
  }
  // Writes what is still in memory; a full disk shows here.
  void close() { check(nc_close(std::exchange(id_, -1)), "cannot be written"); }

 private:
  explicit NetcdfFile(fs::path path) : path_(std::move(path)) {}

  fs::path path_;
  int id_ = -1;
};

std::string attribute(int file, const char* name) {
  size_t length = 0;
  if (nc_inq_attlen(file, NC_GLOBAL, name, &length) != NC_NOERR) return {};
  nc_type type = NC_NAT;
  nc_inq_atttype(file, NC_GLOBAL, name, &type);
  if (type == NC_CHAR) {
    std::string text(length, '\0');
    if (nc_get_att_text(file, NC_GLOBAL, name, text.data()) != NC_NOERR) return {};
    return text;
  }
  if (type != NC_STRING || length != 1) return {};
  char* text = nullptr;
  if (nc_get_att_string(file, NC_GLOBAL, name, &text) != NC_NOERR) return {};
  std::string result = text == nullptr ? "" : text;
  nc_free_string(1, &text);
  return result;
}

std::vector<size_t> shape_of(int group, int variable) {
  int rank = 0;
  nc_inq_varndims(group, variable, &rank);
  std::vector<int> dimensions(static_cast<size_t>(rank));
  nc_inq_vardimid(group, variable, dimensions.data());
  std::vector<size_t> shape;
  for (const int dimension : dimensions) {
    size_t length = 0;
    nc_inq_dimlen(group, dimension, &length);
    shape.push_back(length);
  }
  return shape;
}

int find_variable(const NetcdfFile& file, const char* name) {
  int variable = -1;
  if (nc_inq_varid(file.id(), name, &variable) != NC_NOERR) {
    file.fail(fmt::format("has no variable `{}`", name));
  }
  return variable;
}

// What stands for "no value" in a variable; single bytes have none to spare.
std::optional<double> fill_of(int group, int variable) {
  int has_no_fill = 0;
  if (nc_inq_var_fill(group, variable, &has_no_fill, nullptr) != NC_NOERR || has_no_fill != 0) {
    return std::nullopt;
  }
  double given = 0;
  if (nc_get_att_double(group, variable, "_FillValue", &given) == NC_NOERR) return given;
  nc_type type = NC_NAT;
  nc_inq_vartype(group, variable, &type);
  switch (type) {
    case NC_SHORT:
      return NC_FILL_SHORT;
    case NC_USHORT:
      return NC_FILL_USHORT;
    case NC_INT:
      return NC_FILL_INT;
    case NC_UINT:
      return NC_FILL_UINT;
    case NC_INT64:
      return static_cast<double>(NC_FILL_INT64);
    case NC_UINT64:
      return static_cast<double>(NC_FILL_UINT64);
    case NC_FLOAT:
      return NC_FILL_FLOAT;
    case NC_DOUBLE:
      return NC_FILL_DOUBLE;
    default:
      return std::nullopt;
  }
}

// NaN where there is no value.
std::vector<double> read_numbers(const NetcdfFile& file, int group, int variable,
                                 const std::string& name) {
  size_t count = 1;
  for (const size_t length : shape_of(group, variable)) count *= length;
  std::vector<double> values(count);
  if (count > 0) {
    file.check(nc_get_var_double(group, variable, values.data()),
               fmt::format("has a `{}` that cannot be read", name));
  }
  if (const auto fill = fill_of(group, variable)) {
    std::replace(values.begin(), values.end(), *fill, std::numeric_limits<double>::quiet_NaN());
  }
  return values;
}

// Patches without a label have the variable's fill value, which no label map names.
std::vector<int64_t> read_labels(const NetcdfFile& file, int variable, size_t patches) {
  nc_type type = NC_NAT;
  nc_inq_vartype(file.id(), variable, &type);
  if (type == NC_FLOAT || type == NC_DOUBLE || type == NC_CHAR || type == NC_STRING) {
    file.fail(fmt::format("has a `{}` that is no integer", kLabels));
  }
  std::vector<long long> values(patches);
  if (patches > 0) {
    file.check(nc_get_var_longlong(file.id(), variable, values.data()),
               fmt::format("has a `{}` that cannot be read", kLabels));
  }
  return {values.begin(), values.end()};
}

std::optional<int> find_group(int file, const char* path) {
  int group = -1;
  if (nc_inq_grp_full_ncid(file, path, &group) != NC_NOERR) return std::nullopt;
  return group;
}

// The variables of a group that have one number per patch, as properties.
class PropertyReader {
 public:
  PropertyReader(const NetcdfFile& file, size_t patches) : file_(file), patches_(patches) {}

  template <class NameOf>
  void read(const char* path, NameOf name_of) {
    const std::optional<int> group = find_group(file_.id(), path);
    if (!group) return;
    int count = 0;
    nc_inq_nvars(*group, &count);
    for (int variable = 0; variable < count; ++variable) {
      char name[NC_MAX_NAME + 1] = {};
      nc_inq_varname(*group, variable, name);
      if (shape_of(*group, variable) != std::vector<size_t>{patches_}) continue;
      names_.push_back(name_of(std::string(name)));
      columns_.push_back(read_numbers(file_, *group, variable, name));
    }
  }

  void move_into(CloudLabels* labels) {
    labels->property_names = std::move(names_);
    labels->properties.reserve(patches_ * columns_.size());
    for (size_t i = 0; i < patches_; ++i) {
      for (const std::vector<double>& column : columns_) labels->properties.push_back(column[i]);
    }
  }

 private:
  const NetcdfFile& file_;
  size_t patches_;
  std::vector<std::string> names_;
  std::vector<std::vector<double>> columns_;
};

Granule granule_of(const NetcdfFile& file, const fs::path& path) {
  const std::optional<Granule> by_name = parse_granule(path.filename().string());
  const std::string product = attribute(file.id(), "hdfname");
  const std::optional<Granule> by_attribute = parse_granule(product);
  if (!by_name && !by_attribute) {
    file.fail("does not say of which granule it is, neither in its name nor in `hdfname`");
  }
  if (by_name && by_attribute && *by_name != *by_attribute) {
    file.fail(fmt::format("is of {} by its name and of {} by its attribute hdfname",
                          by_name->text(), by_attribute->text()));
  }
  return by_name ? *by_name : *by_attribute;
}

struct NewVariable {
  int group;
  int id;
  std::vector<double> values;
};

// The group and the variable's name in it, for a property.
std::pair<std::string, std::string> place_of_property(const std::string& name) {
  const auto without = [&](std::string_view suffix) {
    return name.substr(0, name.size() - suffix.size());
  };
  if (name.ends_with("_mean")) return {"mean", without("_mean")};
  if (name.ends_with("_std")) return {"std", without("_std")};
  if (name.starts_with(kPhase)) return {"category", name.substr(kPhase.size())};
  return {"mean", name};
}

}  // namespace

bool has_netcdf() { return true; }

CloudLabels read_label_netcdf(const fs::path& path, const std::set<Granule>* granules) {
  const NetcdfFile file = NetcdfFile::open(path);
  CloudLabels labels;
  labels.form = "netcdf";
  const std::string origin = attribute(file.id(), kOrigin);
  if (origin.starts_with(kDerivedMark)) labels.derived = origin.substr(kDerivedMark.size());
  const Granule granule = granule_of(file, path);

  const int label_variable = find_variable(file, kLabels);
  const int coordinate_variable = find_variable(file, "coords");
  const std::vector<size_t> shape = shape_of(file.id(), label_variable);
  if (shape.size() != 1) {
    file.fail(fmt::format("has a `{}` of {} dimensions instead of one", kLabels, shape.size()));
  }
  const size_t patches = shape.front();
  if (shape_of(file.id(), coordinate_variable) != std::vector<size_t>{patches, 2}) {
    file.fail(fmt::format("has {} labels, and a `coords` that is not {} x 2", patches, patches));
  }
  const std::vector<int64_t> raw = read_labels(file, label_variable, patches);
  if (granules != nullptr && !granules->contains(granule)) {
    for (const int64_t value : raw) labels.others.add(granule, value);
    return labels;
  }
  const std::vector<double> pixels = read_numbers(file, file.id(), coordinate_variable, "coords");
  for (size_t i = 0; i < patches; ++i) {
    ChipPlace place;
    place.granule = granule;
    const double row = pixels[2 * i];
    const double column = pixels[2 * i + 1];
    if (!(row >= 0) || !(column >= 0) || row > 1e6 || column > 1e6) {
      file.fail(fmt::format("has a patch {} at row {}, column {}", i, row, column));
    }
    place.row = static_cast<int32_t>(std::lround(row));
    place.column = static_cast<int32_t>(std::lround(column));
    labels.places.push_back(place);
    labels.raw.push_back(raw[i]);
  }
  PropertyReader properties(file, patches);
  properties.read("/statistics/mean", [](const std::string& name) { return name + "_mean"; });
  properties.read("/statistics/std", [](const std::string& name) { return name + "_std"; });
  properties.read("/statistics/category",
                  [](const std::string& name) { return std::string(kPhase) + name; });
  properties.move_into(&labels);
  return labels;
}

void write_label_netcdf(const fs::path& path, const CloudLabels& labels) {
  const std::optional<Granule> granule =
      labels.size() > 0 ? std::optional(labels.places.front().granule) : std::nullopt;
  for (const ChipPlace& place : labels.places) {
    if (place.granule != *granule || !place.has_pixel()) {
      throw UsageError(fmt::format("labels: {} can hold patches of {} with row and column only.",
                                   path.string(), granule->text()));
    }
  }
  const auto patches = static_cast<size_t>(labels.size());
  NetcdfFile file = NetcdfFile::create(path);
  const auto ok = [&](int status) { file.check(status, "cannot be written"); };
  const auto put_text = [&](const char* name, const std::string& text) {
    ok(nc_put_att_text(file.id(), NC_GLOBAL, name, text.size(), text.c_str()));
  };
  if (granule) {
    put_text("hdfname", fmt::format("{}021KM.A{:07}.{:04}",
                                    granule->platform == Platform::kTerra ? "MOD" : "MYD",
                                    granule->date, granule->start));
    put_text("instrument", platform_name(granule->platform));
  }
  put_text(kOrigin,
           labels.derived.empty() ? "as given" : fmt::format("{}{}", kDerivedMark, labels.derived));
  int patch_dimension = -1;
  int coordinate_dimension = -1;
  ok(nc_def_dim(file.id(), "npatches", patches, &patch_dimension));
  ok(nc_def_dim(file.id(), "coordinate", 2, &coordinate_dimension));
  int label_variable = -1;
  int coordinate_variable = -1;
  const int both[2] = {patch_dimension, coordinate_dimension};
  ok(nc_def_var(file.id(), kLabels, NC_INT, 1, &patch_dimension, &label_variable));
  ok(nc_def_var(file.id(), "coords", NC_FLOAT, 2, both, &coordinate_variable));
  int statistics = -1;
  ok(nc_def_grp(file.id(), "statistics", &statistics));
  std::vector<NewVariable> variables;
  std::vector<std::pair<std::string, int>> groups;
  for (const char* name : {"mean", "std", "category"}) {
    int group = -1;
    ok(nc_def_grp(statistics, name, &group));
    groups.emplace_back(name, group);
  }
  for (size_t p = 0; p < labels.property_names.size(); ++p) {
    const auto [group_name, name] = place_of_property(labels.property_names[p]);
    const auto group = std::find_if(groups.begin(), groups.end(),
                                    [&](const auto& entry) { return entry.first == group_name; });
    NewVariable variable{group->second, -1, {}};
    ok(nc_def_var(variable.group, name.c_str(), NC_DOUBLE, 1, &patch_dimension, &variable.id));
    for (size_t i = 0; i < patches; ++i) {
      variable.values.push_back(labels.properties_of(static_cast<int64_t>(i))[p]);
    }
    variables.push_back(std::move(variable));
  }
  ok(nc_enddef(file.id()));
  std::vector<int> raw(labels.raw.begin(), labels.raw.end());
  std::vector<float> pixels;
  for (const ChipPlace& place : labels.places) {
    pixels.push_back(static_cast<float>(place.row));
    pixels.push_back(static_cast<float>(place.column));
  }
  if (patches > 0) {
    ok(nc_put_var_int(file.id(), label_variable, raw.data()));
    ok(nc_put_var_float(file.id(), coordinate_variable, pixels.data()));
    for (const NewVariable& variable : variables) {
      ok(nc_put_var_double(variable.group, variable.id, variable.values.data()));
    }
  }
  file.close();
}

}  // namespace swath::data::clouds

#else

namespace swath::data::clouds {
namespace {

[[noreturn]] void refuse(const std::filesystem::path& path) {
  throw UsageError(
      fmt::format("labels: {} is NetCDF, and swath was built without it.", path.string()),
      "install libnetcdf-dev and build again, or give labels as CSV tables.");
}

}  // namespace

bool has_netcdf() { return false; }
CloudLabels read_label_netcdf(const std::filesystem::path& path, const std::set<Granule>*) {
  refuse(path);
}
void write_label_netcdf(const std::filesystem::path& path, const CloudLabels&) { refuse(path); }

}  // namespace swath::data::clouds

#endif
