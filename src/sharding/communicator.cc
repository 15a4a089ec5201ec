#include "sharding/communicator.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>

#include "core/error.h"

namespace swath::sharding {

std::unique_ptr<Communicator> ProcessGroups::make_world_group(const std::string& name) {
  std::vector<int64_t> everyone(static_cast<size_t>(world_size()));
  std::iota(everyone.begin(), everyone.end(), 0);
  return make_group(everyone, name);
}

int64_t place_in_group(const std::vector<int64_t>& global_ranks, int64_t rank) {
  const auto found = std::find(global_ranks.begin(), global_ranks.end(), rank);
  if (found == global_ranks.end()) {
    throw Error(fmt::format("sharding: rank {} is not in the group of ranks {}.", rank,
                            fmt::join(global_ranks, ", ")));
  }
  return found - global_ranks.begin();
}

void check_parts(const Communicator& communicator, const at::Tensor& whole, const at::Tensor& part,
                 const std::string& label) {
  if (whole.numel() == part.numel() * communicator.size() &&
      whole.scalar_type() == part.scalar_type() && whole.is_contiguous() && part.is_contiguous()) {
    return;
  }
  throw Error(
      fmt::format("sharding: {}: a whole of {} {} elements and a part of {} {} do not fit "
                  "a group of {}.",
                  label, whole.numel(), c10::toString(whole.scalar_type()), part.numel(),
                  c10::toString(part.scalar_type()), communicator.size()));
}

}  // namespace swath::sharding
