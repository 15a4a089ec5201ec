// What the benchmarks of training steps share: a model with everything that a step needs, timed
// blocks of steps, and the numbers that every result has.
#pragma once

#include <c10/core/Device.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bench/step_bench.h"
#include "core/json.h"
#include "core/model_spec.h"
#include "core/tensor/batch.h"
#include "models/objective.h"
#include "models/registry.h"
#include "optim/adamw.h"
#include "sharding/parameters.h"
#include "sharding/trace.h"
#include "train/step.h"

namespace swath::bench {

constexpr double kBenchLearningRate = 1e-4;
constexpr int64_t kBenchClasses = 1000;  // of the workload vit

inline uint64_t seed_of(const StepBenchOptions& options) {
  return static_cast<uint64_t>(options.seed);
}

// options.workload, or where it is empty what the model is pretrained with. Throws UsageError for
// one that does not fit the model.
std::string workload_of(const StepBenchOptions& options);
std::shared_ptr<models::Objective> make_workload(
    const StepBenchOptions& options, models::Weights weights = models::Weights::kInitialized);
// What it is made of, without building it.
ModelSpec spec_of(const StepBenchOptions& options);

// A model with everything that a step needs.
struct Subject {
  explicit Subject(const StepBenchOptions& options, c10::Device device,
                   sharding::ProcessGroups* groups = nullptr);
  const ModelSpec& spec() const { return objective->spec(); }
  // Null unless sharding.trace asks for one.
  sharding::Trace* trace();

  std::shared_ptr<models::Objective> objective;
  std::unique_ptr<sharding::Parameters> parameters;
  std::unique_ptr<optim::AdamW> optimizer;
  std::unique_ptr<train::TrainStep> step;
};

// Different on every rank.
Batch random_batch(const StepBenchOptions& options, const ModelSpec& spec, c10::Device device,
                   int64_t rank = 0);

// A SwinV2 begins with blocks that do nothing: the norm behind each branch has weight 0, nothing
// within changes the loss, and no parameter there has a gradient. Where results are compared, these
// weights begin at 1.
bool begins_at_one(const std::string& parameter);

// Throws Error when the fused operators and the reference give different losses: of two blocks,
// with weights in float32, as the whole model need not fit into one rank.
void check_backends_agree(StepBenchOptions options, const Batch& batch, c10::Device device);

struct Block {
  std::vector<double> seconds;  // of each step
  std::vector<double> losses;   // before each update
};
// Throws Error when a loss or gradient is not finite.
Block run_block(Subject& subject, const std::function<Batch()>& next_batch, int64_t steps,
                c10::Device device);
// Images per second of a block, from its median step.
double rate_of(const std::vector<double>& seconds, int64_t batch_size);

// What the step is compared with: the same as in training, except that a rate which has to be
// measured is measured again in between the blocks, and the largest counts.
class PeakFlops {
 public:
  PeakFlops(c10::Device device, at::ScalarType precision);
  void before_block();
  double value() const { return published_.value_or(measured_); }
  const char* origin() const { return published_ ? "published" : "measured"; }

 private:
  c10::Device device_;
  at::ScalarType precision_;
  std::optional<double> published_;
  double measured_ = 0;
};

// The peak of the blocks alone: what is measured in between has matrices of its own.
class PeakMemory {
 public:
  explicit PeakMemory(c10::Device device) : device_(device) {}
  void begin_block();
  void end_block();
  int64_t bytes() const { return bytes_; }

 private:
  c10::Device device_;
  int64_t bytes_ = 0;
};

// The numbers that every result has; step_bench.h says what they mean.
Json summary(const StepBenchOptions& options, const Subject& subject, c10::Device device,
             const std::vector<double>& rates, const PeakFlops& peak, const PeakMemory& memory);

}  // namespace swath::bench
