// Collectives of a group of ranks, whoever carries them: Gloo, NCCL, threads of one process, or
// nobody at all. Always passed as a reference, never global.
//
// A call works on the current lane (see lane.h). On a CPU it returns when the result is there; on a
// GPU it enqueues on the current stream and the host goes on. All members of a group make the same
// calls in the same order. One thread at a time uses a Communicator.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace swath::sharding {

// Tensors are one-dimensional, contiguous, of one dtype and device. `label` says what the call is
// for ("ALL_GATHER blocks.3"): it appears in errors and in the flight record. Every call throws
// Error when a member is gone, late or does something else.
class Communicator {
 public:
  virtual ~Communicator() = default;

  int64_t rank() const { return rank_; }  // within the group
  int64_t size() const { return static_cast<int64_t>(global_ranks_.size()); }
  const std::vector<int64_t>& global_ranks() const { return global_ranks_; }

  // whole = the members' parts, one after the other: size() * part.numel() elements. `part` may be
  // this rank's own slice of `whole`, which saves a copy.
  virtual void all_gather(const at::Tensor& whole, const at::Tensor& part,
                          const std::string& label) = 0;
  // part = this rank's slice of the members' summed `whole`s. `whole` is scratch afterwards; `part`
  // may be this rank's own slice of it.
  virtual void reduce_scatter(const at::Tensor& part, const at::Tensor& whole,
                              const std::string& label) = 0;
  // values = the members' sum, bit-identical on all of them.
  virtual void all_reduce(const at::Tensor& values, const std::string& label) = 0;
  // values = those of the member `root`.
  virtual void broadcast(const at::Tensor& values, int64_t root, const std::string& label) = 0;

 protected:
  Communicator(int64_t rank, std::vector<int64_t> global_ranks)
      : rank_(rank), global_ranks_(std::move(global_ranks)) {}

 private:
  int64_t rank_;
  std::vector<int64_t> global_ranks_;
};

// All ranks of a job, seen from one of them: where groups come from.
class ProcessGroups {
 public:
  virtual ~ProcessGroups() = default;

  virtual int64_t rank() const = 0;
  virtual int64_t world_size() const = 0;
  // What carries the collectives: "gloo", "nccl", "threads", "silent".
  virtual std::string name() const = 0;
  // A group of its own of these ranks, ascending, this one among them. All members call it with the
  // same name; groups of the same members and different names do not wait for each other.
  virtual std::unique_ptr<Communicator> make_group(const std::vector<int64_t>& global_ranks,
                                                   const std::string& name) = 0;

  std::unique_ptr<Communicator> make_world_group(const std::string& name);

  // This rank is about to end with an error: tells the others why, where that is possible. Their
  // collectives fail soon after.
  virtual void report_failure(const std::string& message) {}
  // Where the last collectives are written when one fails; without it, nowhere.
  virtual void record_failures_in(const std::filesystem::path& directory) {}
};

// The text that the member `root` has, on all of them.
std::string broadcast_text(Communicator& communicator, c10::Device device, const std::string& text,
                           int64_t root, const std::string& label);

// Throws UsageError on all members when their texts differ, naming the ranks; `what` is plural
// ("the settings").
void demand_equal(Communicator& communicator, c10::Device device, const std::string& text,
                  const std::string& what);

// The place of `rank` among `global_ranks`. Throws Error when it is not there.
int64_t place_in_group(const std::vector<int64_t>& global_ranks, int64_t rank);

// Checks what every Communicator asks of its tensors; throws Error naming `label`.
void check_parts(const Communicator& communicator, const at::Tensor& whole, const at::Tensor& part,
                 const std::string& label);

}  // namespace swath::sharding
