// Puts a report page together: template, style, programs and sections.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bench/report/sections.h"
#include "core/json.h"

namespace swath::bench {

struct Page {
  std::string title;     // of the window, as plain text
  std::string heading;   // as plain text
  std::string subtitle;  // as plain text
  std::string footer;    // as plain text
  std::vector<Section> sections;
  Json data;                // for assets/program.js
  std::string_view plotly;  // plotly.min.js
};

// The whole file. Its Content-Security-Policy names the hashes of its three programs: no other
// program runs in it, whatever text the runs brought along, and it loads nothing from anywhere.
std::string render_page(const Page& page);

// Replaces each {{name}} by its value, once: a value that looks like a placeholder stays as it is.
// Throws Error for a placeholder without a value.
std::string fill_template(std::string_view text,
                          const std::vector<std::pair<std::string_view, std::string_view>>& values);

}  // namespace swath::bench
