// The processes that save or load one checkpoint together. They share a file system; how they talk
// to each other is not known here.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace swath::train {

struct CheckpointRanks {
  int64_t rank = 0;
  int64_t size = 1;
  // Waits until every rank has called it, and returns on all of them whether all said true. Throws
  // when a rank is gone. May be empty for a single rank.
  std::function<bool(bool is_well)> all_agree{};

  bool agree(bool is_well) const { return all_agree ? all_agree(is_well) : is_well; }

  // Runs `action` while the other ranks run theirs, and returns when it went well everywhere.
  // Otherwise all ranks throw: a failed one its own error, the others Error(failure_elsewhere()),
  // which is asked before any rank goes on.
  void together(const std::function<void()>& action,
                const std::function<std::string()>& failure_elsewhere) const;
};

}  // namespace swath::train
