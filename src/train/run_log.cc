#include "train/run_log.h"

#include <fmt/format.h>

#include <array>
#include <chrono>
#include <cmath>

#include "core/error.h"
#include "core/log.h"

namespace swath::train {
namespace {

double now_seconds() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::string duration_text(double seconds) {
  const auto total = static_cast<int64_t>(std::max(0.0, seconds));
  if (total >= 3600) return fmt::format("{}h{:02d}m", total / 3600, total / 60 % 60);
  return fmt::format("{}m{:02d}s", total / 60, total % 60);
}

std::string bar(double share) {
  constexpr int kWidth = 20;
  const int filled = static_cast<int>(std::lround(std::min(1.0, share) * kWidth));
  return std::string(static_cast<size_t>(filled), '#') +
         std::string(static_cast<size_t>(kWidth - filled), '.');
}

std::filesystem::path log_path(const std::filesystem::path& directory) {
  std::filesystem::create_directories(directory);
  return directory / "log.jsonl";
}

}  // namespace

RunLog::RunLog(const std::filesystem::path& directory, int64_t steps_done)
    : path_(log_path(directory)), file_(path_, std::ios::app), events_(directory) {
  if (!file_) throw Error(fmt::format("cannot write {}.", path_.string()));
  if (std::filesystem::file_size(path_) > 0) events_.restart_at(steps_done + 1);
}

void RunLog::write(const std::string& kind, const Json& fields) {
  Json line = {{"kind", kind}, {"time", now_seconds()}};
  line.update(fields);
  file_ << line.dump(-1, ' ', false, Json::error_handler_t::replace) << '\n' << std::flush;
  if (!file_) {
    throw Error(fmt::format("cannot write {}: the disk may be full.", path_.string()),
                "the last checkpoint is complete; free some space and resume.");
  }
  if (kind == "epoch" && fields.contains("test_loss")) {
    events_.scalar("test/loss", fields.at("step"), fields.at("test_loss"));
  }
}

void RunLog::step(const Json& fields, int64_t total_steps, double remaining_seconds) {
  write("step", fields);
  const auto step = fields.at("step").get<int64_t>();
  for (const auto& [name, value] : fields.items()) {
    if (value.is_number() && name != "step") events_.scalar("train/" + name, step, value);
  }
  events_.flush();
  const std::string text = fmt::format(
      "[{}] step {}/{}  loss {:.4f}  {:.0f} img/s  wait {:.1f}%  peak {:.2f} GB  {} left",
      bar(static_cast<double>(step) / static_cast<double>(total_steps)), step, total_steps,
      fields.at("loss").is_number() ? fields.at("loss").get<double>() : NAN,
      fields.at("images_per_second").get<double>(), 100 * fields.at("data_wait").get<double>(),
      fields.at("peak_bytes").get<double>() / 1e9, duration_text(remaining_seconds));
  if (progress_is_interactive()) {
    show_progress(text);
  } else {
    log_info(text);
  }
}

}  // namespace swath::train
