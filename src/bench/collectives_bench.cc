#include "bench/collectives_bench.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <string>

#include "bench/spread.h"
#include "core/clock.h"
#include "core/error.h"
#include "core/tensor/device.h"

namespace swath::bench {
namespace {

using sharding::Communicator;

// One kind of call on one size. Buffers are made once.
class Call {
 public:
  Call(std::string collective, int64_t numel, c10::Device device, int64_t ranks)
      : collective_(std::move(collective)),
        whole_(at::empty({numel}, at::TensorOptions(at::kFloat).device(device))),
        part_(at::empty({numel / ranks}, whole_.options())) {}

  void run(Communicator& group) {
    if (collective_ == "all_gather") {
      group.all_gather(whole_, part_, collective_);
    } else if (collective_ == "reduce_scatter") {
      group.reduce_scatter(part_, whole_, collective_);
    } else if (collective_ == "all_reduce") {
      group.all_reduce(whole_, collective_);
    } else {
      group.broadcast(whole_, 0, collective_);
    }
  }

  // Small whole numbers, so that float32 sums are exact in every order.
  void check(Communicator& group) {
    const int64_t p = group.size();
    const int64_t per_rank = part_.numel();
    const at::Tensor ramp = at::arange(whole_.numel(), whole_.options()).remainder(97);
    const at::Tensor ranks = at::arange(p, whole_.options()).repeat_interleave(per_rank);
    whole_.copy_(ramp + static_cast<double>(group.rank()));
    part_.fill_(static_cast<double>(group.rank()));
    run(group);
    const at::Tensor sum = ramp * static_cast<double>(p) + static_cast<double>(p * (p - 1)) / 2;
    bool is_right = false;
    if (collective_ == "all_gather") {
      is_right = whole_.equal(ranks);
    } else if (collective_ == "reduce_scatter") {
      is_right = part_.equal(sum.narrow(0, group.rank() * per_rank, per_rank));
    } else if (collective_ == "all_reduce") {
      is_right = whole_.equal(sum);
    } else {
      is_right = whole_.equal(ramp);
    }
    if (is_right) return;
    throw Error(fmt::format("bench collectives: {} of {} elements gives wrong values on rank {}.",
                            collective_, whole_.numel(), group.rank()));
  }

  double bytes_on_a_link(int64_t ranks) const {
    const double share = static_cast<double>(ranks - 1) / static_cast<double>(ranks);
    const auto bytes = static_cast<double>(whole_.nbytes());
    if (collective_ == "broadcast") return bytes;
    return (collective_ == "all_reduce" ? 2 : 1) * share * bytes;
  }

  void clear() {  // sums of sums would overflow
    whole_.zero_();
    part_.zero_();
  }

 private:
  std::string collective_;
  at::Tensor whole_;
  at::Tensor part_;
};

double seconds_per_call(Call& call, Communicator& group, c10::Device device, int64_t iterations) {
  call.clear();
  at::Tensor together = at::zeros({1}, at::TensorOptions(at::kFloat).device(device));
  group.all_reduce(together, "start together");
  synchronize(device);
  const auto start = Clock::now();
  for (int64_t i = 0; i < iterations; ++i) call.run(group);
  synchronize(device);
  return seconds_since(start) / static_cast<double>(iterations);
}

}  // namespace

void CollectivesBenchOptions::describe(FieldTable& fields) {
  fields.add("mib", &mib, "sizes of the whole, float32").at_least(1e-4);
  fields.add("iterations", &iterations, "calls in one measurement").at_least(1);
  fields.add("repeats", &repeats, "measurements of each size").at_least(1);
  fields.section("sharding", sharding);
}

Json bench_collectives(const CollectivesBenchOptions& options, c10::Device device,
                       sharding::ProcessGroups& groups, sharding::ProcessGroups* library) {
  const std::unique_ptr<Communicator> ours = groups.make_world_group("collectives");
  const std::unique_ptr<Communicator> theirs =
      library != nullptr ? library->make_world_group("library collectives") : nullptr;
  const int64_t ranks = groups.world_size();
  Json rows = Json::array();
  for (const char* collective : {"all_gather", "reduce_scatter", "all_reduce", "broadcast"}) {
    for (const double mib : options.mib) {
      const auto wanted = static_cast<int64_t>(mib * (1 << 20) / sizeof(float));
      const int64_t numel = std::max(wanted / ranks, int64_t{1}) * ranks;
      Call call(collective, numel, device, ranks);
      call.check(*ours);
      if (theirs) call.check(*theirs);
      std::vector<double> seconds;
      std::vector<double> library_seconds;
      for (int64_t repeat = -1; repeat < options.repeats; ++repeat) {  // the first warms up
        const double own = seconds_per_call(call, *ours, device, options.iterations);
        const double other =
            theirs ? seconds_per_call(call, *theirs, device, options.iterations) : 0;
        if (repeat < 0) continue;
        seconds.push_back(own);
        library_seconds.push_back(other);
      }
      const Spread spread = spread_of(seconds);
      Json row = {{"collective", collective},
                  {"mib", mib},
                  {"seconds", to_json(spread)},
                  {"gigabytes_per_second", call.bytes_on_a_link(ranks) / spread.median / 1e9}};
      if (theirs) {
        row["library_seconds"] = to_json(spread_of(library_seconds));
        row["ratio"] = spread_of(library_seconds).median / spread.median;
        row["ratio_spread"] = to_json(spread_of_ratios(library_seconds, seconds));
      }
      rows.push_back(std::move(row));
    }
  }
  return {{"ranks", ranks}, {"carrier", groups.name()}, {"rows", rows}};
}

}  // namespace swath::bench
