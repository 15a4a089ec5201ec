#include "data/loader.h"

#include <ATen/Functions.h>
#include <c10/core/Event.h>
#include <c10/core/Stream.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <limits>
#include <mutex>
#include <optional>
#include <thread>
#include <unordered_map>
#include <utility>

#include "core/clock.h"
#include "core/error.h"
#include "core/random.h"

namespace swath::data {
namespace {

// With so many unusable samples in a row the data is not what the run believes it to be.
constexpr int64_t kMostReplacements = 1000;

// Host memory of one batch. `copied` fires when the device has read it.
struct Buffer {
  at::Tensor images_BCHW;
  at::Tensor labels_B;
  at::Tensor valid_BCHW;  // undefined where nothing can be missing
  std::optional<c10::Event> copied;
  bool is_in_slot = false;

  // Nobody else holds a tensor that shares the memory, and no copy out of it is under way.
  bool is_free() const {
    return !is_in_slot && images_BCHW.storage().use_count() == 1 &&
           labels_B.storage().use_count() == 1 &&
           (!valid_BCHW.defined() || valid_BCHW.storage().use_count() == 1) &&
           (!copied || copied->query());
  }
};

// The samples of one batch of this rank: places [start, start + count) of the epoch's order.
struct BatchPlan {
  uint64_t epoch = 0;
  int64_t global_start = 0;
  int64_t start = 0;
  int64_t count = 0;
};

// One batch being filled. Workers write different rows; `remaining` counts rows not yet done.
struct Slot {
  std::atomic<int64_t> open_batch{-1};
  std::atomic<int64_t> remaining{0};
  std::atomic<int64_t> done_batch{-1};
  BatchPlan plan;
  std::optional<Permutation> order;
  Buffer* buffer = nullptr;
  float* images = nullptr;
  int64_t* labels = nullptr;
  bool* valid = nullptr;  // null where nothing can be missing
  std::vector<uint64_t> ids;
  std::vector<uint8_t> is_left_out;

  std::mutex error_mutex;
  std::exception_ptr error;
  int64_t error_item = std::numeric_limits<int64_t>::max();
};

}  // namespace

void LoaderOptions::describe(FieldTable& fields) {
  fields.add("workers", &workers, "decode threads; 0: one per two processor cores").at_least(0);
  fields.add("prefetch_batches", &prefetch_batches, "batches decoded ahead").at_least(1);
}

class Loader::Workers {
 public:
  Workers(std::shared_ptr<const Dataset> dataset, Transform transform, const LoaderOptions& options,
          uint64_t seed, c10::Device device, int64_t rank, int64_t world_size)
      : dataset_(std::move(dataset)),
        transform_(std::move(transform)),
        options_(options),
        seed_(seed),
        device_(device),
        rank_(rank),
        global_batch_(options.global_batch_size > 0 ? options.global_batch_size
                                                    : options.batch_size * world_size),
        world_size_(world_size),
        size_(dataset_->size()),
        has_labels_(!dataset_->class_names().empty()),
        has_missing_(dataset_->has_missing()),
        skipped_(options.skipped ? options.skipped : std::make_shared<SkippedList>()) {
    if (global_batch_ < 1 || options.prefetch_batches < 1 || rank < 0 || rank >= world_size) {
      throw UsageError(fmt::format("loader: batch_size {}, prefetch_batches {}, rank {} of {}.",
                                   options.batch_size, options.prefetch_batches, rank, world_size));
    }
    options_.batch_size = (global_batch_ + world_size - 1) / world_size;  // the largest part
    if (global_batch_ < world_size) {
      throw UsageError(fmt::format("loader: a batch of {} samples for {} ranks: some get none.",
                                   global_batch_, world_size),
                       "raise the batch size, lower the accumulation, or start fewer ranks.");
    }
    if (size_ == 0) throw UsageError(fmt::format("loader: {} is empty.", dataset_->description()));
    if (batches_per_epoch() == 0) {
      throw UsageError(fmt::format("loader: {} samples make no step of {} ({} per process, {} "
                                   "processes).",
                                   size_, global_batch_, options_.batch_size, world_size),
                       "lower the batch size, or keep the last partial batch: drop_last=false.");
    }
    num_threads_ = options.workers;
    if (num_threads_ == 0) {
      num_threads_ = std::max<int64_t>(1, std::thread::hardware_concurrency() / 2);
    }
    for (int64_t i = 0; i < options.prefetch_batches; ++i) {
      slots_.push_back(std::make_unique<Slot>());
    }
  }

  ~Workers() { stop(); }

  int64_t batches_per_epoch() const { return batches_from(0); }

  Batch next() {
    start();
    if (!staged_) {
      // Without shuffling, only now is it known that an epoch after the last one is wanted.
      open_until(next_batch_ + num_slots(), plan_of(next_batch_).epoch);
      wait_for(next_batch_);
      staged_ = stage();
    }
    Batch batch = std::move(staged_->batch);
    if (staged_->ready) {
      const c10::impl::VirtualGuardImpl guard(device_.type());
      const c10::Stream stream = guard.getStream(device_);
      staged_->ready->block(stream);
      batch.images_BCHW.record_stream(stream);
      if (has_labels_) batch.labels_B.record_stream(stream);
      if (has_missing_) batch.valid.record_stream(stream);
    }
    staged_.reset();
    ++next_batch_;
    open_until(next_batch_ + num_slots(), batch.epoch);
    // The copy to the device overlaps with the work on the batch just returned.
    if (!device_.is_cpu()) {
      const Slot& following = slot_of(next_batch_);
      if (following.done_batch.load(std::memory_order_acquire) == next_batch_ && !following.error) {
        staged_ = stage();
      }
    }
    return batch;
  }

  int64_t samples() const { return size_; }
  std::vector<std::string> names_of(const std::vector<uint64_t>& ids) const {
    std::unordered_map<uint64_t, std::string> names;
    for (const uint64_t id : ids) names[id] = fmt::format("number {}", id);
    size_t missing = names.size();
    for (int64_t index = 0; index < size_ && missing > 0; ++index) {
      const Sample sample = dataset_->sample(index);
      const auto found = names.find(sample.id);
      if (found == names.end()) continue;
      found->second = sample.name;
      --missing;
    }
    std::vector<std::string> result;
    result.reserve(ids.size());
    for (const uint64_t id : ids) result.push_back(names.at(id));
    return result;
  }
  DataPosition position() const {
    const BatchPlan plan = plan_of(next_batch_);
    return {plan.epoch, plan.global_start};
  }

  void seek(const DataPosition& position) {
    if (position.next_sample < 0 || position.next_sample > size_) {
      throw UsageError(fmt::format("loader: position {} is outside of the {} samples of {}.",
                                   position.next_sample, size_, dataset_->description()),
                       "resume with the dataset that the run was started with.");
    }
    stop();
    first_ = position;
  }

  double wait_seconds() const { return wait_seconds_; }

  const SkippedList& skipped() const { return *skipped_; }

 private:
  struct Staged {
    Batch batch;
    std::optional<c10::Event> ready;  // of the copy to the device
  };

  int64_t num_slots() const { return static_cast<int64_t>(slots_.size()); }
  Slot& slot_of(int64_t batch) { return *slots_[static_cast<size_t>(batch % num_slots())]; }

  // Batches of an epoch entered at sample `start`.
  int64_t batches_from(int64_t start) const {
    const int64_t left = size_ - start;
    return options_.drop_last ? left / global_batch_ : (left + global_batch_ - 1) / global_batch_;
  }

  // Batches are counted from the position where the loader was started.
  BatchPlan plan_of(int64_t batch) const {
    BatchPlan plan;
    const int64_t in_first_epoch = batches_from(first_.next_sample);
    if (batch < in_first_epoch) {
      plan.epoch = first_.epoch;
      plan.global_start = first_.next_sample + batch * global_batch_;
    } else {
      const int64_t later = batch - in_first_epoch;
      plan.epoch = first_.epoch + 1 + static_cast<uint64_t>(later / batches_per_epoch());
      plan.global_start = later % batches_per_epoch() * global_batch_;
    }
    const int64_t together = std::min(global_batch_, size_ - plan.global_start);
    const int64_t begin = together * rank_ / world_size_;
    plan.start = plan.global_start + begin;
    plan.count = together * (rank_ + 1) / world_size_ - begin;
    return plan;
  }

  void start() {
    if (!threads_.empty()) return;
    is_stopping_ = false;
    for (int64_t i = 0; i < num_threads_; ++i) threads_.emplace_back([this] { work(); });
  }

  // Ends the workers and forgets every batch that was not returned yet.
  void stop() {
    {
      std::lock_guard lock(mutex_);
      is_stopping_ = true;
    }
    opened_.notify_all();
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
    staged_.reset();
    for (const auto& slot : slots_) {
      if (slot->buffer != nullptr) slot->buffer->is_in_slot = false;
      slot->buffer = nullptr;
      slot->error = nullptr;
      slot->open_batch = -1;
      slot->done_batch = -1;
    }
    next_batch_ = 0;
    next_open_ = 0;
    next_ticket_ = 0;
  }

  // Opens batches below `limit`; without shuffling not beyond the epoch that is being read.
  void open_until(int64_t limit, uint64_t epoch) {
    bool has_opened = false;
    for (; next_open_ < limit; ++next_open_) {
      const BatchPlan plan = plan_of(next_open_);
      if (!options_.shuffle && plan.epoch > epoch) break;
      open(next_open_, plan);
      has_opened = true;
    }
    if (!has_opened) return;
    // Under the lock, or a worker could look, see nothing, and sleep through the call.
    {
      std::lock_guard lock(mutex_);
    }
    opened_.notify_all();
  }

  void open(int64_t batch, const BatchPlan& plan) {
    Slot& slot = slot_of(batch);
    slot.plan = plan;
    slot.order.reset();
    if (options_.shuffle) slot.order.emplace(static_cast<uint64_t>(size_), seed_, plan.epoch);
    slot.buffer = free_buffer();
    slot.buffer->is_in_slot = true;
    slot.images = slot.buffer->images_BCHW.mutable_data_ptr<float>();
    slot.labels = slot.buffer->labels_B.mutable_data_ptr<int64_t>();
    slot.valid = has_missing_ ? slot.buffer->valid_BCHW.mutable_data_ptr<bool>() : nullptr;
    slot.ids.assign(static_cast<size_t>(plan.count), 0);
    slot.is_left_out.assign(static_cast<size_t>(plan.count), 0);
    slot.error = nullptr;
    slot.error_item = std::numeric_limits<int64_t>::max();
    slot.remaining.store(options_.batch_size, std::memory_order_relaxed);
    slot.open_batch.store(batch, std::memory_order_release);
  }

  Buffer* free_buffer() {
    for (const auto& buffer : buffers_) {
      if (buffer->is_free()) return buffer.get();
    }
    auto buffer = std::make_unique<Buffer>();
    const auto host = at::TensorOptions().pinned_memory(!device_.is_cpu());
    const int64_t side = transform_.options().size;
    buffer->images_BCHW =
        at::empty({options_.batch_size, transform_.channels(), side, side}, host.dtype(at::kFloat));
    buffer->labels_B = at::empty({options_.batch_size}, host.dtype(at::kLong));
    if (has_missing_) {
      buffer->valid_BCHW = at::empty(buffer->images_BCHW.sizes(), host.dtype(at::kBool));
    }
    buffers_.push_back(std::move(buffer));
    return buffers_.back().get();
  }

  void work() {
    std::vector<std::byte> scratch;
    while (true) {
      const int64_t ticket = next_ticket_.fetch_add(1, std::memory_order_relaxed);
      const int64_t batch = ticket / options_.batch_size;
      const int64_t item = ticket % options_.batch_size;
      Slot& slot = slot_of(batch);
      if (!wait_until_open(slot, batch)) return;
      if (item < slot.plan.count) fill(slot, item, &scratch);
      if (slot.remaining.fetch_sub(1, std::memory_order_acq_rel) == 1) {
        {
          std::lock_guard lock(mutex_);
          slot.done_batch.store(batch, std::memory_order_release);
        }
        done_.notify_one();
      }
    }
  }

  bool wait_until_open(Slot& slot, int64_t batch) {
    const auto is_open = [&] { return slot.open_batch.load(std::memory_order_acquire) == batch; };
    if (is_open()) return !is_stopping_.load(std::memory_order_relaxed);
    std::unique_lock lock(mutex_);
    opened_.wait(lock, [&] { return is_stopping_ || is_open(); });
    return !is_stopping_;
  }

  // Decodes one row of the batch. Never throws: errors wait in the slot for next().
  void fill(Slot& slot, int64_t item, std::vector<std::byte>* scratch) {
    const int64_t values =
        transform_.channels() * transform_.options().size * transform_.options().size;
    const int64_t most_attempts = std::min(size_, kMostReplacements);
    for (int64_t attempt = 0; attempt < most_attempts; ++attempt) {
      Sample sample;
      try {
        const int64_t place = (slot.plan.start + item + attempt) % size_;
        const int64_t index =
            slot.order ? static_cast<int64_t>((*slot.order)(static_cast<uint64_t>(place))) : place;
        sample = dataset_->sample(index);
        const ImageSource source = dataset_->source(index, scratch);
        Random random(seed_, RandomPurpose::kAugment, slot.plan.epoch, sample.id);
        transform_.apply(source, random, slot.images + item * values,
                         has_missing_ ? slot.valid + item * values : nullptr);
        slot.ids[static_cast<size_t>(item)] = sample.id;
        slot.labels[item] = sample.label;
        return;
      } catch (const BadSample& error) {
        if (!options_.skip_bad) return keep_error(slot, item);
        skipped_->add(sample.name, error.message());
      } catch (...) {
        return keep_error(slot, item);
      }
      if (!options_.shuffle) {
        slot.is_left_out[static_cast<size_t>(item)] = 1;
        return;
      }
    }
    try {
      throw Error(fmt::format("loader: no usable sample among {} in a row of {}.", most_attempts,
                              dataset_->description()),
                  "list what is wrong with `swath data verify`.");
    } catch (...) {
      keep_error(slot, item);
    }
  }

  // Of several errors the first row's is kept, so that which one is seen does not depend on timing.
  static void keep_error(Slot& slot, int64_t item) {
    std::lock_guard lock(slot.error_mutex);
    if (item >= slot.error_item) return;
    slot.error_item = item;
    slot.error = std::current_exception();
  }

  void wait_for(int64_t batch) {
    Slot& slot = slot_of(batch);
    const auto is_done = [&] { return slot.done_batch.load(std::memory_order_acquire) == batch; };
    if (!is_done()) {
      const auto begin = Clock::now();
      std::unique_lock lock(mutex_);
      done_.wait(lock, is_done);
      wait_seconds_ += seconds_since(begin);
    }
    if (slot.error) std::rethrow_exception(slot.error);
  }

  // Takes the finished batch out of its slot, and starts its copy to the device.
  Staged stage() {
    Slot& slot = slot_of(next_batch_);
    Buffer& buffer = *slot.buffer;
    Staged staged;
    staged.batch.epoch = slot.plan.epoch;
    at::Tensor images = buffer.images_BCHW.narrow(0, 0, slot.plan.count);
    at::Tensor labels = buffer.labels_B.narrow(0, 0, slot.plan.count);
    at::Tensor valid =
        has_missing_ ? buffer.valid_BCHW.narrow(0, 0, slot.plan.count) : at::Tensor();
    staged.batch.sample_ids = std::move(slot.ids);
    if (std::count(slot.is_left_out.begin(), slot.is_left_out.end(), 1) > 0) {
      leave_out(slot.is_left_out, &images, &labels, &valid, &staged.batch.sample_ids);
    }
    if (device_.is_cpu()) {
      staged.batch.images_BCHW = std::move(images);
      // A copy: callers collect the labels of many batches, which must not hold the images'
      // buffers.
      if (has_labels_) staged.batch.labels_B = labels.clone();
      staged.batch.valid = std::move(valid);
    } else {
      const c10::impl::VirtualGuardImpl guard(device_.type());
      if (!copy_stream_) copy_stream_ = guard.getStreamFromGlobalPool(device_, false);
      const c10::Stream before = guard.exchangeStream(*copy_stream_);
      staged.batch.images_BCHW = images.to(device_, /*non_blocking=*/true);
      if (has_labels_) staged.batch.labels_B = labels.to(device_, /*non_blocking=*/true);
      if (has_missing_) staged.batch.valid = valid.to(device_, /*non_blocking=*/true);
      staged.ready.emplace(device_.type());
      staged.ready->record(*copy_stream_);
      if (!buffer.copied) buffer.copied.emplace(device_.type());
      buffer.copied->record(*copy_stream_);
      guard.exchangeStream(before);
    }
    buffer.is_in_slot = false;
    slot.buffer = nullptr;
    return staged;
  }

  static void leave_out(const std::vector<uint8_t>& is_left_out, at::Tensor* images,
                        at::Tensor* labels, at::Tensor* valid, std::vector<uint64_t>* ids) {
    std::vector<int64_t> kept;
    std::vector<uint64_t> kept_ids;
    for (size_t i = 0; i < is_left_out.size(); ++i) {
      if (is_left_out[i]) continue;
      kept.push_back(static_cast<int64_t>(i));
      kept_ids.push_back((*ids)[i]);
    }
    const at::Tensor rows = at::tensor(kept, at::kLong);
    *images = images->index_select(0, rows);
    *labels = labels->index_select(0, rows);
    if (valid->defined()) *valid = valid->index_select(0, rows);
    *ids = std::move(kept_ids);
  }

  const std::shared_ptr<const Dataset> dataset_;
  const Transform transform_;
  LoaderOptions options_;
  const uint64_t seed_;
  const c10::Device device_;
  const int64_t rank_;
  const int64_t global_batch_;
  const int64_t world_size_;
  const int64_t size_;
  const bool has_labels_;
  const bool has_missing_;
  const std::shared_ptr<SkippedList> skipped_;
  int64_t num_threads_ = 1;

  // Of the calling thread.
  DataPosition first_;
  int64_t next_batch_ = 0;  // that next() returns, counted from first_
  int64_t next_open_ = 0;
  double wait_seconds_ = 0;
  std::optional<Staged> staged_;
  std::optional<c10::Stream> copy_stream_;
  std::vector<std::unique_ptr<Buffer>> buffers_;

  // Shared with the workers. The mutex guards sleeping only.
  std::vector<std::unique_ptr<Slot>> slots_;
  std::atomic<int64_t> next_ticket_{0};
  std::mutex mutex_;
  std::condition_variable opened_;
  std::condition_variable done_;
  std::atomic<bool> is_stopping_{false};
  std::vector<std::thread> threads_;
};

Loader::Loader(std::shared_ptr<const Dataset> dataset, Transform transform,
               const LoaderOptions& options, uint64_t seed, c10::Device device, int64_t rank,
               int64_t world_size)
    : workers_(std::make_unique<Workers>(std::move(dataset), std::move(transform), options, seed,
                                         device, rank, world_size)) {}

Loader::~Loader() = default;

Batch Loader::next() { return workers_->next(); }
int64_t Loader::batches_per_epoch() const { return workers_->batches_per_epoch(); }
int64_t Loader::samples() const { return workers_->samples(); }
std::vector<std::string> Loader::names_of(const std::vector<uint64_t>& ids) const {
  return workers_->names_of(ids);
}
DataPosition Loader::position() const { return workers_->position(); }
void Loader::seek(const DataPosition& position) { workers_->seek(position); }
double Loader::wait_seconds() const { return workers_->wait_seconds(); }
int64_t Loader::skipped_samples() const { return workers_->skipped().size(); }
std::vector<std::string> Loader::skipped_names() const { return workers_->skipped().lines(); }

}  // namespace swath::data
