// Text made safe for its place in the page, and numbers made readable.
//
// Everything in a report comes from files that others may have written: class names, captions,
// configurations. No text reaches the page but through these functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/json.h"

namespace swath::bench {

// For element content and for attributes in double quotes. Bytes that are not UTF-8 become U+FFFD.
std::string escape_html(std::string_view text);

// JSON for a <script> element: no "<", ">" or "&" and no line separators, so nothing in it can end
// the element or start a comment.
std::string json_for_script(const Json& value);

// A program for a <script> element: "</script" and "<!--" inside its strings are written in another
// way that means the same.
std::string program_for_script(std::string_view program);

std::string base64(std::string_view bytes);
// "data:MIME;base64,..."
std::string data_uri(std::string_view mime, std::string_view bytes);

// Numbers for people; a NaN is "–". Units come with a narrow no-break space.
std::string format_number(double value, int significant_digits = 4);  // 1,234  0.01235  1.2e-06
std::string format_count(double value);                               // 12,345
std::string format_large(double value);                               // 1.25 M
std::string format_bytes(double bytes);                               // 1.50 GiB
std::string format_seconds(double seconds);                           // 1 h 02 min
std::string format_share(double share);                               // 0.7431 -> 74.3 %
// The difference of two shares in percentage points: +2.1, −0.4.
std::string format_points(double difference);
// UTC, to the minute.
std::string format_time(double seconds_since_1970);

}  // namespace swath::bench
