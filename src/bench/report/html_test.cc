#include "bench/report/html.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>

namespace swath::bench {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// Spaces before units are narrow and do not break.
std::string with_plain_spaces(std::string text) {
  for (size_t found = 0; (found = text.find("\u202f", found)) != std::string::npos;) {
    text.replace(found, std::string("\u202f").size(), " ");
  }
  return text;
}

TEST(Html, TextCannotBecomeMarkup) {
  EXPECT_EQ(escape_html("<script>alert('1') & \"2\"</script>"),
            "&lt;script&gt;alert(&#39;1&#39;) &amp; &quot;2&quot;&lt;/script&gt;");
  EXPECT_EQ(escape_html("Wälder · 森"), "Wälder · 森");
}

TEST(Html, BytesThatAreNotUtf8AreReplaced) {
  EXPECT_EQ(escape_html("a\xff<"), "a\ufffd&lt;");
  // An overlong "<", a surrogate, a character that breaks off.
  EXPECT_EQ(escape_html("\xc0\xbc"), "\ufffd\ufffd");
  EXPECT_EQ(escape_html("\xed\xa0\x80"), "\ufffd\ufffd\ufffd");
  EXPECT_EQ(escape_html("\xe6\xa3"), "\ufffd\ufffd");
  EXPECT_EQ(escape_html(std::string_view("a\0b", 3)),
            "a\ufffd"
            "b");
}

TEST(Html, JsonCannotEndItsElement) {
  const Json value = {{"name", "</script><!--<script>&\u2028\xff"}, {"nan", kNan}};
  const std::string text = json_for_script(value);
  EXPECT_EQ(text.find_first_of("<>&"), std::string::npos) << text;
  EXPECT_EQ(text.find("\u2028"), std::string::npos);
  const Json back = Json::parse(text);
  EXPECT_EQ(back["name"], "</script><!--<script>&\u2028\ufffd");
  EXPECT_TRUE(back["nan"].is_null());
}

TEST(Html, ProgramCannotEndItsElement) {
  EXPECT_EQ(program_for_script("x='</script>'"), "x='<\\/script>'");
  EXPECT_EQ(program_for_script("x='</ScRiPt>'+'<!--'"), "x='<\\/ScRiPt>'+'<\\!--'");
  EXPECT_EQ(program_for_script("a</scri/.test(b)<c"), "a</scri/.test(b)<c");
}

// RFC 4648, section 10.
TEST(Html, Base64HasTheValuesOfTheStandard) {
  EXPECT_EQ(base64(""), "");
  EXPECT_EQ(base64("f"), "Zg==");
  EXPECT_EQ(base64("fo"), "Zm8=");
  EXPECT_EQ(base64("foo"), "Zm9v");
  EXPECT_EQ(base64("foob"), "Zm9vYg==");
  EXPECT_EQ(base64("fooba"), "Zm9vYmE=");
  EXPECT_EQ(base64("foobar"), "Zm9vYmFy");
  EXPECT_EQ(base64("\xff\xfe\xfd"), "//79");
}

TEST(Html, NumbersAreReadable) {
  EXPECT_EQ(format_number(1234.5678), "1,235");
  EXPECT_EQ(format_number(0.0123456), "0.01235");
  EXPECT_EQ(format_number(-0.5), "-0.5");
  EXPECT_EQ(format_number(0), "0");
  EXPECT_EQ(format_number(1e-7), "1.00e-07");
  EXPECT_EQ(format_number(kNan), "–");
  EXPECT_EQ(format_number(-kInfinity), "−∞");
  EXPECT_EQ(format_count(1234567), "1,234,567");
  EXPECT_EQ(format_count(999), "999");
  EXPECT_EQ(with_plain_spaces(format_large(3412224)), "3.41 M");
  EXPECT_EQ(with_plain_spaces(format_large(999600)), "1 M");
  EXPECT_EQ(with_plain_spaces(format_bytes(420400000)), "401 MiB");
  EXPECT_EQ(with_plain_spaces(format_seconds(3720)), "1 h 02 min");
  EXPECT_EQ(with_plain_spaces(format_seconds(61)), "1 min 01 s");
  EXPECT_EQ(with_plain_spaces(format_seconds(0.5)), "0.5 s");
  EXPECT_EQ(with_plain_spaces(format_share(0.7431)), "74.3 %");
  EXPECT_EQ(format_points(0.0214), "+2.1");
  EXPECT_EQ(format_points(-0.004), "−0.4");
  EXPECT_EQ(format_points(-0.0001), "+0.0");
  EXPECT_EQ(format_time(86400 + 3660), "1970-01-02 01:01 UTC");
}

}  // namespace
}  // namespace swath::bench
