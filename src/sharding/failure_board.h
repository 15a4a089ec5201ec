// Where ranks say that they failed, and read who did first: a few keys of the job's store. NCCL and
// Gloo alike only tell a survivor that a connection broke.
#pragma once

#include <c10/util/intrusive_ptr.h>

#include <chrono>
#include <cstdint>
#include <string>

namespace c10d {
class Store;
}

namespace swath::sharding {

class FailureBoard {
 public:
  FailureBoard(c10::intrusive_ptr<c10d::Store> store, int64_t rank, int64_t world_size);

  // Says that this rank failed, once; later calls do nothing. Never throws.
  void post(const std::string& message);

  // After a collective failed: posts that this rank was in `label`, gives the others `patience` to
  // post, and tells who failed first and who is silent (dead, or hangs). Never throws.
  std::string describe_failure(const std::string& label,
                               std::chrono::milliseconds patience = std::chrono::seconds(3));

  // At the end of a good run. Rank 0 waits for the others: it serves the store. Never throws.
  void leave(std::chrono::milliseconds patience = std::chrono::seconds(30));

 private:
  std::string key_of(int64_t rank) const;

  c10::intrusive_ptr<c10d::Store> store_;
  int64_t rank_;
  int64_t world_size_;
  bool has_posted_ = false;
};

}  // namespace swath::sharding
