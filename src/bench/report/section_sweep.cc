#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "bench/report/html.h"
#include "bench/report/sections.h"

namespace swath::bench {
namespace {

std::string format_rate(double value) { return format_number(value, 4); }

std::string format_energy(double joules) {
  if (std::isnan(joules)) return format_number(joules);
  const double scale = joules >= 1e6 ? 1e6 : joules >= 1e3 ? 1e3 : 1;
  const char* unit = joules >= 1e6 ? "MJ" : joules >= 1e3 ? "kJ" : "J";
  return format_number(joules / scale, 3) + "\u202f" + unit;
}

struct SweepColumn {
  const char* title;
  double SweepRow::* value;
  std::string (*format)(double);
};

const std::vector<SweepColumn>& columns() {
  static const std::vector<SweepColumn> all = {
      {"Images/s", &SweepRow::images_per_second, format_rate},
      {"Efficiency", &SweepRow::efficiency, format_share},
      {"Step", &SweepRow::step_seconds, format_seconds},
      {"Of peak compute", &SweepRow::mfu, format_share},
      {"Peak memory", &SweepRow::peak_bytes, format_bytes},
      {"Held between steps", &SweepRow::allocated_bytes, format_bytes},
      {"Waits for ranks", &SweepRow::exposed_communication, format_share},
      {"Waits for data", &SweepRow::data_wait, format_share},
      {"Energy", &SweepRow::joules, format_energy},
  };
  return all;
}

std::string cell(const SweepRow& row, const SweepColumn& column) {
  std::string text = column.format(row.*column.value);
  const bool has_range = !std::isnan(row.minimum) && !std::isnan(row.maximum);
  if (column.value == &SweepRow::images_per_second && has_range) {
    text += fmt::format(R"html( <span class="muted interval">({}–{})</span>)html",
                        format_rate(row.minimum), format_rate(row.maximum));
  }
  return text;
}

std::string rows_card(const SweepTable& sweep) {
  std::string head = R"(<th scope="col">Ranks</th>)";
  std::string note;
  const auto explain = [&](double SweepRow::* value, const char* text) {
    if (sweep.has(value)) note += (note.empty() ? "" : "; ") + std::string(text);
  };
  explain(&SweepRow::efficiency,
          "efficiency: rate, over that of the case's fewest ranks times the ranks");
  explain(&SweepRow::minimum, "in brackets: least and most over repeats");
  explain(&SweepRow::joules, "energy: what the first rank's device counted meanwhile");
  size_t num_columns = 1;
  for (const SweepColumn& column : columns()) {
    if (!sweep.has(column.value)) continue;
    head += fmt::format(R"(<th scope="col">{}</th>)", column.title);
    ++num_columns;
  }
  std::string bodies;
  for (size_t c = 0; c < sweep.cases.size(); ++c) {
    bodies += fmt::format(
        R"(<tbody><tr><th scope="rowgroup" colspan="{}"><span class="swatch run-{}"></span>{}</th></tr>)",
        num_columns, c % 8 + 1, escape_html(sweep.cases[c].name));
    for (const SweepRow& row : sweep.rows) {
      if (row.case_index != c) continue;
      bodies += fmt::format(R"(<tr><th scope="row">{}</th>)", format_count(row.ranks));
      for (const SweepColumn& column : columns()) {
        if (sweep.has(column.value)) bodies += fmt::format("<td>{}</td>", cell(row, column));
      }
      bodies += "</tr>";
    }
    bodies += "</tbody>";
  }
  return fmt::format(
      R"(<div class="card wide"><div class="card-head"><h3>All cases</h3><p>{}</p></div><div class="table-wrap" tabindex="0" role="region" aria-label="All cases of the sweep"><table class="wrap-head"><thead><tr>{}</tr></thead>{}</table></div></div>)",
      note, head, bodies);
}

// "DDP: 61 on 1, 118 on 2; ...": what the chart shows, in words.
std::string in_words(const SweepTable& sweep, double SweepRow::* value,
                     std::string (*format)(double)) {
  std::string text;
  for (const SweepCase& sweep_case : sweep.cases) {
    std::string points;
    for (const size_t r : sweep_case.rows) {
      const SweepRow& row = sweep.rows[r];
      if (std::isnan(row.*value)) continue;
      points += fmt::format("{}{} on {}", points.empty() ? "" : ", ", format(row.*value),
                            format_count(row.ranks));
    }
    if (points.empty()) continue;
    text += fmt::format("{}{}: {}", text.empty() ? "" : "; ", sweep_case.name, points);
  }
  return text;
}

struct SweepChart {
  bool is_there;
  const char* chart;  // a builder of assets/program.js
  const char* title;
  std::string note;
  std::string words;
};

std::vector<SweepChart> charts_of(const SweepTable& sweep) {
  std::string rate_note;
  const SweepRow* start = sweep.ideal_start();
  if (start != nullptr && start->ranks < sweep.ranks().back()) {
    const bool has_several = sweep.cases.size() > 1;
    rate_note =
        fmt::format("dashed: {} on {}{}, times the ranks", has_several ? "the fastest" : "the rate",
                    format_count(start->ranks), start->ranks == 1 ? " rank" : " ranks");
  }
  if (sweep.has(&SweepRow::minimum)) {
    rate_note +=
        (rate_note.empty() ? "" : "; ") + std::string("error bars: least and most over repeats");
  }
  const bool has_communication = sweep.has(&SweepRow::exposed_communication);
  const bool has_data = sweep.has(&SweepRow::data_wait);
  std::vector<SweepChart> charts = {
      {start != nullptr, "sweep_rate", "Images per second", rate_note,
       in_words(sweep, &SweepRow::images_per_second, format_rate)},
      {sweep.has(&SweepRow::peak_bytes), "sweep_memory", "Peak memory of a rank", "",
       in_words(sweep, &SweepRow::peak_bytes, format_bytes)},
      {has_communication || has_data, "sweep_wait", "Share of a step that waits",
       has_communication && has_data ? "filled: for other ranks; hatched: for data"
       : has_data                    ? "for data"
                                     : "for other ranks",
       in_words(sweep, has_communication ? &SweepRow::exposed_communication : &SweepRow::data_wait,
                format_share)},
  };
  std::erase_if(charts, [](const SweepChart& chart) { return !chart.is_there; });
  return charts;
}

std::string on_ranks(const SweepTable& sweep, const SweepRow& row) {
  return fmt::format("{} on {} {}", escape_html(sweep.cases[row.case_index].name),
                     format_count(row.ranks), row.ranks == 1 ? "rank" : "ranks");
}

// The row that is best in `value`; null when none has it.
const SweepRow* best_row(const std::vector<SweepRow>& rows, double SweepRow::* value,
                         bool most_is_best) {
  const SweepRow* best = nullptr;
  for (const SweepRow& row : rows) {
    if (std::isnan(row.*value)) continue;
    const bool is_more = best != nullptr && row.*value > best->*value;
    if (best == nullptr || (row.*value != best->*value && is_more == most_is_best)) best = &row;
  }
  return best;
}

std::string tiles(const SweepTable& sweep) {
  std::string html;
  if (const SweepRow* row = best_row(sweep.rows, &SweepRow::images_per_second, true)) {
    html +=
        tile("Fastest, images/s", format_rate(row->images_per_second), on_ranks(sweep, *row), true);
  }
  std::vector<SweepRow> on_most;
  for (const SweepRow& row : sweep.rows) {
    if (row.ranks == sweep.ranks().back() && row.ranks > 1) on_most.push_back(row);
  }
  if (const SweepRow* row = best_row(on_most, &SweepRow::efficiency, true)) {
    html += tile("Scaling efficiency", format_share(row->efficiency), on_ranks(sweep, *row));
  }
  if (const SweepRow* row = best_row(on_most, &SweepRow::exposed_communication, false)) {
    html += tile("Least waiting for ranks", format_share(row->exposed_communication),
                 on_ranks(sweep, *row));
  }
  if (const SweepRow* row = best_row(sweep.rows, &SweepRow::peak_bytes, false)) {
    html += tile("Least memory of a rank", format_bytes(row->peak_bytes), on_ranks(sweep, *row));
  }
  return html.empty() ? "" : fmt::format(R"(<div class="tiles">{}</div>)", html);
}

// The settings that all rows share.
std::string lead(const SweepTable& sweep) {
  std::set<std::string> prefetch;
  std::set<std::string> limits;
  for (const SweepRow& row : sweep.rows) {
    prefetch.insert(row.prefetch);
    limits.insert(row.limit);
  }
  std::string text = "Rates are of all ranks together; each rank keeps its batch size.";
  if (prefetch.size() == 1 && !prefetch.begin()->empty()) {
    text += fmt::format(" Prefetch {}.", *prefetch.begin());
  }
  if (limits.size() == 1 && !limits.begin()->empty()) {
    text += fmt::format(" All-gathers {}.", *limits.begin());
  }
  return text;
}

std::string sweep_html(const RunDirectory& directory, size_t index, bool is_alone,
                       int& num_charts) {
  const SweepTable& sweep = directory.sweep;
  const std::vector<SweepChart> charts = charts_of(sweep);
  num_charts += static_cast<int>(charts.size());
  std::string cards;
  for (const SweepChart& chart : charts) {
    const bool leads = &chart == charts.data();
    // A single second one would leave a hole.
    const bool is_wide = leads || charts.size() == 2;
    cards += fmt::format(
        R"(<figure class="card{}"><figcaption class="card-head"><h3>{}</h3><p>{}</p></figcaption><div class="chart{}" data-chart="{}" data-sweep="{}" role="img" aria-label="{}"></div></figure>)",
        is_wide ? " wide" : "", chart.title, chart.note, leads ? " tall" : "", chart.chart, index,
        escape_html(std::string(chart.title) + ". " + chart.words));
  }
  // The summary shows those of a run.
  const std::string notice = directory.holds_run() ? "" : warnings_notice(directory.warnings);
  const std::string title = is_alone ? "Sweep" : "Sweep " + directory.name;
  return fmt::format(
      R"(<section{} aria-label="{}"><div class="section-head"><h2>{}</h2><p class="lead">{}</p></div>{}{}<div class="grid after-tiles">{}</div></section>)",
      index == 0 ? R"( id="sweep")" : "", escape_html(title), escape_html(title),
      escape_html(lead(sweep)), tiles(sweep), notice, cards + rows_card(sweep));
}

}  // namespace

Section sweep_section(const std::vector<RunDirectory>& sweeps) {
  Section section{"sweep", "Sweep", "", 0};
  for (size_t s = 0; s < sweeps.size(); ++s) {
    section.html += sweep_html(sweeps[s], s, sweeps.size() == 1, section.num_charts);
  }
  return section;
}

}  // namespace swath::bench
