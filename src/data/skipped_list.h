// The unusable samples that a run leaves out (skip_bad): counted, logged and listed once each.
//
// Thread rule: every function may be called from many threads at once.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace swath::data {

class SkippedList {
 public:
  // With a file, a line `name<TAB>reason` is appended to it as soon as a sample is left out, so
  // that an interrupted run keeps its list; samples that it lists already (a resumed run) are
  // known. The file appears with the first sample.
  explicit SkippedList(std::filesystem::path file = {});

  // Logs a warning the first time. A file that cannot be written is a warning, too.
  void add(const std::string& name, const std::string& reason);

  int64_t size() const;
  // Lines of name and reason, sorted by name.
  std::vector<std::string> lines() const;

 private:
  const std::filesystem::path file_;
  mutable std::mutex mutex_;
  std::map<std::string, std::string> reasons_;
};

}  // namespace swath::data
