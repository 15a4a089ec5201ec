#include "core/telemetry.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "core/files.h"
#include "core/log.h"
#include "core/telemetry_sources.h"

namespace swath {

std::unique_ptr<TelemetrySource> open_telemetry(const std::string& device_kind, int64_t index,
                                                std::string* reason_when_absent,
                                                const TelemetryOptions& options) {
  OpenedTelemetry opened;
  if (device_kind == "cpu") {
    opened = open_rapl(options);
  } else if (device_kind == "cuda") {
    opened = open_nvml(index, options);
    if (!opened.source && !opened.has_devices) {
      OpenedTelemetry other = open_rocm_smi(index, options);
      other.reason = opened.reason + " " + other.reason;
      opened = std::move(other);
    }
  } else {
    opened.reason = fmt::format("telemetry: no source for a device of kind '{}'.", device_kind);
  }
  if (!opened.source && reason_when_absent != nullptr) *reason_when_absent = opened.reason;
  return std::move(opened.source);
}

Json to_json(const TelemetrySummary& summary) {
  Json json;
  const auto set = [&json](const char* key, const auto& value) {
    if (value) json[key] = *value;
  };
  if (!summary.source.empty()) json["source"] = summary.source;
  json["samples"] = summary.samples;
  json["seconds"] = summary.seconds;
  set("mean_watts", summary.mean_watts);
  set("max_watts", summary.max_watts);
  set("joules", summary.joules);
  if (!summary.joules_from.empty()) json["joules_from"] = summary.joules_from;
  set("mean_utilisation", summary.mean_utilisation);
  set("max_memory_bytes", summary.max_memory_bytes);
  if (!summary.failure.empty()) json["failure"] = summary.failure;
  return json;
}

// --- the trace -----------------------------------------------------------------------------------

TelemetryTrace::TelemetryTrace(int64_t max_samples) : max_samples_(max_samples) {
  if (max_samples < 2) {
    throw Error(fmt::format("telemetry: a trace of {} samples has no room for a start and an end.",
                            max_samples));
  }
}

void TelemetryTrace::add(double seconds, const TelemetryReading& reading) {
  TelemetrySample sample = {seconds, reading.watts, reading.utilisation, reading.memory_bytes};
  if (num_samples_ == 0) {
    first_seconds_ = seconds;
    first_joules_ = reading.joules;
  } else {
    const double elapsed = seconds - last_seconds_;
    if (reading.joules && last_.joules) {
      const double spent = *reading.joules - *last_.joules;
      if (spent < 0) is_counter_growing_ = false;
      if (!reading.watts && spent >= 0 && elapsed > 0) sample.watts = spent / elapsed;
    }
    if (reading.watts && last_.watts) {
      integrated_joules_ += (*reading.watts + *last_.watts) / 2 * elapsed;
      covered_seconds_ += elapsed;
    }
  }
  if (!reading.watts) has_power_throughout_ = false;
  if (sample.watts) {
    watts_.add(*sample.watts);
    recent_watts_.add(*sample.watts);
    max_watts_ = std::max(max_watts_.value_or(*sample.watts), *sample.watts);
  }
  if (reading.utilisation) {
    utilisation_.add(*reading.utilisation);
    recent_utilisation_.add(*reading.utilisation);
  }
  if (reading.memory_bytes) {
    max_memory_bytes_ =
        std::max(max_memory_bytes_.value_or(*reading.memory_bytes), *reading.memory_bytes);
  }
  keep(sample);
  last_seconds_ = seconds;
  last_ = reading;
  ++num_samples_;
}

void TelemetryTrace::Mean::add(double value) {
  sum += value;
  ++count;
}

std::optional<double> TelemetryTrace::Mean::value() const {
  if (count == 0) return {};
  return sum / static_cast<double>(count);
}

TelemetryMeans TelemetryTrace::take_means() {
  const TelemetryMeans means = {recent_watts_.value(), recent_utilisation_.value()};
  recent_watts_ = {};
  recent_utilisation_ = {};
  return means;
}

void TelemetryTrace::keep(const TelemetrySample& sample) {
  if (num_samples_ % stride_ != 0) return;
  if (std::ssize(samples_) == max_samples_) {
    size_t kept = 0;
    for (size_t i = 0; i < samples_.size(); i += 2) samples_[kept++] = samples_[i];
    samples_.resize(kept);
    stride_ *= 2;
    if (num_samples_ % stride_ != 0) return;
  }
  samples_.push_back(sample);
}

std::optional<double> TelemetryTrace::counted_joules() const {
  if (num_samples_ < 2 || !first_joules_ || !last_.joules || !is_counter_growing_) return {};
  const double joules = *last_.joules - *first_joules_;
  // Gaps hide a counter that was set back.
  if (joules < 0) return {};
  return joules;
}

TelemetrySummary TelemetryTrace::summary() const {
  TelemetrySummary summary;
  summary.samples = num_samples_;
  summary.seconds = last_seconds_ - first_seconds_;
  summary.max_watts = max_watts_;
  summary.max_memory_bytes = max_memory_bytes_;
  summary.mean_utilisation = utilisation_.value();
  if (const auto joules = counted_joules()) {
    summary.joules = joules;
    summary.joules_from = "counter";
  } else if (has_power_throughout_ && num_samples_ > 1) {
    summary.joules = integrated_joules_;
    summary.joules_from = "integrated";
  }
  if (summary.joules && summary.seconds > 0) {
    summary.mean_watts = *summary.joules / summary.seconds;
  } else if (covered_seconds_ > 0) {
    summary.mean_watts = integrated_joules_ / covered_seconds_;
  } else {
    summary.mean_watts = watts_.value();
  }
  return summary;
}

// --- the recorder --------------------------------------------------------------------------------

TelemetryRecorder::TelemetryRecorder(std::unique_ptr<TelemetrySource> source,
                                     std::chrono::milliseconds interval, int64_t max_samples)
    : source_(std::move(source)),
      description_(source_->description()),
      interval_(interval),
      max_samples_(max_samples),
      trace_(max_samples) {
  if (interval <= std::chrono::milliseconds(0)) {
    throw Error(fmt::format("telemetry: an interval of {} ms.", interval.count()),
                "give at least 1 ms; 100 ms follow a training step well.");
  }
}

TelemetryRecorder::~TelemetryRecorder() { stop(); }

void TelemetryRecorder::start() {
  std::lock_guard control(control_mutex_);
  if (thread_.joinable()) return;
  {
    std::lock_guard lock(mutex_);
    is_stop_requested_ = false;
    trace_ = TelemetryTrace(max_samples_);
    failure_.clear();
  }
  thread_ = std::thread(&TelemetryRecorder::record, this, std::chrono::steady_clock::now());
}

void TelemetryRecorder::stop() {
  std::lock_guard control(control_mutex_);
  if (!thread_.joinable()) return;
  {
    std::lock_guard lock(mutex_);
    is_stop_requested_ = true;
  }
  stop_condition_.notify_one();
  thread_.join();
}

void TelemetryRecorder::record(std::chrono::steady_clock::time_point begin) {
  auto next = begin;
  bool is_last = false;
  while (true) {
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - begin;
    TelemetryReading reading;
    std::string failure;
    try {
      reading = source_->read();
    } catch (const Error& error) {
      failure = error.message();
    } catch (const std::exception& error) {
      failure = error.what();
    }
    std::unique_lock lock(mutex_);
    if (!failure.empty()) {
      failure_ = failure;
      log_warning(fmt::format("telemetry: the trace of {} ends after {:.1f} s: {}", description_,
                              elapsed.count(), failure));
      return;
    }
    trace_.add(elapsed.count(), reading);
    if (is_last) return;
    // A tick that a slow read missed is not made up for.
    next = std::max(next + interval_, std::chrono::steady_clock::now());
    is_last = stop_condition_.wait_until(lock, next, [this] { return is_stop_requested_; });
  }
}

TelemetrySummary TelemetryRecorder::summary() const {
  std::lock_guard lock(mutex_);
  TelemetrySummary summary = trace_.summary();
  summary.source = description_;
  summary.failure = failure_;
  return summary;
}

TelemetryMeans TelemetryRecorder::take_means() {
  std::lock_guard lock(mutex_);
  return trace_.take_means();
}

std::vector<TelemetrySample> TelemetryRecorder::samples() const {
  std::lock_guard lock(mutex_);
  return trace_.samples();
}

void TelemetryRecorder::write_csv(const std::filesystem::path& path) const {
  std::string text = "seconds,watts,utilisation,memory_bytes\n";
  for (const TelemetrySample& sample : samples()) {
    text += fmt::format("{:.4f},", sample.seconds);
    if (sample.watts) text += fmt::format("{:.3f}", *sample.watts);
    text += ',';
    if (sample.utilisation) text += fmt::format("{:.4f}", *sample.utilisation);
    text += ',';
    if (sample.memory_bytes) text += fmt::format("{}", *sample.memory_bytes);
    text += '\n';
  }
  write_file_atomically(path, text);
}

}  // namespace swath
