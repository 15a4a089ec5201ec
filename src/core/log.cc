#include "core/log.h"

#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <mutex>
#include <string>

namespace swath {
namespace {

std::mutex output_mutex;
bool progress_is_shown = false;
std::atomic<bool> is_quiet{false};

void write_line(std::string_view prefix, std::string_view message) {
  std::string text;
  text.reserve(prefix.size() + message.size() + 8);
  std::lock_guard lock(output_mutex);
  if (progress_is_shown) {
    text += "\r\x1b[K";
    progress_is_shown = false;
  }
  text.append(prefix).append(message).push_back('\n');
  std::fwrite(text.data(), 1, text.size(), stderr);
}

}  // namespace

void log_info(std::string_view message) {
  if (!is_quiet) write_line("swath: ", message);
}

void log_warning(std::string_view message) { write_line("swath: warning: ", message); }

void keep_to_warnings() { is_quiet = true; }

bool progress_is_interactive() {
  static const bool is_terminal = isatty(STDERR_FILENO) == 1;
  return is_terminal;
}

void show_progress(std::string_view line) {
  if (is_quiet || !progress_is_interactive()) return;
  std::lock_guard lock(output_mutex);
  const std::string text = "\r\x1b[K" + std::string(line);
  std::fwrite(text.data(), 1, text.size(), stderr);
  std::fflush(stderr);
  progress_is_shown = true;
}

void end_progress() {
  std::lock_guard lock(output_mutex);
  if (!progress_is_shown) return;
  std::fputc('\n', stderr);
  progress_is_shown = false;
}

}  // namespace swath
