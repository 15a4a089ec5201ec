#include "data/modis/synthetic_metadata.h"

#include <fmt/format.h>

#include <chrono>

namespace swath::data::modis {
namespace {

std::string date_text(const GranuleName& name) {
  const std::chrono::sys_days first =
      std::chrono::year(name.year) / std::chrono::January / std::chrono::day(1);
  const std::chrono::year_month_day date = first + std::chrono::days(name.day_of_year - 1);
  return fmt::format("{:04}-{:02}-{:02}", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()));
}

std::string odl_object(const std::string& name, const std::string& value) {
  return fmt::format(
      "  OBJECT                 = {0}\n    NUM_VAL              = 1\n    VALUE                = "
      "{1}\n  END_OBJECT             = {0}\n\n",
      name, value);
}

std::string odl_text(const std::string& name, const std::string& value) {
  return odl_object(name, '"' + value + '"');
}

std::string odl_group(const std::string& name, const std::string& body) {
  return fmt::format("  GROUP                  = {0}\n\n{1}  END_GROUP              = {0}\n\n",
                     name, body);
}

}  // namespace

// Groups and objects as in the real files, as far as their readers look at them.
std::string core_metadata(const GranuleName& name, const std::string& file, bool is_day) {
  const std::string date = date_text(name);
  const std::string begin = fmt::format("{:02}:{:02}:00.000000", name.hour, name.minute);
  std::string text = "GROUP                  = INVENTORYMETADATA\n  GROUPTYPE = MASTERGROUP\n\n";
  text += odl_group("ECSDATAGRANULE", odl_text("LOCALGRANULEID", file) +
                                          odl_text("DAYNIGHTFLAG", is_day ? "Day" : "Night") +
                                          odl_text("PROCESSINGNOTE", kNotice));
  text += odl_group("COLLECTIONDESCRIPTIONCLASS",
                    odl_object("VERSIONID", "61") + odl_text("SHORTNAME", name.product));
  text +=
      odl_group("RANGEDATETIME",
                odl_text("RANGEENDINGDATE", date) + odl_text("RANGEENDINGTIME", begin) +
                    odl_text("RANGEBEGINNINGDATE", date) + odl_text("RANGEBEGINNINGTIME", begin));
  text += odl_group("ASSOCIATEDPLATFORMINSTRUMENTSENSOR",
                    odl_text("ASSOCIATEDSENSORSHORTNAME", "MODIS") +
                        odl_text("ASSOCIATEDPLATFORMSHORTNAME", platform_name(name.platform)) +
                        odl_text("ASSOCIATEDINSTRUMENTSHORTNAME", "MODIS"));
  return text + "END_GROUP              = INVENTORYMETADATA\nEND\n";
}

StructText::StructText(const std::string& swath,
                       const std::vector<std::pair<std::string, int64_t>>& sizes) {
  text_ = "GROUP=SwathStructure\n\tGROUP=SWATH_1\n\t\tSwathName=\"" + swath + "\"\n";
  begin("Dimension");
  for (const auto& [name, size] : sizes) {
    object(fmt::format("Dimension_{}", ++count_),
           fmt::format("DimensionName=\"{}\"\n\t\t\t\tSize={}", name, size));
  }
  end("Dimension");
}

void StructText::maps(const std::vector<std::pair<std::string, std::string>>& geo_to_data) {
  begin("DimensionMap");
  for (const auto& [geo, data] : geo_to_data) {
    object(fmt::format("DimensionMap_{}", ++count_),
           fmt::format("GeoDimension=\"{}\"\n\t\t\t\tDataDimension=\"{}\"\n\t\t\t\tOffset=2\n\t\t"
                       "\t\tIncrement=5",
                       geo, data));
  }
  end("DimensionMap");
}

void StructText::fields(const std::string& kind, const std::vector<FieldText>& list) {
  begin(kind);
  for (const FieldText& field : list) {
    object(fmt::format("{}_{}", kind, ++count_),
           fmt::format("{}Name=\"{}\"\n\t\t\t\tDataType=DFNT_{}\n\t\t\t\tDimList=({})", kind,
                       field.name, field.type, field.dimensions));
  }
  end(kind);
}

std::string StructText::done() const {
  return text_ +
         "\tEND_GROUP=SWATH_1\nEND_GROUP=SwathStructure\nGROUP=GridStructure\nEND_GROUP="
         "GridStructure\nGROUP=PointStructure\nEND_GROUP=PointStructure\nEND\n";
}

void StructText::begin(const std::string& group) {
  count_ = 0;
  text_ += "\t\tGROUP=" + group + "\n";
}

void StructText::end(const std::string& group) { text_ += "\t\tEND_GROUP=" + group + "\n"; }

void StructText::object(const std::string& name, const std::string& body) {
  text_ += "\t\t\tOBJECT=" + name + "\n\t\t\t\t" + body + "\n\t\t\tEND_OBJECT=" + name + "\n";
}

}  // namespace swath::data::modis
