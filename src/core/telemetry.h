// Power, utilisation, memory and energy of the device a run computes on, sampled beside the run.
//
//   std::string reason;
//   if (auto source = open_telemetry("cuda", 0, &reason)) {
//     TelemetryRecorder recorder(std::move(source));
//     recorder.start();
//     ...  // what is measured
//     recorder.stop();
//     recorder.write_csv(directory / "telemetry.csv");
//     result["telemetry"] = to_json(recorder.summary());
//   } else {
//     log_info(reason);
//   }
//
// What a source cannot tell stays empty all the way into the CSV and the JSON: nothing is estimated
// from another quantity, except that watts are the slope of an energy counter where a source has
// only that.
//
// Sources, loaded at run time (no headers, nothing to link):
//   NVML      NVIDIA GPUs. Power is of the board; from Ampere on (but not GA100) averaged over one
//             second, so short runs are better judged by the energy counter. Utilisation is the
//             share of time in which any kernel ran, however few units it kept busy: report MFU
//             beside it. Memory is all that is in use on the GPU, by any process, with what the
//             driver reserves. A MIG slice tells its memory only.
//   ROCm SMI  AMD GPUs. On an MI250X (two GCDs on one card, each a GPU of its own) power and
//             energy are of the whole card and told by its first GCD; the second tells neither, so
//             a sum over GPUs counts each card once.
//   RAPL      the energy counters of the processor packages (Intel and AMD): of the whole machine,
//             whoever uses it, without memory modules and the rest of the board.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "core/json.h"
#include "core/launch_environment.h"

namespace swath {

struct TelemetryReading {
  std::optional<double> watts;
  std::optional<double> utilisation;    // 0..1: share of time with a kernel running, not of peak
  std::optional<int64_t> memory_bytes;  // in use
  // A counter that only grows, from an origin of its own: differences count.
  std::optional<double> joules;
};

// Thread rule: one thread at a time, any thread.
class TelemetrySource {
 public:
  virtual ~TelemetrySource() = default;
  // For reports: "NVML: NVIDIA H100 80GB HBM3 (GPU-...)".
  virtual std::string description() const = 0;
  // Throws Error when the device or its driver no longer answers.
  virtual TelemetryReading read() = 0;
};

// Where sources are looked for. The defaults are the real ones; tests have their own.
struct TelemetryOptions {
  // The device's PCI address as its runtime tells it ("0000:c1:00.0"). With it `index` is not
  // asked: the one certain way where the management library counts devices in another order.
  std::string pci_bus_id;
  std::string nvml_library = "libnvidia-ml.so.1";
  // The first that loads. Empty: librocm_smi64 by its names of ROCm 5 and later, then in ROCM_PATH
  // and /opt/rocm.
  std::vector<std::string> rocm_smi_libraries;
  std::filesystem::path powercap_directory = "/sys/class/powercap";
  // Looked up here: CUDA_VISIBLE_DEVICES, CUDA_DEVICE_ORDER, HIP_VISIBLE_DEVICES,
  // ROCR_VISIBLE_DEVICES, ROCM_PATH.
  EnvironmentLookup environment = environment_variable;
};

// The source for a device: "cpu" (RAPL) or "cuda" (NVML; ROCm SMI on a machine without NVIDIA
// GPUs). `index` is the number of a GPU as the runtime of this process counts: the variables that
// choose and reorder visible devices are followed, by index and by UUID. Nothing, with the reason
// in words, when there is no source or when it is not certain which device is meant.
std::unique_ptr<TelemetrySource> open_telemetry(const std::string& device_kind, int64_t index,
                                                std::string* reason_when_absent,
                                                const TelemetryOptions& options = {});

struct TelemetrySample {
  double seconds = 0;  // since the start
  // As read, or the mean since the sample before by the energy counter of a source without power.
  std::optional<double> watts;
  std::optional<double> utilisation;
  std::optional<int64_t> memory_bytes;
};

// Means over the samples of a stretch of the trace; what no sample knows is empty.
struct TelemetryMeans {
  std::optional<double> watts;
  std::optional<double> utilisation;
};

struct TelemetrySummary {
  std::string source;
  int64_t samples = 0;
  double seconds = 0;  // from the first sample to the last
  // joules / seconds where the energy is known; else over the time between samples with power.
  std::optional<double> mean_watts;
  std::optional<double> max_watts;  // of a sample
  // Energy over `seconds`. Nothing when power is missing in some samples: a part is not the whole.
  std::optional<double> joules;
  // How joules came about: "counter" (difference of the device's own) or "integrated" (trapezoids
  // under the power samples); empty without joules.
  std::string joules_from;
  std::optional<double> mean_utilisation;  // over samples
  std::optional<int64_t> max_memory_bytes;
  // Why the trace ended before its time; empty when it did not. The rest is about the time before.
  std::string failure;
};

// Keys as the fields; what is not known is left out.
Json to_json(const TelemetrySummary& summary);

// Samples and their totals. The totals are over every sample; the list stays bounded: when it is
// full, every second sample is dropped and from then on half as many are kept.
class TelemetryTrace {
 public:
  explicit TelemetryTrace(int64_t max_samples = 100'000);

  // `seconds` since the start grow from call to call.
  void add(double seconds, const TelemetryReading& reading);
  const std::vector<TelemetrySample>& samples() const { return samples_; }
  // Over the samples since the last call.
  TelemetryMeans take_means();
  // Without source and failure.
  TelemetrySummary summary() const;

 private:
  struct Mean {
    double sum = 0;
    int64_t count = 0;
    void add(double value);
    std::optional<double> value() const;
  };
  void keep(const TelemetrySample& sample);
  std::optional<double> counted_joules() const;

  int64_t max_samples_;
  int64_t stride_ = 1;  // every stride_-th sample is kept
  std::vector<TelemetrySample> samples_;

  int64_t num_samples_ = 0;
  double first_seconds_ = 0;
  double last_seconds_ = 0;
  TelemetryReading last_;

  std::optional<double> first_joules_;
  bool is_counter_growing_ = true;

  // Power as read: area under it and the time it covers.
  double integrated_joules_ = 0;
  double covered_seconds_ = 0;
  bool has_power_throughout_ = true;

  // Power of the samples, derived or read.
  Mean watts_;
  Mean recent_watts_;
  std::optional<double> max_watts_;

  Mean utilisation_;
  Mean recent_utilisation_;
  std::optional<int64_t> max_memory_bytes_;
};

// Samples a source in a thread of its own: once at the start, at every interval, once at the end.
// A read that fails ends the trace with a warning and a mark in the summary; the run goes on.
//
// Thread rule: every method may be called from any thread. stop() waits for a read in progress.
class TelemetryRecorder {
 public:
  explicit TelemetryRecorder(std::unique_ptr<TelemetrySource> source,
                             std::chrono::milliseconds interval = std::chrono::milliseconds(100),
                             int64_t max_samples = 100'000);
  ~TelemetryRecorder();  // stops
  TelemetryRecorder(const TelemetryRecorder&) = delete;
  TelemetryRecorder& operator=(const TelemetryRecorder&) = delete;

  // Forgets the trace before and begins a new one; nothing while one is being recorded.
  void start();
  void stop();

  // Of the trace so far, or of the last one.
  TelemetrySummary summary() const;
  TelemetryMeans take_means();
  std::vector<TelemetrySample> samples() const;
  // Columns seconds, watts, utilisation, memory_bytes; a cell is empty where nothing is known.
  // Throws Error when the file cannot be written; it is complete or absent.
  void write_csv(const std::filesystem::path& path) const;

 private:
  void record(std::chrono::steady_clock::time_point begin);

  const std::unique_ptr<TelemetrySource> source_;  // the recording thread's while there is one
  const std::string description_;
  const std::chrono::milliseconds interval_;
  const int64_t max_samples_;

  std::mutex control_mutex_;  // start and stop, one after the other
  std::thread thread_;

  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable stop_condition_;
  bool is_stop_requested_ = false;
  TelemetryTrace trace_;
  std::string failure_;
};

}  // namespace swath
