#include "sharding/communicator.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>

#include "core/error.h"
#include "core/hash.h"

namespace swath::sharding {

std::unique_ptr<Communicator> ProcessGroups::make_world_group(const std::string& name) {
  std::vector<int64_t> everyone(static_cast<size_t>(world_size()));
  std::iota(everyone.begin(), everyone.end(), 0);
  return make_group(everyone, name);
}

std::string broadcast_text(Communicator& communicator, c10::Device device, const std::string& text,
                           int64_t root, const std::string& label) {
  at::Tensor length = at::full({1}, static_cast<int64_t>(text.size()), at::kLong).to(device);
  communicator.broadcast(length, root, label + ", length");
  at::Tensor bytes = at::zeros({length.item<int64_t>()}, at::kByte);
  if (communicator.rank() == root) std::copy(text.begin(), text.end(), bytes.data_ptr<uint8_t>());
  bytes = bytes.to(device);
  if (bytes.numel() > 0) communicator.broadcast(bytes, root, label);
  bytes = bytes.cpu();
  const uint8_t* first = bytes.const_data_ptr<uint8_t>();
  return {first, first + bytes.numel()};
}

void demand_equal(Communicator& communicator, c10::Device device, const std::string& text,
                  const std::string& what) {
  const at::Tensor own =
      at::full({1}, static_cast<int64_t>(xxh3(text)), at::TensorOptions(at::kLong).device(device));
  // Filled with this member's, as one that poses as a member of many hears of no other.
  at::Tensor all = own.repeat({communicator.size()});
  communicator.all_gather(all, own, "comparing " + what);
  all = all.cpu();
  std::vector<int64_t> different;
  for (int64_t place = 0; place < communicator.size(); ++place) {
    if (all[place].item<int64_t>() == all[0].item<int64_t>()) continue;
    different.push_back(communicator.global_ranks()[static_cast<size_t>(place)]);
  }
  if (different.empty()) return;
  throw UsageError(fmt::format("{} of rank {} differ from those of rank {}.", what,
                               fmt::join(different, ", "), communicator.global_ranks().front()),
                   "start every rank with the same command, files and program.");
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
