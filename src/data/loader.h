// Batches, decoded ahead by worker threads.
#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/config.h"
#include "core/tensor/batch.h"
#include "data/dataset.h"
#include "data/transform.h"

namespace swath::data {

struct LoaderOptions {
  int64_t batch_size = 64;        // of this process
  int64_t workers = 0;            // decode threads; 0: one per two processor cores, at least one
  int64_t prefetch_batches = 3;   // decoded ahead
  bool shuffle = true;
  bool drop_last = true;          // false: the last batch of an epoch may be smaller
  bool skip_bad = false;          // replace unusable samples by the next usable ones, and count them

  void describe(FieldTable& fields);
};

// Where in the data a run is. The global order of an epoch is a seeded permutation of the dataset
// and does not depend on the number of ranks; rank r of n takes every n-th batch slot of it.
struct DataPosition {
  uint64_t epoch = 0;
  int64_t next_sample = 0;  // global index into the epoch's order

  bool operator==(const DataPosition&) const = default;
};

class Loader {
 public:
  Loader(std::shared_ptr<const Dataset> dataset, Transform transform, LoaderOptions options,
         uint64_t seed, c10::Device device, int64_t rank = 0, int64_t world_size = 1);
  ~Loader();

  // The next batch. Goes on into the next epoch without a pause; Batch::epoch says which one it
  // belongs to. Rethrows what a worker threw (BadSample unless skip_bad).
  Batch next();
  // Batches that one epoch gives this process.
  int64_t batches_per_epoch() const;

  // Of the batch that next() will return; seek() starts there (checkpoint and resume).
  DataPosition position() const;
  void seek(const DataPosition& position);

  // Seconds that next() has waited for workers, and samples left out by skip_bad.
  double wait_seconds() const;
  int64_t skipped_samples() const;

 private:
  class Workers;
  std::unique_ptr<Workers> workers_;
};

}  // namespace swath::data
