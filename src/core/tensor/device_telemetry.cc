#include "core/tensor/device_telemetry.h"

#include <algorithm>
#include <utility>

namespace swath {

DeviceTelemetry::DeviceTelemetry(c10::Device device, std::filesystem::path trace,
                                 std::chrono::milliseconds interval)
    : trace_(std::move(trace)) {
  start(
      open_telemetry(device.is_cpu() ? "cpu" : "cuda", std::max<int>(0, device.index()), &absent_),
      interval);
}

DeviceTelemetry::DeviceTelemetry(std::unique_ptr<TelemetrySource> source,
                                 std::filesystem::path trace, std::chrono::milliseconds interval)
    : trace_(std::move(trace)) {
  start(std::move(source), interval);
}

void DeviceTelemetry::start(std::unique_ptr<TelemetrySource> source,
                            std::chrono::milliseconds interval) {
  if (!source) return;
  recorder_ = std::make_unique<TelemetryRecorder>(std::move(source), interval);
  recorder_->start();
}

Json DeviceTelemetry::take_means() {
  Json json = Json::object();
  if (!recorder_) return json;
  const TelemetryMeans means = recorder_->take_means();
  if (means.watts) json["watts"] = *means.watts;
  if (means.utilisation) json["utilisation"] = *means.utilisation;
  return json;
}

Json DeviceTelemetry::finish() {
  if (!recorder_) return {{"absent", absent_}};
  recorder_->stop();
  if (!trace_.empty()) recorder_->write_csv(trace_);
  return to_json(recorder_->summary());
}

}  // namespace swath
