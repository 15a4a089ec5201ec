#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "bench/report/confusion_cards.h"
#include "bench/report/html.h"
#include "bench/report/sections.h"

namespace swath::bench {
namespace {

struct Column {
  const char* key;
  const char* title;
  std::string (*format)(double);
};

std::string format_coefficient(double value) {
  return std::isnan(value) ? format_number(value) : fmt::format("{:.3f}", value);
}

// What the table of all scores shows, with the interval of the row where there is one.
const std::vector<Column>& score_columns() {
  static const std::vector<Column> all = {
      {"top1", "Top-1", format_share},
      {"top5", "Top-5", format_share},
      {"balanced_accuracy", "Balanced", format_share},
      {"macro_f1", "Macro F1", format_coefficient},
      {"kappa", "Kappa", format_coefficient},
      {"rotations", "Same when turned", format_share},
      {"symmetries", "… and mirrored", format_share},
  };
  return all;
}

std::string method_title(const std::string& method) {
  static const std::map<std::string, std::string> titles = {
      {"probe", "Frozen encoder, linear probe"},
      {"untrained", "Untrained encoder, linear probe"},
      {"band_statistics", "Mean and deviation of each band"},
      {"majority", "Most frequent class"},
      {"finetune", "Fine-tuned"},
      {"scratch", "Trained from scratch"}};
  const auto found = titles.find(method);
  return found == titles.end() ? method : found->second;
}

bool is_ours(const std::string& method) { return method == "probe" || method == "finetune"; }

std::string card(const std::string& title, const std::string& note, const std::string& head,
                 const std::string& rows) {
  return fmt::format(
      R"(<div class="card wide"><div class="card-head"><h3>{}</h3><p>{}</p></div><div class="table-wrap" tabindex="0" role="region" aria-label="{}"><table><thead><tr>{}</tr></thead><tbody>{}</tbody></table></div></div>)",
      escape_html(title), escape_html(note), escape_html(title), head, rows);
}

std::string head_cell(const std::string& text) {
  return fmt::format(R"(<th scope="col">{}</th>)", escape_html(text));
}

std::string method_cell(const std::string& method) {
  return fmt::format(R"(<th scope="row">{}</th>)", escape_html(method_title(method)));
}

// "62.1 % ± 0.8" where there are several draws.
std::string summary_cell(const Json& line, const Column& column) {
  const Json& summary = object_of(line, column.key);
  std::string text = column.format(number_of(summary, "mean"));
  if (number_of(summary, "count") > 1) {
    const bool is_share = column.format == format_share;
    text += fmt::format(R"( <span class="muted">± {:.{}f}</span>)",
                        number_of(summary, "sd") * (is_share ? 100 : 1), is_share ? 1 : 3);
  }
  return text;
}

// Methods in the order of the table.
std::vector<std::string> methods_of(const Json& table) {
  std::vector<std::string> methods;
  for (const Json& line : table) {
    const std::string method = text_of(line, "method");
    if (std::find(methods.begin(), methods.end(), method) == methods.end()) {
      methods.push_back(method);
    }
  }
  return methods;
}

const Json* line_of(const Json& table, const std::string& method, double fraction) {
  for (const Json& line : table) {
    if (text_of(line, "method") == method && number_of(line, "fraction") == fraction) return &line;
  }
  return nullptr;
}

std::string fractions_card(const Json& table, const Column& column) {
  std::set<double> fractions;
  for (const Json& line : table) fractions.insert(number_of(line, "fraction"));
  std::string head = head_cell("Method");
  for (const double fraction : fractions) {
    head += head_cell(format_number(100 * fraction, 3) + " % of the labels");
  }
  std::string rows;
  for (const std::string& method : methods_of(table)) {
    std::string cells = method_cell(method);
    for (const double fraction : fractions) {
      const Json* line = line_of(table, method, fraction);
      cells += fmt::format("<td>{}</td>", line == nullptr ? "–" : summary_cell(*line, column));
    }
    rows += fmt::format(R"(<tr class="{}">{}</tr>)", is_ours(method) ? "ours" : "baseline", cells);
  }
  return card(fmt::format("{} over shares of the labels", column.title),
              "± standard deviation over draws of the labels", head, rows);
}

// The rows on all labels, one per method.
std::vector<const Json*> full_rows(const Json& values) {
  std::vector<const Json*> rows;
  for (const Json& row : array_of(values, "rows")) {
    if (number_of(row, "fraction") == 1) rows.push_back(&row);
  }
  return rows;
}

std::string interval_text(const Json& row, const Column& column) {
  const Json& interval = array_of(object_of(row, "intervals"), column.key);
  if (interval.size() != 2 || !interval[0].is_number() || !interval[1].is_number()) return {};
  return fmt::format(R"( <span class="muted interval">({}–{})</span>)",
                     column.format(interval[0].get<double>()),
                     column.format(interval[1].get<double>()));
}

std::string scores_card(const Json& values) {
  std::string head = head_cell("Method");
  for (const Column& column : score_columns()) head += head_cell(column.title);
  head += head_cell("AMI") + head_cell("ARI");
  std::string rows;
  for (const Json* row : full_rows(values)) {
    const std::string method = text_of(*row, "method");
    std::string cells = method_cell(method);
    for (const Column& column : score_columns()) {
      const double own = number_of(*row, column.key);
      const double value =
          std::isnan(own) ? number_of(object_of(*row, "agreement"), column.key) : own;
      cells += fmt::format("<td>{}{}</td>", column.format(value), interval_text(*row, column));
    }
    const Json& clusters = object_of(object_of(values, "clusters"), method.c_str());
    for (const char* key : {"ami", "ari"}) {
      cells += fmt::format("<td>{}</td>",
                           format_coefficient(number_of(object_of(clusters, key), "mean")));
    }
    rows += fmt::format(R"(<tr class="{}">{}</tr>)", is_ours(method) ? "ours" : "baseline", cells);
  }
  return card("All scores with all labels",
              "in brackets: 95 % interval over whole granules; macro F1 and balanced accuracy over "
              "the classes that have test chips; AMI and ARI: k-means on the frozen features",
              head, rows);
}

std::string physics_card(const Json& values) {
  std::set<std::string> names;
  for (const Json* row : full_rows(values)) {
    for (const auto& [name, means] : object_of(*row, "physics").items()) names.insert(name);
  }
  if (names.empty()) return {};
  std::string head = head_cell("Property");
  for (const Json* row : full_rows(values)) {
    head += head_cell(method_title(text_of(*row, "method")));
  }
  std::string rows;
  for (const std::string& name : names) {
    std::string cells = fmt::format(R"(<th scope="row" class="wrap">{}</th>)", escape_html(name));
    for (const Json* row : full_rows(values)) {
      const Json& means = object_of(object_of(*row, "physics"), name.c_str());
      cells += fmt::format(R"(<td>r {} <span class="muted">rms {}</span></td>)",
                           format_coefficient(number_of(means, "pearson_r")),
                           format_number(number_of(means, "rms"), 3));
    }
    rows += "<tr>" + cells + "</tr>";
  }
  return card("Class means of measured properties",
              "of the predicted classes against those of the labels, over classes", head, rows);
}

std::string subsets_card(const Json& values) {
  std::set<std::string> names;
  for (const Json* row : full_rows(values)) {
    for (const auto& [name, scores] : object_of(*row, "subsets").items()) names.insert(name);
  }
  if (names.empty()) return {};
  std::string head = head_cell("Test chips") + head_cell("Number");
  for (const Json* row : full_rows(values)) {
    head += head_cell(method_title(text_of(*row, "method")));
  }
  std::string rows;
  for (const std::string& name : names) {
    std::string cells;
    double images = kNoNumber;
    for (const Json* row : full_rows(values)) {
      const Json& scores = object_of(object_of(*row, "subsets"), name.c_str());
      images = number_of(scores, "images");
      cells += fmt::format("<td>{}</td>", format_share(number_of(scores, "top1")));
    }
    rows += fmt::format(R"(<tr><th scope="row">{}</th><td>{}</td>{}</tr>)", escape_html(name),
                        format_count(images), cells);
  }
  return card("Top-1 by platform, season and hemisphere", "with all labels", head, rows);
}

std::string classes_card(const Json& values) {
  const std::vector<const Json*> full = full_rows(values);
  const Json& names = array_of(values, "class_names");
  if (full.empty() || names.empty()) return {};
  std::string head = R"(<th scope="col">Class</th><th scope="col">Share of the test</th>)";
  for (const Json* row : full) head += head_cell(method_title(text_of(*row, "method")));
  std::string rows;
  const auto entry = [](const Json& list, size_t index) {
    const bool is_number = index < list.size() && list[index].is_number();
    return is_number ? list[index].get<double>() : kNoNumber;
  };
  for (size_t c = 0; c < names.size(); ++c) {
    std::string cells;
    for (const Json* row : full) {
      cells += fmt::format("<td>{}</td>", format_share(entry(array_of(*row, "recall"), c)));
    }
    rows += fmt::format(R"(<tr><th scope="row" class="wrap">{}</th><td>{}</td>{}</tr>)",
                        escape_html(names[c].is_string() ? names[c].get<std::string>() : ""),
                        format_share(entry(array_of(values, "prior"), c)), cells);
  }
  return fmt::format(
      R"(<div class="card wide"><details><summary>Recall of each of {} classes</summary><div class="table-wrap" tabindex="0" role="region" aria-label="Recall of each class"><table><thead><tr>{}</tr></thead><tbody>{}</tbody></table></div></details></div>)",
      names.size(), head, rows);
}

std::string lead_of(const Json& values) {
  return fmt::format("{} classes, {} test chips of {} granules",
                     format_count(number_of(values, "classes")),
                     format_count(number_of(values, "test_images")),
                     format_count(number_of(values, "test_granules")));
}

// The frozen probe's, where the comparison has it. `index` counts the page's comparisons.
std::string confusion_cards(const CloudResult& result, size_t index, int& num_charts) {
  const Confusion confusion = confusion_of(result);
  if (confusion.classes.empty()) return {};
  ++num_charts;
  const std::string of_whom = ": " + method_title("probe");
  return confusion_card(confusion, of_whom, fmt::format(R"(data-clouds="{}")", index),
                        "the test chips, by the probe with all labels") +
         mistakes_card(confusion, of_whom, "");
}

std::string result_html(const RunDirectory& run, const CloudResult& result, size_t index,
                        int& num_charts) {
  const Json& values = result.values;
  const Json& table = array_of(values, "table");
  std::string html = fmt::format(
      R"(<section{} aria-label="Cloud classes"><div class="section-head"><h2>Cloud classes: {}</h2><p class="lead">{}</p></div>)",
      index == 0 ? R"( id="clouds")" : "", escape_html(run.name), escape_html(lead_of(values)));
  std::vector<std::string> notes;
  const std::string derived = text_of(values, "derived");
  if (!derived.empty()) {
    notes.push_back("The labels are derived from known fields (" + derived +
                    "). They show that the pipeline works and say nothing about clouds.");
  }
  const double synthetic = number_of(values, "synthetic");
  if (synthetic > 0) {
    notes.push_back("Synthetic granules in this comparison: " + format_count(synthetic) +
                    ". They show that the pipeline works and say nothing about clouds.");
  }
  const double seen = number_of(values, "test_chips_seen");
  if (seen > 0) {
    notes.push_back(format_count(seen) +
                    " of the test chips were among those that the encoder was pretrained on.");
  }
  html += warnings_notice(notes);
  html += R"(<div class="grid">)";
  html += fractions_card(table, score_columns()[0]);
  html += fractions_card(table, score_columns()[2]);
  html += scores_card(values) + confusion_cards(result, index, num_charts);
  html += physics_card(values) + subsets_card(values) + classes_card(values);
  return html + "</div></section>";
}

}  // namespace

Section clouds_section(const std::vector<RunDirectory>& runs) {
  Section section{"clouds", "Cloud classes", "", 0};
  size_t index = 0;
  for (const RunDirectory& run : runs) {
    for (const CloudResult& result : run.clouds) {
      section.html += result_html(run, result, index++, section.num_charts);
    }
  }
  return section;
}

}  // namespace swath::bench
