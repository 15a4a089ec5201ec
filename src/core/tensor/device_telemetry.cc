#include "core/tensor/device_telemetry.h"

#include <algorithm>
#include <utility>

namespace swath {

DeviceTelemetry::DeviceTelemetry(c10::Device device, std::filesystem::path trace,
                                 std::chrono::milliseconds interval)
    : trace_(std::move(trace)) {
  auto source =
      open_telemetry(device.is_cpu() ? "cpu" : "cuda", std::max<int>(0, device.index()), &absent_);
  if (!source) return;
  recorder_ = std::make_unique<TelemetryRecorder>(std::move(source), interval);
  recorder_->start();
}

Json DeviceTelemetry::finish() {
  if (!recorder_) return {{"absent", absent_}};
  recorder_->stop();
  if (!trace_.empty()) recorder_->write_csv(trace_);
  return to_json(recorder_->summary());
}

}  // namespace swath
