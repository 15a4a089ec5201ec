#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "bench/report/html.h"
#include "bench/report/run_figures.h"
#include "bench/report/sections.h"

namespace swath::bench {
namespace {

// How far a run's method is above or below a baseline.
std::string against_baseline(double ours, double theirs, const std::string& baseline,
                             const PairedDifference& paired) {
  const double difference = ours - theirs;
  std::string interval;
  if (!std::isnan(paired.difference)) {
    interval =
        fmt::format(" (95 %: {} to {})", format_points(paired.low), format_points(paired.high));
  }
  return fmt::format(R"html(<span class="{}">{} points</span>{} against {} ({}))html",
                     difference > 0 ? "better" : "worse", format_points(difference), interval,
                     escape_html(baseline), format_share(theirs));
}

// Top-1 and balanced accuracy, in which a rare class counts as much as a common one.
std::string accuracy_tiles(const ProbeGroup& group, bool is_first) {
  const ProbeMethod* method = headline_method(group, 0);
  if (method == nullptr) return {};
  const ProbeMethod* baseline = best_baseline(group);
  const PairedDifferences paired = paired_differences(group, 0);
  std::string html;
  const auto add = [&](const std::string& title, double ProbeMethod::* score,
                       const PairedDifference& difference) {
    if (std::isnan(method->*score)) return;
    const bool is_compared = baseline != nullptr && !std::isnan(baseline->*score);
    html += tile(
        title + " on " + escape_html(group.dataset), format_share(method->*score),
        is_compared ? against_baseline(method->*score, baseline->*score, baseline->name, difference)
                    : std::string(),
        is_first && html.empty());
  };
  add("Top-1", &ProbeMethod::top1, paired.top1);
  add("Balanced accuracy", &ProbeMethod::balanced_accuracy, paired.balanced_accuracy);
  return html;
}

std::string model_note(const Json& model) {
  std::string note;
  const auto add = [&note](const std::string& part) { note += (note.empty() ? "" : ", ") + part; };
  const double parameters = number_of(model, "parameters");
  if (!std::isnan(parameters)) add(format_large(parameters) + " parameters");
  if (!std::isnan(number_of(model, "width")))
    add("width " + format_count(number_of(model, "width")));
  if (!std::isnan(number_of(model, "depth")))
    add(format_count(number_of(model, "depth")) + " blocks");
  return note;
}

std::string tiles(const RunDirectory& run, const std::vector<ProbeGroup>& groups) {
  const RunFigures figures = figures_of(run);
  const auto has = [](double value) { return !std::isnan(value); };
  std::string html;
  for (const ProbeGroup& group : groups) html += accuracy_tiles(group, html.empty());
  if (has(figures.final_loss)) {
    const std::string note =
        has(figures.first_loss) ? "from " + format_number(figures.first_loss, 3) : "";
    html += tile("Final loss", format_number(figures.final_loss, 3), note);
  }
  if (has(figures.images_per_second)) {
    const std::string note =
        has(figures.data_wait)
            ? "images/s, " + format_share(figures.data_wait) + " waiting for data"
            : "images/s";
    html += tile("Throughput", format_number(figures.images_per_second, 3), note);
  }
  if (has(figures.seconds)) {
    std::string note = format_count(figures.steps) + " steps";
    if (has(figures.epochs)) note += ", " + format_number(figures.epochs, 3) + " epochs";
    if (has(figures.epoch_seconds)) note += " of " + format_seconds(figures.epoch_seconds);
    html += tile("Training time", format_seconds(figures.seconds), note);
  }
  if (has(figures.peak_bytes)) {
    html += tile("Peak memory", format_bytes(figures.peak_bytes), "");
  }
  if (has(figures.mfu)) {
    html += tile("Share of peak compute", format_share(figures.mfu), share_of_what(run));
  }
  const Json model = run.run.value("model", Json::object());
  if (!text_of(model, "name").empty()) {
    html += tile("Model", escape_html(text_of(model, "name")), model_note(model));
  }
  return html.empty() ? "" : fmt::format(R"(<div class="tiles">{}</div>)", html);
}

// One row for each figure, one column for each run.
std::string comparison(const std::vector<RunDirectory>& runs,
                       const std::vector<ProbeGroup>& groups) {
  std::string head = R"(<th scope="col"><span class="muted">Run</span></th>)";
  for (size_t r = 0; r < runs.size(); ++r) {
    head += fmt::format(R"(<th scope="col"><span class="swatch run-{}"></span>{}</th>)", r % 8 + 1,
                        escape_html(runs[r].name));
  }
  std::string rows;
  const auto add_row = [&](const std::string& label, const auto& cell_of) {
    std::string cells;
    bool has_any = false;
    for (size_t r = 0; r < runs.size(); ++r) {
      const std::string cell = cell_of(r);
      has_any = has_any || (!cell.empty() && cell != "–");
      cells += fmt::format("<td>{}</td>", cell.empty() ? "–" : cell);
    }
    if (has_any) rows += fmt::format(R"(<tr><th scope="row">{}</th>{}</tr>)", label, cells);
  };
  std::vector<RunFigures> figures;
  figures.reserve(runs.size());
  for (const RunDirectory& run : runs) figures.push_back(figures_of(run));

  for (const ProbeGroup& group : groups) {
    add_row("Top-1 on " + escape_html(group.dataset), [&](size_t r) {
      const ProbeMethod* method = headline_method(group, static_cast<int>(r));
      if (method == nullptr) return std::string();
      const ProbeMethod* baseline = best_baseline(group);
      const std::string points =
          baseline == nullptr ? ""
                              : fmt::format(R"( <span class="{}">{}</span>)",
                                            method->top1 > baseline->top1 ? "better" : "worse",
                                            format_points(method->top1 - baseline->top1));
      return fmt::format("<strong>{}</strong>{}", format_share(method->top1), points);
    });
    if (best_baseline(group) != nullptr) {
      add_row(fmt::format(R"(<span class="muted">best baseline: {}</span>)",
                          escape_html(best_baseline(group)->name)),
              [&](size_t) {
                return fmt::format(R"(<span class="muted">{}</span>)",
                                   format_share(best_baseline(group)->top1));
              });
    }
  }
  add_row("Model", [&](size_t r) {
    return escape_html(text_of(runs[r].run.value("model", Json::object()), "name"));
  });
  add_row("Parameters", [&](size_t r) {
    return format_large(number_of(runs[r].run.value("model", Json::object()), "parameters"));
  });
  add_row("Steps", [&](size_t r) { return format_count(figures[r].steps); });
  add_row("Epochs", [&](size_t r) { return format_number(figures[r].epochs, 3); });
  add_row("Final loss", [&](size_t r) { return format_number(figures[r].final_loss, 4); });
  add_row("Images/s", [&](size_t r) { return format_number(figures[r].images_per_second, 3); });
  add_row("Waiting for data", [&](size_t r) { return format_share(figures[r].data_wait); });
  add_row("Share of peak compute", [&](size_t r) {
    if (std::isnan(figures[r].mfu)) return std::string();
    return fmt::format(R"({} <span class="muted">{}</span>)", format_share(figures[r].mfu),
                       share_of_what(runs[r]));
  });
  add_row("Training time", [&](size_t r) { return format_seconds(figures[r].seconds); });
  add_row("Time of an epoch", [&](size_t r) { return format_seconds(figures[r].epoch_seconds); });
  add_row("Peak memory", [&](size_t r) { return format_bytes(figures[r].peak_bytes); });
  add_row("State", [&](size_t r) { return escape_html(status_of(runs[r]).text); });
  return fmt::format(
      R"(<div class="card compare-card"><div class="table-wrap" tabindex="0" role="region" aria-label="Runs side by side"><table class="compare"><thead><tr>{}</tr></thead><tbody>{}</tbody></table></div></div>)",
      head, rows);
}

// "chips of Blue Marble, samples 18,432" for objects, the text itself otherwise.
std::string description(const Json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_object()) return text_of(object, key);
  std::string text;
  for (const auto& [name, value] : found->items()) {
    const std::string shown = value.is_number_integer() ? format_count(value.get<double>())
                                                        : text_of(*found, name.c_str());
    const std::string label = name == "description" ? "" : name + " ";
    text += fmt::format("{}{}{}", text.empty() ? "" : ", ", label, shown);
  }
  return text;
}

std::string facts(const RunDirectory& run, bool with_name) {
  std::string html;
  const auto add = [&html](const std::string& label, const std::string& value, bool wide = false) {
    if (value.empty()) return;
    html += fmt::format("<div{}><dt>{}</dt><dd>{}</dd></div>", wide ? R"( class="wide-fact")" : "",
                        label, value);
  };
  const RunStatus status = status_of(run);
  if (!run.steps.empty()) {
    add("State", fmt::format(R"(<span class="pill {}">{}</span>)",
                             status.is_finished ? "good" : "open", escape_html(status.text)));
  }
  const double started = time_of(run.run);
  if (!std::isnan(started)) {
    add(run.num_resumes > 0 ? "Last started" : "Started", format_time(started));
  }
  if (run.num_resumes > 0)
    add("Resumed", run.num_resumes == 1 ? "once" : fmt::format("{} times", run.num_resumes));
  add("Machine", escape_html(description(run.run, "machine")));
  add("Device", escape_html(description(run.run, "device")));
  add("Precision", escape_html(description(run.run, "precision")));
  if (!run.checkpoints.empty()) {
    add("Checkpoints", fmt::format("{}, the last at step {}", run.checkpoints.size(),
                                   format_count(number_of(run.checkpoints.back(), "step"))));
  }
  add("Data", escape_html(description(run.run, "data")));
  add("Batch size", escape_html(description(run.run, "batch_size")));
  add("Seed", escape_html(description(run.run, "seed")));
  add("Operators", escape_html(description(run.run, "ops")));
  const std::string commit = text_of(run.run, "commit");
  if (!commit.empty()) add("Commit", fmt::format("<code>{}</code>", escape_html(commit)));
  add("Directory", fmt::format("<code>{}</code>", escape_html(run.path.string())), true);
  const std::string command = text_of(run.run, "command");
  if (!command.empty()) {
    add("Command", fmt::format("<code>{}</code>", escape_html(command)), true);
  }
  const std::string title =
      with_name ? fmt::format("<h3>{}</h3>", escape_html(run.name)) : std::string();
  return fmt::format(R"(<div class="card facts">{}<dl>{}</dl></div>)", title, html);
}

std::string list_of(const std::vector<std::string>& lines) {
  std::string items;
  for (const std::string& line : lines) items += fmt::format("<li>{}</li>", escape_html(line));
  return fmt::format("<ul>{}</ul>", items);
}

std::string notices(const std::vector<RunDirectory>& runs) {
  std::vector<std::string> warnings;
  std::vector<std::string> missing;
  for (const RunDirectory& run : runs) {
    const std::string prefix = runs.size() > 1 ? run.name + ": " : std::string();
    if (run.num_non_finite > 0) {
      warnings.push_back(fmt::format(
          "{}the loss was not finite at {} logged steps, first at step {}.", prefix,
          run.num_non_finite, format_count(static_cast<double>(run.first_non_finite_step))));
    }
    for (const auto& [key, what] : {std::pair{"skipped_steps", "steps were not applied"},
                                    std::pair{"skipped_samples", "samples could not be used"}}) {
      const double count = number_of(run.end, key);
      if (count > 0) warnings.push_back(fmt::format("{}{} {}.", prefix, format_count(count), what));
    }
    warnings.insert(warnings.end(), run.warnings.begin(), run.warnings.end());
    for (const std::string& what : run.missing) missing.push_back(prefix + what);
  }
  std::string html = warnings_notice(warnings);
  if (!missing.empty()) {
    html += fmt::format(
        R"(<div class="notice quiet" role="note"><strong>Not in this report</strong>{}</div>)",
        list_of(missing));
  }
  return html;
}

}  // namespace

std::string warnings_notice(const std::vector<std::string>& warnings) {
  if (warnings.empty()) return {};
  return fmt::format(R"(<div class="notice" role="note"><strong>Mind this</strong>{}</div>)",
                     list_of(warnings));
}

std::string tile(const std::string& label, const std::string& value, const std::string& note,
                 bool leads) {
  return fmt::format(
      R"(<div class="tile{}"><div class="label">{}</div><div class="value">{}</div><div class="note">{}</div></div>)",
      leads ? " lead-tile" : "", label, value, note);
}

Section summary_section(const std::vector<RunDirectory>& runs,
                        const std::vector<ProbeGroup>& groups) {
  if (runs.empty()) return {"summary", "Summary", "", 0};
  std::string html = runs.size() == 1 ? tiles(runs.front(), groups) : comparison(runs, groups);
  html += notices(runs);
  std::string cards;
  for (const RunDirectory& run : runs) cards += facts(run, runs.size() > 1);
  html += fmt::format(R"(<div class="{}">{}</div>)", runs.size() > 1 ? "grid" : "single", cards);
  return {"summary", "Summary",
          fmt::format(R"(<section id="summary" class="summary" aria-label="Summary">{}</section>)",
                      html),
          0};
}

}  // namespace swath::bench
