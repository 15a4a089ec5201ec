#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "bench/report/html.h"
#include "bench/report/sections.h"

namespace swath::bench {
namespace {

// More rows than this make a slow page; the CSV file has them all.
constexpr size_t kMostRows = 250;

std::string cell_text(const char* column, double value) {
  const std::string name = column;
  if (std::isnan(value)) return "–";
  if (name.ends_with("_bytes")) return format_bytes(value);
  if (name == "data_wait" || name == "mfu" || name == "utilisation") return format_share(value);
  if (name == "elapsed_seconds") return format_seconds(value);
  return format_number(value, 4);
}

std::string table(const std::string& caption, const std::string& head, const std::string& rows) {
  return fmt::format(
      R"(<div class="scroll" tabindex="0" role="region" aria-label="{0}"><table><caption>{0}</caption><thead><tr>{1}</tr></thead><tbody>{2}</tbody></table></div>)",
      caption, head, rows);
}

std::string step_table(const RunDirectory& run) {
  std::vector<StepColumn> columns;
  for (const StepColumn& column : step_columns()) {
    const bool has_any =
        std::any_of(run.steps.begin(), run.steps.end(),
                    [&](const StepRecord& step) { return !std::isnan(step.*column.value); });
    if (has_any && std::string(column.name) != "time") columns.push_back(column);
  }
  std::string head = R"(<th scope="col">step</th>)";
  for (const StepColumn& column : columns)
    head += fmt::format(R"(<th scope="col">{}</th>)", column.name);

  const size_t count = run.steps.size();
  const size_t stride = (count + kMostRows - 1) / kMostRows;
  std::string rows;
  for (size_t i = 0; i < count; i += stride) {
    const StepRecord& step = run.steps[i + stride < count ? i : count - 1];
    rows +=
        fmt::format(R"(<tr><th scope="row">{}</th>)", format_count(static_cast<double>(step.step)));
    for (const StepColumn& column : columns) {
      rows += fmt::format("<td>{}</td>", cell_text(column.name, step.*column.value));
    }
    rows += "</tr>";
  }
  const std::string caption =
      stride == 1 ? fmt::format("All {} logged steps", format_count(static_cast<double>(count)))
                  : fmt::format("Every {}th of {} logged steps; the CSV file has all", stride,
                                format_count(static_cast<double>(count)));
  return table(caption, head, rows);
}

// A table of an array of flat objects, with a column for each key.
std::string object_table(const std::string& caption, const Json& rows_json,
                         const std::vector<const char*>& keys) {
  std::vector<const char*> present;
  for (const char* key : keys) {
    if (std::any_of(rows_json.begin(), rows_json.end(),
                    [key](const Json& row) { return !text_of(row, key).empty(); })) {
      present.push_back(key);
    }
  }
  std::string head;
  for (const char* key : present) head += fmt::format(R"(<th scope="col">{}</th>)", key);
  std::string rows;
  for (const Json& row : rows_json) {
    rows += "<tr>";
    for (const char* key : present) {
      const double number = number_of(row, key);
      const std::string name = key;
      const bool is_share = name.starts_with("top") || name == "low" || name == "high";
      rows += fmt::format("<td>{}</td>", std::isnan(number) ? escape_html(text_of(row, key))
                                         : is_share         ? format_share(number)
                                                            : format_number(number, 4));
    }
    rows += "</tr>";
  }
  return table(escape_html(caption), head, rows);
}

std::string confusion_table(const Confusion& confusion) {
  std::string head = R"(<th scope="col">truth \ prediction</th>)";
  for (const std::string& name : confusion.classes) {
    head += fmt::format(R"(<th scope="col">{}</th>)", escape_html(name));
  }
  std::string rows;
  for (size_t truth = 0; truth < confusion.classes.size(); ++truth) {
    rows += fmt::format(R"(<tr><th scope="row">{}</th>)", escape_html(confusion.classes[truth]));
    for (const double count : confusion.counts[truth]) {
      rows += fmt::format("<td>{}</td>", format_count(count));
    }
    rows += "</tr>";
  }
  return table("Confusion matrix: images of each class (row) by prediction (column)", head, rows);
}

std::string details(const std::string& title, const std::string& note, const std::string& html) {
  return fmt::format(R"(<details><summary>{} <span class="muted">{}</span></summary>{}</details>)",
                     title, note, html);
}

std::string probe_tables(const ProbeOfRun& source) {
  const Json& values = source.probe->values;
  const std::string label = escape_html(source.label);
  const std::string file = escape_html(source.probe->file);
  std::string html;
  if (!array_of(values, "history").empty()) {
    html += details("Epochs of the probe", label + ", " + file,
                    object_table("Epochs of the probe", array_of(values, "history"),
                                 {"epoch", "train_loss", "test_loss", "lr", "top1", "top5"}));
  }
  if (!array_of(values, "few_shot").empty()) {
    html += details(
        "Few-shot", label + ", " + file,
        object_table("Few-shot accuracy; rows without a name are the run's own",
                     array_of(values, "few_shot"), {"name", "shots", "top1", "low", "high"}));
  }
  const Confusion confusion = confusion_of(*source.probe);
  if (!confusion.classes.empty()) {
    html += details("Confusion matrix", label + ", " + file, confusion_table(confusion));
  }
  return html;
}

std::string event_list(const RunDirectory& run) {
  std::string items;
  for (const Json& event : run.events) {
    const double step = number_of(event, "step");
    items += fmt::format("<li>{}{}</li>",
                         std::isnan(step) ? "" : fmt::format("step {}: ", format_count(step)),
                         escape_html(text_of(event, "message")));
  }
  return fmt::format("<ul>{}</ul>", items);
}

}  // namespace

Section numbers_section(const std::vector<RunDirectory>& runs,
                        const std::vector<ProbeGroup>& groups,
                        const std::vector<Download>& downloads) {
  std::string links;
  for (const Download& download : downloads) {
    const std::string file = escape_html(download.file);
    links += download.contents.empty()
                 ? fmt::format(
                       R"(<li class="muted">{} is too large for a page: swath report --files</li>)",
                       file)
                 : fmt::format(R"(<li><a href="{}" download="{}">{}</a></li>)",
                               data_uri("text/csv;charset=utf-8", download.contents), file, file);
  }
  std::string html;
  for (const RunDirectory& run : runs) {
    const std::string name = runs.size() > 1 ? escape_html(run.name) : std::string();
    if (!run.steps.empty()) html += details("Training steps", name, step_table(run));
    if (!run.events.empty()) html += details("Events", name, event_list(run));
    if (!run.config.empty()) {
      html += details(
          "Configuration", name,
          fmt::format(R"(<pre class="scroll" tabindex="0">{}</pre>)", escape_html(run.config)));
    }
  }
  for (const ProbeGroup& group : groups) {
    for (const ProbeOfRun& source : group.probes) html += probe_tables(source);
  }
  return {
      "numbers", "Numbers",
      fmt::format(
          R"(<section id="numbers" aria-labelledby="numbers-title"><div class="section-head"><h2 id="numbers-title">Numbers</h2></div>{}{}</section>)",
          links.empty()
              ? ""
              : fmt::format(R"(<ul class="downloads" aria-label="CSV files">{}</ul>)", links),
          html.empty() ? "" : fmt::format(R"(<div class="card">{}</div>)", html)),
      0};
}

}  // namespace swath::bench
