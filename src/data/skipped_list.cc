#include "data/skipped_list.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <utility>

#include "core/log.h"

namespace swath::data {

SkippedList::SkippedList(std::filesystem::path file) : file_(std::move(file)) {
  std::ifstream stream(file_);
  for (std::string line; std::getline(stream, line);) {
    const size_t tab = line.find('\t');
    if (tab != std::string::npos) reasons_.emplace(line.substr(0, tab), line.substr(tab + 1));
  }
}

void SkippedList::add(const std::string& name, const std::string& reason) {
  const std::lock_guard lock(mutex_);
  if (!reasons_.emplace(name, reason).second) return;
  log_warning(reason + " It is left out.");
  if (file_.empty()) return;
  std::string line = reason;
  std::replace(line.begin(), line.end(), '\n', ' ');
  std::ofstream stream(file_, std::ios::app);
  stream << name + '\t' + line + '\n' << std::flush;
  if (!stream) log_warning(fmt::format("cannot add {} to {}.", name, file_.string()));
}

int64_t SkippedList::size() const {
  const std::lock_guard lock(mutex_);
  return static_cast<int64_t>(reasons_.size());
}

std::vector<std::string> SkippedList::lines() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> lines;
  for (const auto& [name, reason] : reasons_) lines.push_back(fmt::format("{}: {}", name, reason));
  return lines;
}

}  // namespace swath::data
