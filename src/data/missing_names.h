// Collects names that a list gives and a dataset lacks, to report them together.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace swath::data {

class MissingNames {
 public:
  void add(std::string_view name);
  // Nothing missing: returns. `only_warn`: logs them. Otherwise throws UsageError.
  void report(const std::string& list_name, const std::string& where, bool only_warn) const;

 private:
  int64_t count_ = 0;
  std::vector<std::string> examples_;
};

}  // namespace swath::data
