#include "bench/report/page.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

#include "bench/report/assets.h"
#include "bench/report/html.h"
#include "core/error.h"
#include "core/hash.h"

namespace swath::bench {
namespace {

// A dark square with a bright strip: a swath seen from above.
constexpr std::string_view kIcon =
    R"(<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" fill="#0d2a45"/><path d="M11 3h8l4 26h-8z" fill="#ffd27a"/></svg>)";

// A source of Content-Security-Policy: 'sha256-...' of a program's exact text.
std::string hash_source(const std::string& program) {
  const std::string hex = sha256_hex(program);
  std::string bytes;
  for (size_t i = 0; i < hex.size(); i += 2) {
    bytes += static_cast<char>(std::strtol(hex.substr(i, 2).c_str(), nullptr, 16));
  }
  return "'sha256-" + base64(bytes) + "'";
}

}  // namespace

std::string fill_template(
    std::string_view text,
    const std::vector<std::pair<std::string_view, std::string_view>>& values) {
  std::string result;
  for (size_t begin = 0; begin < text.size();) {
    const size_t open = text.find("{{", begin);
    const size_t close = text.find("}}", open);
    if (open == std::string_view::npos || close == std::string_view::npos) {
      result += text.substr(begin);
      break;
    }
    const std::string_view name = text.substr(open + 2, close - open - 2);
    const auto value = std::find_if(values.begin(), values.end(),
                                    [name](const auto& entry) { return entry.first == name; });
    if (value == values.end()) {
      throw Error(fmt::format("report template: nothing is known for {{{{{}}}}}.", name));
    }
    result += text.substr(begin, open - begin);
    result += value->second;
    begin = close + 2;
  }
  return result;
}

std::string render_page(const Page& page) {
  const std::string theme_program = program_for_script(report_asset("theme"));
  const std::string plotly = program_for_script(page.plotly);
  const std::string program = program_for_script(report_asset("program"));
  // Plotly styles its elements one by one; "blob:" is for the pictures it offers to download.
  const std::string policy = fmt::format(
      "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; script-src {} {} {}; "
      "base-uri 'none'; form-action 'none'",
      hash_source(theme_program), hash_source(plotly), hash_source(program));

  std::string navigation;
  std::string sections;
  for (const Section& section : page.sections) {
    if (section.html.empty()) continue;
    navigation += fmt::format(R"(<li><a href="#{}">{}</a></li>)", section.id, section.title);
    sections += section.html + "\n";
  }
  const std::string title = escape_html(page.title);
  const std::string heading = escape_html(page.heading);
  const std::string subtitle = escape_html(page.subtitle);
  const std::string footer = escape_html(page.footer);
  const std::string icon = data_uri("image/svg+xml", kIcon);
  const std::string data = json_for_script(page.data);
  return fill_template(report_asset("page"), {{"policy", policy},
                                              {"title", title},
                                              {"icon", icon},
                                              {"style", report_asset("style")},
                                              {"theme_program", theme_program},
                                              {"heading", heading},
                                              {"subtitle", subtitle},
                                              {"navigation", navigation},
                                              {"sections", sections},
                                              {"footer", footer},
                                              {"data", data},
                                              {"plotly", plotly},
                                              {"program", program}});
}

}  // namespace swath::bench
