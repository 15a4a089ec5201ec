// Batches, decoded ahead by worker threads.
//
//   Loader loader(dataset, transform, {.batch_size = 256}, seed, device, rank, world_size);
//   for (...) { Batch batch = loader.next(); ... }          // training: endless
//
//   Loader loader(dataset, transform, {.shuffle = false, .drop_last = false}, seed, device);
//   for (int64_t i = 0; i < loader.batches_per_epoch(); ++i) { Batch batch = loader.next(); ... }
//                                                           // evaluation: every sample once, in
//                                                           order
//
// Workers claim samples from one atomic counter and write them into a ring of batch slots; locks
// are taken once per batch, never per sample. The batches are the same for any number of workers.
// Thread rule: one thread at a time uses a Loader; the dataset is read by its workers.
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
#include "data/skipped_list.h"
#include "data/transform.h"

namespace swath::data {

struct LoaderOptions {
  int64_t batch_size = 64;  // of this process
  // Over all ranks, which share it as evenly as they can; 0: batch_size * world_size. When given,
  // batch_size does not count.
  int64_t global_batch_size = 0;
  int64_t workers = 0;           // decode threads; 0: one per two processor cores, at least one
  int64_t prefetch_batches = 3;  // decoded ahead
  bool shuffle = true;
  bool drop_last = true;  // false: the last batch of an epoch may be smaller
  // Unusable samples are counted and listed instead of thrown. When shuffling, the next usable
  // sample of the order takes the place; in order (evaluation), the batch becomes smaller.
  bool skip_bad = false;
  std::shared_ptr<SkippedList> skipped = nullptr;  // their list; none: one of the loader's own

  // Only how the loader works is for the user to set; what it delivers is decided by its caller.
  void describe(FieldTable& fields);
};

// Where in the data a run is. The order of an epoch is a seeded permutation of the dataset (or the
// dataset's own order) and does not depend on the number of ranks: each step takes the next
// global_batch_size samples of it, of which rank r gets the r-th part. Parts differ by one sample
// where the ranks do not divide the batch (96 ranks, 2,048 samples). A last, smaller step of an
// epoch (drop_last off) is shared out likewise; a rank's part may be empty then.
struct DataPosition {
  uint64_t epoch = 0;
  int64_t next_sample = 0;  // global index into the epoch's order

  bool operator==(const DataPosition&) const = default;
};

class Loader {
 public:
  Loader(std::shared_ptr<const Dataset> dataset, Transform transform, const LoaderOptions& options,
         uint64_t seed, c10::Device device, int64_t rank = 0, int64_t world_size = 1);
  ~Loader();

  // The next batch. Goes on into the next epoch without a pause; Batch::epoch says which one it
  // belongs to. Without shuffling, the next epoch is decoded only when it is asked for. Rethrows
  // what a worker threw (BadSample unless skip_bad), and does so again when called again.
  // Buffers are used again once the caller has dropped every tensor that shares them.
  Batch next();
  // Batches that one epoch gives this process.
  int64_t batches_per_epoch() const;
  // Samples of the dataset: a position means something only over as many.
  int64_t samples() const;

  // For messages: the names of samples, in the order of `ids`. Looks through the whole dataset.
  std::vector<std::string> names_of(const std::vector<uint64_t>& ids) const;

  // Of the batch that next() will return; seek() starts there (checkpoint and resume). A position
  // taken at another batch size or world size is fine: it counts samples. Throws UsageError when it
  // lies outside of the dataset.
  DataPosition position() const;
  void seek(const DataPosition& position);

  // Seconds that next() has waited for workers.
  double wait_seconds() const;
  // Different samples on the list of skip_bad so far (prefetched batches count), and why: lines of
  // name and reason, sorted.
  int64_t skipped_samples() const;
  std::vector<std::string> skipped_names() const;

 private:
  class Workers;
  std::unique_ptr<Workers> workers_;
};

}  // namespace swath::data
