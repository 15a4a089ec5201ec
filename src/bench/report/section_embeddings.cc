#include <fmt/format.h>

#include <array>

#include "bench/report/html.h"
#include "bench/report/sections.h"

namespace swath::bench {
namespace {

// Hues of assets/style.css; further clusters have the hues again with the next symbol, as in
// assets/program.js.
constexpr size_t kNumHues = 12;
constexpr std::array<const char*, 4> kSymbols = {"●", "◆", "■", "▲"};

std::string counted(size_t count, const std::string& what) {
  return fmt::format("{} {}{}", format_count(static_cast<double>(count)), what,
                     count == 1 ? "" : "s");
}

std::string lead_of(const EmbeddingMap& map) {
  std::string text = counted(map.chips.size(), "chip");
  if (map.num_granules > 0) text += " of " + counted(map.num_granules, "granule");
  if (!map.sizes.empty()) text += " in " + counted(map.sizes.size(), "cluster");
  const std::string checkpoint = text_of(map.values, "checkpoint");
  return checkpoint.empty() ? text : text + "; encoder: " + checkpoint;
}

std::vector<std::string> notes_of(const EmbeddingMap& map) {
  std::vector<std::string> notes;
  if (const double synthetic = number_of(map.values, "synthetic"); synthetic > 0) {
    notes.push_back(fmt::format(
        "Synthetic granules on this map: {}. They show that the pipeline works and say nothing "
        "about clouds.",
        format_count(synthetic)));
  }
  if (map.sizes.empty()) {
    notes.emplace_back("The chips have no clusters: `swath embed` makes them with --clusters.");
  }
  if (map.num_granules > map.granules.size()) {
    notes.push_back(fmt::format("Of {} the first {} by name are drawn; {} are left out.",
                                counted(map.num_granules, "granule"), map.granules.size(),
                                map.num_granules - map.granules.size()));
  }
  if (map.num_positions > map.positions.size()) {
    notes.push_back(fmt::format("The map by longitude and latitude shows {} of {}, taken evenly.",
                                format_count(static_cast<double>(map.positions.size())),
                                counted(map.num_positions, "chip")));
  }
  return notes;
}

std::string legend_card(const EmbeddingMap& map) {
  if (map.sizes.empty()) return {};
  std::string entries;
  for (size_t cluster = 0; cluster < map.sizes.size(); ++cluster) {
    entries += fmt::format(
        R"(<li><span class="cluster-{}" aria-hidden="true">{}</span> {} <span class="muted">({})</span></li>)",
        cluster % kNumHues + 1, kSymbols[cluster / kNumHues % kSymbols.size()], cluster,
        format_count(static_cast<double>(map.sizes[cluster])));
  }
  const std::string seed = text_of(object_of(map.values, "clusters"), "seed");
  return fmt::format(
      R"(<div class="card"><div class="card-head"><h3>Clusters</h3><p>k-means on standardised features{}; 0 is the largest; in brackets: chips</p></div><ul class="clusters">{}</ul></div>)",
      seed.empty() ? "" : escape_html(", seed " + seed), entries);
}

std::string chart_card(const std::string& title, const std::string& note, const char* chart,
                       const std::string& attributes, const std::string& label) {
  return fmt::format(
      R"(<figure class="card"><figcaption class="card-head"><h3>{}</h3><p>{}</p></figcaption><div class="chart square" data-chart="{}" {} role="img" aria-label="{}"></div></figure>)",
      escape_html(title), escape_html(note), chart, attributes, escape_html(label));
}

std::string granule_card(const GranuleMap& granule, size_t embedding, size_t index) {
  std::string note = counted(granule.chips.size(), "chip");
  if (!granule.platform.empty()) note = granule.platform + ", " + note;
  return chart_card(
      granule.name, note, "embedding_swath",
      fmt::format(R"(data-embedding="{}" data-granule="{}")", embedding, index),
      "Clusters of the chips of " + granule.name + ", drawn where they lie in its swath");
}

std::string map_html(const RunDirectory& run, size_t index, int& num_charts) {
  const EmbeddingMap& map = run.embeddings;
  std::string html = fmt::format(
      R"(<section{} aria-label="Embeddings map"><div class="section-head"><h2>Embeddings map: {}</h2><p class="lead">{}</p></div>)",
      index == 0 ? R"( id="embeddings")" : "", escape_html(run.name), escape_html(lead_of(map)));
  html += warnings_notice(notes_of(map));
  html += R"(<div class="after-notes">)" + legend_card(map);
  if (!map.positions.empty()) {
    ++num_charts;
    html += chart_card("All chips by longitude and latitude", "equal scales; degrees",
                       "embedding_positions", fmt::format(R"(data-embedding="{}")", index),
                       "Clusters of all chips by longitude and latitude");
  }
  html += "</div>";
  std::string granules;
  for (size_t g = 0; g < map.granules.size(); ++g) {
    granules += granule_card(map.granules[g], index, g);
  }
  num_charts += static_cast<int>(map.granules.size());
  if (!granules.empty()) html += fmt::format(R"(<div class="grid swaths">{}</div>)", granules);
  return html + "</section>";
}

}  // namespace

Section embeddings_section(const std::vector<RunDirectory>& runs) {
  Section section{"embeddings", "Embeddings map", "", 0};
  size_t index = 0;
  for (const RunDirectory& run : runs) {
    if (run.embeddings.chips.empty()) continue;
    section.html += map_html(run, index++, section.num_charts);
  }
  return section;
}

}  // namespace swath::bench
