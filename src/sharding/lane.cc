#include "sharding/lane.h"

#include <ATen/Parallel.h>
#include <c10/core/Event.h>
#include <c10/core/GradMode.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

namespace swath::sharding {

// Of the device (`event`), or of a thread (the rest).
struct LaneEvent::State {
  std::optional<c10::Event> event;

  std::mutex mutex;
  std::condition_variable changed;
  bool has_fired = false;
  std::exception_ptr error;

  void fire(const std::exception_ptr& what) {
    {
      std::lock_guard lock(mutex);
      has_fired = true;
      error = what;
    }
    changed.notify_all();
  }
  void wait() {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return has_fired; });
    if (error) std::rethrow_exception(error);
  }
};

bool LaneEvent::has_fired() const {
  if (!state_) return true;
  if (state_->event) return state_->event->query();
  std::lock_guard lock(state_->mutex);
  return state_->has_fired;
}

class Lane::Implementation {
 public:
  virtual ~Implementation() = default;
  virtual void run(std::function<void()> work) = 0;
  virtual void wait(const LaneEvent& event) = 0;
  virtual LaneEvent record() = 0;
};

namespace {

LaneEvent record_on(const c10::Stream& stream) {
  auto state = std::make_shared<LaneEvent::State>();
  state->event.emplace(stream.device_type());
  state->event->record(stream);
  return LaneEvent(std::move(state));
}

c10::Stream current_stream(c10::Device device) {
  return c10::impl::VirtualGuardImpl(device.type()).getStream(device);
}

class StreamLane final : public Lane::Implementation {
 public:
  explicit StreamLane(c10::Device device)
      : stream_(c10::impl::VirtualGuardImpl(device.type())
                    .getStreamFromGlobalPool(device, /*isHighPriority=*/true)) {}
  void run(std::function<void()> work) override {
    const c10::NoGradGuard no_grad;
    const c10::StreamGuard guard(stream_);
    work();
  }
  void wait(const LaneEvent& event) override {
    if (event.state() != nullptr) event.state()->event->block(stream_);
  }
  LaneEvent record() override { return record_on(stream_); }

 private:
  c10::Stream stream_;
};

class ThreadLane final : public Lane::Implementation {
 public:
  ThreadLane() : thread_([this] { work_off(); }) {}
  ~ThreadLane() override {
    {
      std::lock_guard lock(mutex_);
      is_stopping_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }
  void run(std::function<void()> work) override { push({std::move(work), nullptr}); }
  void wait(const LaneEvent& event) override {
    if (event.state() == nullptr || event.has_fired()) return;
    push({[event] { event.state()->wait(); }, nullptr});
  }
  LaneEvent record() override {
    auto state = std::make_shared<LaneEvent::State>();
    push({nullptr, state});
    return LaneEvent(std::move(state));
  }

 private:
  struct Item {
    std::function<void()> work;               // or
    std::shared_ptr<LaneEvent::State> event;  // to fire
  };

  void push(Item item) {
    {
      std::lock_guard lock(mutex_);
      items_.push_back(std::move(item));
    }
    changed_.notify_one();
  }

  void work_off() {
    // Beside the computation, which has the cores.
    at::set_num_threads(1);
    const c10::NoGradGuard no_grad;
    std::exception_ptr error;
    while (true) {
      Item item;
      {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return is_stopping_ || !items_.empty(); });
        if (is_stopping_) break;
        item = std::move(items_.front());
        items_.pop_front();
      }
      if (item.event) {
        item.event->fire(error);
      } else if (!error) {
        try {
          item.work();
        } catch (...) {
          error = std::current_exception();
        }
      }
    }
    for (const Item& item : items_) {
      if (item.event) item.event->fire(error);
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Item> items_;
  bool is_stopping_ = false;
  std::thread thread_;
};

}  // namespace

Lane::Lane(c10::Device device) {
  if (device.is_cpu()) {
    implementation_ = std::make_unique<ThreadLane>();
  } else {
    implementation_ = std::make_unique<StreamLane>(device);
  }
}

Lane::~Lane() = default;

void Lane::run(std::function<void()> work) { implementation_->run(std::move(work)); }
void Lane::wait(const LaneEvent& event) { implementation_->wait(event); }
LaneEvent Lane::record() { return implementation_->record(); }

LaneEvent event_of_computation(c10::Device device) {
  return device.is_cpu() ? LaneEvent() : record_on(current_stream(device));
}

void wait_in_computation(const LaneEvent& event, c10::Device device) {
  if (event.state() == nullptr) return;
  if (device.is_cpu()) {
    event.state()->wait();
  } else {
    event.state()->event->block(current_stream(device));
  }
}

}  // namespace swath::sharding
