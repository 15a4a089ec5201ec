// The last collectives of this process, for the day one of them hangs. A ring of fixed size: noting
// one costs a lock and a short copy. Thread-safe.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

namespace swath::sharding {

class FlightRecorder {
 public:
  explicit FlightRecorder(int64_t capacity = 256);
  ~FlightRecorder();

  // Returns a number for finish().
  uint64_t start(const std::string& group, const std::string& label, int64_t bytes);
  void finish(uint64_t number);

  // What is under way, oldest first: "ALL_GATHER blocks.3 (gather)"; empty when nothing is.
  std::string under_way() const;
  // Writes {"rank", "collectives": [{number, group, label, bytes, started, finished (seconds since
  // the recorder began; absent while under way)}]}, atomically.
  void write(const std::filesystem::path& path, int64_t rank) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace swath::sharding
