#include "sharding/thread_groups.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <condition_variable>
#include <exception>
#include <map>
#include <mutex>
#include <thread>

#include "core/error.h"

namespace swath::sharding {
namespace {

enum class Kind { kAllGather, kReduceScatter, kAllReduce, kBroadcast };

struct Request {
  Kind kind = Kind::kAllReduce;
  at::Tensor whole;
  at::Tensor part;
  int64_t root = 0;
  std::string label;
};

at::Tensor slice_of(const at::Tensor& whole, int64_t rank, int64_t length) {
  return whole.narrow(0, rank * length, length);
}

at::Tensor sum_of_wholes(const std::vector<Request>& requests) {
  at::Tensor sum = requests.front().whole.to(at::kFloat, /*non_blocking=*/false, /*copy=*/true);
  if (requests.front().whole.scalar_type() == at::kDouble) sum = requests.front().whole.clone();
  for (size_t i = 1; i < requests.size(); ++i) sum.add_(requests[i].whole);
  return sum;
}

void execute(const std::vector<Request>& requests) {
  const at::NoGradGuard no_grad;
  const auto size = static_cast<int64_t>(requests.size());
  switch (requests.front().kind) {
    case Kind::kAllGather: {
      const int64_t length = requests.front().part.numel();
      for (const Request& reader : requests) {
        for (int64_t rank = 0; rank < size; ++rank) {
          const at::Tensor& part = requests[static_cast<size_t>(rank)].part;
          const at::Tensor target = slice_of(reader.whole, rank, length);
          if (target.data_ptr() != part.data_ptr()) target.copy_(part);
        }
      }
      return;
    }
    case Kind::kReduceScatter: {
      const at::Tensor sum = sum_of_wholes(requests);
      for (int64_t rank = 0; rank < size; ++rank) {
        const at::Tensor& part = requests[static_cast<size_t>(rank)].part;
        part.copy_(slice_of(sum, rank, part.numel()));
      }
      return;
    }
    case Kind::kAllReduce: {
      const at::Tensor sum = sum_of_wholes(requests);
      for (const Request& request : requests) request.whole.copy_(sum);
      return;
    }
    case Kind::kBroadcast: {
      const at::Tensor& source = requests[static_cast<size_t>(requests.front().root)].whole;
      for (const Request& request : requests) {
        if (request.whole.data_ptr() != source.data_ptr()) request.whole.copy_(source);
      }
      return;
    }
  }
}

bool are_alike(const Request& a, const Request& b) {
  return a.kind == b.kind && a.label == b.label && a.root == b.root &&
         a.whole.numel() == b.whole.numel() && a.whole.scalar_type() == b.whole.scalar_type();
}

// Where the members of one group meet. The last to arrive does the work for all.
class Meeting {
 public:
  explicit Meeting(std::vector<int64_t> members)
      : members_(std::move(members)), requests_(members_.size()), has_arrived_(members_.size()) {}

  void attend(int64_t place, Request request, std::chrono::milliseconds timeout) {
    std::unique_lock lock(mutex_);
    throw_if_aborted();
    const std::string label = request.label;
    requests_[static_cast<size_t>(place)] = std::move(request);
    has_arrived_[static_cast<size_t>(place)] = true;
    if (++num_arrived_ == requests_.size()) {
      check_alike();
      execute(requests_);
      std::fill(requests_.begin(), requests_.end(), Request());
      std::fill(has_arrived_.begin(), has_arrived_.end(), false);
      num_arrived_ = 0;
      ++generation_;
      lock.unlock();
      changed_.notify_all();
      return;
    }
    const uint64_t mine = generation_;
    const auto is_over = [&] { return generation_ != mine || !abort_reason_.empty(); };
    if (!changed_.wait_for(lock, timeout, is_over)) {
      abort_reason_ = fmt::format("sharding: {} timed out after {} ms: missing ranks {}.", label,
                                  timeout.count(), fmt::join(missing(), ", "));
      changed_.notify_all();
    }
    if (generation_ == mine) throw_if_aborted();
  }

  void abort(const std::string& reason) {
    {
      std::lock_guard lock(mutex_);
      if (abort_reason_.empty()) abort_reason_ = reason;
    }
    changed_.notify_all();
  }

  const std::vector<int64_t>& members() const { return members_; }

 private:
  void throw_if_aborted() const {
    if (!abort_reason_.empty()) throw Error(abort_reason_);
  }
  std::vector<int64_t> missing() const {
    std::vector<int64_t> ranks;
    for (size_t i = 0; i < members_.size(); ++i) {
      if (!has_arrived_[i]) ranks.push_back(members_[i]);
    }
    return ranks;
  }
  void check_alike() {
    for (size_t i = 1; i < requests_.size(); ++i) {
      if (are_alike(requests_[0], requests_[i])) continue;
      abort_reason_ = fmt::format(
          "sharding: ranks diverge: rank {} is in {} of {} elements, rank {} in {} of {}.",
          members_[0], requests_[0].label, requests_[0].whole.numel(), members_[i],
          requests_[i].label, requests_[i].whole.numel());
      changed_.notify_all();
      throw_if_aborted();
    }
  }

  const std::vector<int64_t> members_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Request> requests_;
  std::vector<bool> has_arrived_;
  size_t num_arrived_ = 0;
  uint64_t generation_ = 0;
  std::string abort_reason_;
};

class ThreadCommunicator final : public Communicator {
 public:
  ThreadCommunicator(int64_t rank, std::shared_ptr<Meeting> meeting,
                     std::chrono::milliseconds timeout)
      : Communicator(rank, meeting->members()), meeting_(std::move(meeting)), timeout_(timeout) {}

  void all_gather(const at::Tensor& whole, const at::Tensor& part,
                  const std::string& label) override {
    check_parts(*this, whole, part, label);
    meeting_->attend(rank(), {Kind::kAllGather, whole, part, 0, label}, timeout_);
  }
  void reduce_scatter(const at::Tensor& part, const at::Tensor& whole,
                      const std::string& label) override {
    check_parts(*this, whole, part, label);
    meeting_->attend(rank(), {Kind::kReduceScatter, whole, part, 0, label}, timeout_);
  }
  void all_reduce(const at::Tensor& values, const std::string& label) override {
    meeting_->attend(rank(), {Kind::kAllReduce, values, values, 0, label}, timeout_);
  }
  void broadcast(const at::Tensor& values, int64_t root, const std::string& label) override {
    meeting_->attend(rank(), {Kind::kBroadcast, values, values, root, label}, timeout_);
  }

 private:
  std::shared_ptr<Meeting> meeting_;
  std::chrono::milliseconds timeout_;
};

}  // namespace

struct ThreadHub::State {
  int64_t world_size = 1;
  std::chrono::milliseconds timeout{0};
  std::mutex mutex;
  std::map<std::pair<std::string, std::vector<int64_t>>, std::shared_ptr<Meeting>> meetings;
  std::string abort_reason;
};

class ThreadGroups final : public ProcessGroups {
 public:
  ThreadGroups(std::shared_ptr<ThreadHub::State> state, int64_t rank)
      : state_(std::move(state)), rank_(rank) {}

  int64_t rank() const override { return rank_; }
  int64_t world_size() const override { return state_->world_size; }
  std::string name() const override { return "threads"; }

  std::unique_ptr<Communicator> make_group(const std::vector<int64_t>& global_ranks,
                                           const std::string& name) override {
    const int64_t place = place_in_group(global_ranks, rank_);
    std::lock_guard lock(state_->mutex);
    std::shared_ptr<Meeting>& meeting = state_->meetings[{name, global_ranks}];
    if (!meeting) {
      meeting = std::make_shared<Meeting>(global_ranks);
      if (!state_->abort_reason.empty()) meeting->abort(state_->abort_reason);
    }
    return std::make_unique<ThreadCommunicator>(place, meeting, state_->timeout);
  }

 private:
  std::shared_ptr<ThreadHub::State> state_;
  int64_t rank_;
};

ThreadHub::ThreadHub(int64_t world_size, std::chrono::milliseconds timeout)
    : state_(std::make_shared<State>()) {
  state_->world_size = world_size;
  state_->timeout = timeout;
}

ThreadHub::~ThreadHub() = default;

int64_t ThreadHub::world_size() const { return state_->world_size; }

std::unique_ptr<ProcessGroups> ThreadHub::groups_of(int64_t rank) {
  return std::make_unique<ThreadGroups>(state_, rank);
}

void ThreadHub::abort(const std::string& reason) {
  std::lock_guard lock(state_->mutex);
  if (state_->abort_reason.empty()) state_->abort_reason = reason;
  for (auto& [key, meeting] : state_->meetings) meeting->abort(state_->abort_reason);
}

void run_ranks(ThreadHub& hub, const std::function<void(ProcessGroups& groups)>& body) {
  std::mutex mutex;
  std::exception_ptr first_error;
  const auto run_one = [&](int64_t rank) {
    at::set_num_threads(1);
    try {
      const std::unique_ptr<ProcessGroups> groups = hub.groups_of(rank);
      body(*groups);
    } catch (const std::exception& error) {
      {
        std::lock_guard lock(mutex);
        if (!first_error) first_error = std::current_exception();
      }
      hub.abort(fmt::format("rank {} failed: {}", rank, error.what()));
    }
  };
  std::vector<std::thread> threads;
  for (int64_t rank = 0; rank < hub.world_size(); ++rank) threads.emplace_back(run_one, rank);
  for (std::thread& thread : threads) thread.join();
  if (first_error) std::rethrow_exception(first_error);
}

}  // namespace swath::sharding
