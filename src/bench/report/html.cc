#include "bench/report/html.h"

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <cstdlib>
#include <ctime>

namespace swath::bench {
namespace {

constexpr const char* kNone = "–";
constexpr const char* kNarrowSpace = "\u202f";
constexpr std::string_view kReplacement = "\ufffd";

// Length of the well-formed UTF-8 character at `offset`, or 0.
size_t utf8_length(std::string_view text, size_t offset) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[offset + i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  size_t length = 0;
  uint32_t code = 0;
  if ((first & 0xe0) == 0xc0) {
    length = 2;
    code = first & 0x1f;
  } else if ((first & 0xf0) == 0xe0) {
    length = 3;
    code = first & 0x0f;
  } else if ((first & 0xf8) == 0xf0) {
    length = 4;
    code = first & 0x07;
  } else {
    return 0;
  }
  if (offset + length > text.size()) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
    code = code << 6 | (byte(i) & 0x3f);
  }
  constexpr std::array<uint32_t, 5> kSmallest = {0, 0, 0x80, 0x800, 0x10000};
  const bool is_surrogate = code >= 0xd800 && code <= 0xdfff;
  return code < kSmallest[length] || code > 0x10ffff || is_surrogate ? 0 : length;
}

std::string replace_all(std::string_view text, std::string_view from, std::string_view to) {
  std::string result;
  size_t begin = 0;
  for (size_t found = 0; (found = text.find(from, begin)) != std::string_view::npos;) {
    result.append(text, begin, found - begin);
    result += to;
    begin = found + from.size();
  }
  return result.append(text, begin);
}

std::string with_thousands(std::string digits) {
  const size_t first = digits.starts_with('-') ? 1 : 0;
  const size_t point = digits.find('.');
  for (size_t end = point == std::string::npos ? digits.size() : point; end > first + 3;) {
    end -= 3;
    digits.insert(end, ",");
  }
  return digits;
}

std::string with_unit(std::string number, std::string_view unit) {
  return std::move(number) + kNarrowSpace + std::string(unit);
}

}  // namespace

std::string escape_html(std::string_view text) {
  std::string result;
  result.reserve(text.size() + text.size() / 8);
  for (size_t i = 0; i < text.size();) {
    const size_t length = utf8_length(text, i);
    if (length == 0) {
      result += kReplacement;
      ++i;
      continue;
    }
    switch (text[i]) {
      case '&':
        result += "&amp;";
        break;
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '"':
        result += "&quot;";
        break;
      case '\'':
        result += "&#39;";
        break;
      case '\0':
        result += kReplacement;
        break;
      default:
        result += text.substr(i, length);
    }
    i += length;
  }
  return result;
}

std::string json_for_script(const Json& value) {
  std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  // All of these occur in strings only, where the escape means the same.
  text = replace_all(text, "<", "\\u003c");
  text = replace_all(text, ">", "\\u003e");
  text = replace_all(text, "&", "\\u0026");
  text = replace_all(text, "\u2028", "\\u2028");
  return replace_all(text, "\u2029", "\\u2029");
}

std::string program_for_script(std::string_view program) {
  std::string text;
  text.reserve(program.size());
  for (size_t i = 0; i < program.size(); ++i) {
    text += program[i];
    if (program[i] != '<') continue;
    // Both are case-insensitive to the HTML parser.
    const std::string_view rest = program.substr(i + 1);
    const auto starts_with_name = [](std::string_view candidate) {
      constexpr std::string_view kName = "script";
      if (candidate.size() < kName.size()) return false;
      for (size_t k = 0; k < kName.size(); ++k) {
        if ((candidate[k] | 0x20) != kName[k]) return false;
      }
      return true;
    };
    if (rest.starts_with('/') && starts_with_name(rest.substr(1))) text += '\\';
    if (rest.starts_with("!--")) text += '\\';
  }
  return text;
}

std::string base64(std::string_view bytes) {
  constexpr std::string_view kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const size_t count = std::min<size_t>(3, bytes.size() - i);
    uint32_t group = 0;
    for (size_t k = 0; k < 3; ++k) {
      group = group << 8 | (k < count ? static_cast<unsigned char>(bytes[i + k]) : 0U);
    }
    for (size_t k = 0; k < 4; ++k) {
      text += k <= count ? kAlphabet[group >> (18 - 6 * k) & 63] : '=';
    }
  }
  return text;
}

std::string data_uri(std::string_view mime, std::string_view bytes) {
  return fmt::format("data:{};base64,{}", mime, base64(bytes));
}

std::string format_number(double value, int significant_digits) {
  if (std::isnan(value)) return kNone;
  if (std::isinf(value)) return value > 0 ? "∞" : "−∞";
  if (value == 0) return "0";
  const double magnitude = std::floor(std::log10(std::abs(value)));
  if (magnitude < -4 || magnitude > 8) {
    return fmt::format("{:.{}e}", value, std::max(0, significant_digits - 2));
  }
  const int decimals = std::max(0, significant_digits - 1 - static_cast<int>(magnitude));
  std::string text = fmt::format("{:.{}f}", value, decimals);
  if (decimals > 0) {
    text.erase(text.find_last_not_of('0') + 1);
    if (text.ends_with('.')) text.pop_back();
  }
  return with_thousands(text);
}

std::string format_count(double value) {
  return std::isnan(value) ? kNone : with_thousands(fmt::format("{:.0f}", value));
}

std::string format_large(double value) {
  if (std::isnan(value)) return kNone;
  constexpr std::array<const char*, 5> kUnits = {"", "K", "M", "B", "T"};
  size_t unit = 0;
  while (std::abs(value) >= 999.5 && unit + 1 < kUnits.size()) {
    value /= 1000;
    ++unit;
  }
  return unit == 0 ? format_number(value, 3) : with_unit(format_number(value, 3), kUnits[unit]);
}

std::string format_bytes(double bytes) {
  if (std::isnan(bytes)) return kNone;
  constexpr std::array<const char*, 6> kUnits = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  size_t unit = 0;
  while (std::abs(bytes) >= 1023.5 && unit + 1 < kUnits.size()) {
    bytes /= 1024;
    ++unit;
  }
  return with_unit(format_number(bytes, 3), kUnits[unit]);
}

std::string format_seconds(double seconds) {
  if (std::isnan(seconds)) return kNone;
  if (seconds < 60) return with_unit(format_number(seconds, 3), "s");
  const auto whole = static_cast<int64_t>(std::llround(seconds));
  if (whole < 3600) {
    return with_unit(fmt::format("{}", whole / 60), "min ") +
           with_unit(fmt::format("{:02}", whole % 60), "s");
  }
  return with_unit(with_thousands(fmt::format("{}", whole / 3600)), "h ") +
         with_unit(fmt::format("{:02}", whole / 60 % 60), "min");
}

std::string format_share(double share) {
  return std::isnan(share) ? kNone : with_unit(fmt::format("{:.1f}", 100 * share), "%");
}

std::string format_points(double difference) {
  if (std::isnan(difference)) return kNone;
  const double points = std::round(1000 * difference) / 10;
  return fmt::format("{}{:.1f}", points < 0 ? "−" : "+", std::abs(points));
}

std::string format_time(double seconds_since_1970) {
  if (std::isnan(seconds_since_1970)) return kNone;
  const auto seconds = static_cast<std::time_t>(seconds_since_1970);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  std::array<char, 64> text{};
  const size_t length = std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M UTC", &parts);
  return {text.data(), length};
}

}  // namespace swath::bench
