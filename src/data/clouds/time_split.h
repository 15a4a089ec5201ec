// Train, validation and test by time: neighbours in a granule share their weather, so nothing is
// ever split at random.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/config.h"
#include "core/json.h"
#include "data/clouds/chip_place.h"

namespace swath::data::clouds {

struct TimeSplitOptions {
  // years: those below. days: each day goes to the part that the SHA-256 of "<salt>:<yyyy-mm-dd>"
  // says, for sets of less than some years; both platforms pass the same weather within hours.
  // granules: the same with the granule's time, for sets of a few days, of which neighbours may
  // share a storm. Of fewer than kFewGroups days or granules those with the lowest numbers are the
  // test, then the validation, so that shares are met and no part stays empty.
  std::string by = "years";
  // both; or, where the other part lies in a folder of its own: train (with the validation) or
  // test. Then the hash alone decides, however few groups there are: a day has one side in every
  // folder.
  std::string parts = "both";
  std::vector<int64_t> train_years = {2000, 2017};  // first and last
  std::vector<int64_t> validation_years = {2018, 2019};
  std::vector<int64_t> test_years = {2020, 2021};
  double validation_share = 0.15;  // of days or granules
  double test_share = 0.25;
  std::string salt = "0";
  // Of the platforms named here only; empty: of both. Terra for training and Aqua for the test
  // measures the transfer.
  std::vector<std::string> train_platforms;
  std::vector<std::string> test_platforms;
  // "aqua:2021-12-10:2021-12-31": these days of a platform are left out, both ends included.
  std::vector<std::string> exclude = {"aqua:2021-12-10:2021-12-31"};

  void describe(FieldTable& fields);
};

inline constexpr int64_t kFewGroups = 40;

enum class Part { kTrain, kValidation, kTest, kNone };
const char* part_name(Part part);  // "train", "validation", "test", "none"

class TimeSplit {
 public:
  // For chips at these places. Throws UsageError for parts that overlap, shares above 1, a platform
  // or day that is none.
  explicit TimeSplit(const TimeSplitOptions& options, const std::vector<ChipPlace>& places = {});

  // By years, the first day of a part that follows another at once is left out (kNone), so that no
  // weather system is on both sides.
  Part part_of(const Granule& granule) const;
  // Whether pretraining must not see the granule: it is of the time of validation or test, whatever
  // its platform and whether or not it is left out of the parts.
  bool is_held_out(const Granule& granule) const;
  // The settings that matter, and "groups": {day or granule: part} where few were ranked.
  Json to_json() const;

 private:
  struct Exclusion {
    Platform platform;
    std::string first;  // yyyy-mm-dd: such texts order like days
    std::string last;
  };
  Part part_of_year(int64_t year) const;
  Part part_by_time(const Granule& granule) const;
  std::string group_of(const Granule& granule) const;  // what its share is the hash of
  void divide_few_groups(const std::vector<ChipPlace>& places);
  bool is_boundary_day(const Granule& granule) const;

  TimeSplitOptions options_;
  std::vector<Platform> train_platforms_;
  std::vector<Platform> test_platforms_;
  std::vector<Exclusion> exclusions_;
  std::map<std::string, Part> few_groups_;  // empty: the hash alone decides
};

// For training lists of one directory and test lists of another, by their TimeSplit::to_json().
// Throws UsageError naming the setting (other than parts) that differs.
void check_same_split(const Json& train, const Json& test);

// For chips of two folders. Throws UsageError with the number of days that both have and the first
// of them.
void check_no_shared_day(const std::vector<ChipPlace>& train, const std::vector<ChipPlace>& test);

}  // namespace swath::data::clouds
