// Work beside the computation, in order: a stream on a GPU, a thread of its own on a CPU. One code
// path for both: work is given to lanes, lanes wait for events of other lanes and of the
// computation, and the host never stops on a GPU.
//
//   Lane gathers(device);
//   gathers.wait(event_of_computation(device));   // what comes next waits for the computation
//   gathers.run([&] { communicator.all_gather(...); });
//   LaneEvent gathered = gathers.record();
//   ...
//   wait_in_computation(gathered, device);        // CPU: the host waits; GPU: its current stream
//
// On a CPU the computation is the calling thread, so an event of it has always fired. What work
// throws is kept: later work of the lane is dropped, and whoever waits for its events gets the
// exception.
#pragma once

#include <c10/core/Device.h>

#include <functional>
#include <memory>

namespace swath::sharding {

// A point in a lane's work. Empty: long past.
class LaneEvent {
 public:
  struct State;
  LaneEvent() = default;
  explicit LaneEvent(std::shared_ptr<State> state) : state_(std::move(state)) {}
  // Whether everything before it is done; does not wait.
  bool has_fired() const;
  State* state() const { return state_.get(); }

 private:
  std::shared_ptr<State> state_;
};

class Lane {
 public:
  class Implementation;
  explicit Lane(c10::Device device);
  // Drops work that has not begun and waits for what has.
  ~Lane();
  Lane(const Lane&) = delete;
  Lane& operator=(const Lane&) = delete;

  // Without gradients, with one compute thread on a CPU, on this lane's stream on a GPU.
  void run(std::function<void()> work);
  void wait(const LaneEvent& event);
  LaneEvent record();

 private:
  std::unique_ptr<Implementation> implementation_;
};

LaneEvent event_of_computation(c10::Device device);
void wait_in_computation(const LaneEvent& event, c10::Device device);

}  // namespace swath::sharding
