// The linear probe of MAE (main_linprobe.py; numbers in RVSA's setting): a frozen encoder, batch
// normalisation without affine parameters, one linear layer, trained with LARS.
//
// B samples, D feature width, K classes.
#pragma once

#include <c10/core/Device.h>
#include <torch/nn/module.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/config.h"
#include "core/json.h"
#include "data/loader.h"
#include "eval/feature_set.h"
#include "eval/metrics.h"
#include "models/objective.h"
#include "optim/lars.h"

namespace swath::eval {

struct LinearProbeOptions {
  int64_t epochs = 100;
  double warmup_epochs = -1;  // below 0: 10, or a fifth of the epochs when there are fewer than 50
  int64_t batch_size = 256;   // 1024 for MillionAID
  double base_lr = 0.1;       // lr = base_lr * batch_size / 256
  optim::LarsOptions lars;
  // false: no augmentation, so that training features too are computed only once. Another protocol
  // than MAE's; minutes become seconds.
  bool augment = true;
  double max_minutes = 0;  // > 0: ends after the epoch that passes this time

  void describe(FieldTable& fields);
  double resolved_warmup_epochs() const;
};

// Batches of training features, endless; an epoch is batches_per_epoch() of them.
struct FeatureBatch {
  at::Tensor features_BD;  // float32, on the device of the probe
  at::Tensor labels_B;
};
class TrainingFeatures {
 public:
  virtual ~TrainingFeatures() = default;
  virtual FeatureBatch next() = 0;
  virtual int64_t batches_per_epoch() const = 0;
};

// Images through the loader's augmentation and the frozen encoder. References outlive it.
class AugmentedFeatures : public TrainingFeatures {
 public:
  AugmentedFeatures(models::Encoder& encoder, data::Loader& loader, std::string pooling);
  FeatureBatch next() override;
  int64_t batches_per_epoch() const override { return loader_.batches_per_epoch(); }

 private:
  models::Encoder& encoder_;
  data::Loader& loader_;
  std::string pooling_;
  UnitRunner runner_;
};

// Cached features in a seeded order that is another one each epoch.
class CachedFeatures : public TrainingFeatures {
 public:
  CachedFeatures(const FeatureSet& features, int64_t batch_size, uint64_t seed, c10::Device device);
  FeatureBatch next() override;
  int64_t batches_per_epoch() const override { return batches_per_epoch_; }

 private:
  at::Tensor features_ND_;
  at::Tensor labels_N_;
  int64_t batch_size_;
  uint64_t seed_;
  int64_t batches_per_epoch_;
  int64_t next_batch_ = 0;
  at::Tensor order_N_;
};

// Whether an epoch's last, smaller batch is dropped: only when there is a full one, so that small
// training sets give a step at all. Throws UsageError below two images: batch normalisation needs
// two.
bool drops_last_batch(int64_t num_train, int64_t batch_size);

// BatchNorm1d(D, eps 1e-6, momentum 0.1, no affine parameters) and Linear(D, K), weight normal with
// standard deviation 0.01, bias 0.
class ProbeHead : public torch::nn::Module {
 public:
  ProbeHead(int64_t width, int64_t num_classes, uint64_t seed);
  // (B, K). In training mode statistics of the batch, in evaluation mode the running ones.
  at::Tensor forward(const at::Tensor& features_BD);

  at::Tensor weight;
  at::Tensor bias;
  at::Tensor running_mean;
  at::Tensor running_var;
};

// The head with its optimizer.
class ProbeTrainer {
 public:
  // `head` outlives the trainer and stays on its device.
  ProbeTrainer(ProbeHead& head, const optim::LarsOptions& options);
  // One step of LARS on the mean cross-entropy, which is returned on the device.
  at::Tensor step(const FeatureBatch& batch, double lr);

 private:
  ProbeHead& head_;
  std::vector<ParamView> views_;
  optim::Lars lars_;
};

struct ProbeEpoch {
  int64_t epoch = 0;      // counted from 1
  double train_loss = 0;  // mean over the epoch's steps, on the augmented images
  double lr = 0;          // of the epoch's last step
  bool is_tested = true;  // else the rest is not known
  double top1 = 0;
  double top5 = 0;
  double test_loss = 0;
};

struct LinearProbeResult {
  std::vector<ProbeEpoch> history;
  Accuracy last;         // of the last epoch: the number to report
  double best_top1 = 0;  // over epochs: a choice made on the test set, to compare with papers
  int64_t best_epoch = 0;
  ConfusionMatrix confusion{1};  // of the last epoch
  int64_t steps_per_epoch = 0;
  bool ended_early = false;  // by max_minutes
};

// Throws UsageError when there would be no step, Error when the loss is not finite.
LinearProbeResult train_linear_probe(TrainingFeatures& train, const FeatureSet& test,
                                     int64_t num_classes, const LinearProbeOptions& options,
                                     uint64_t seed, c10::Device device);

// {"top1", "top5", "best_top1", "best_epoch", "interval", "balanced_accuracy", "macro_f1",
//  "steps_per_epoch", "history": [{epoch, train_loss, lr, top1, top5, test_loss}], "confusion"}.
Json to_json(const LinearProbeResult& result, uint64_t seed);

}  // namespace swath::eval
