#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "bench/report/confusion_cards.h"
#include "bench/report/html.h"
#include "bench/report/sections.h"

namespace swath::bench {
namespace {

// A table of more classes than this is folded.
constexpr size_t kMostOpenClasses = 12;

bool has_history(const ProbeGroup& group, const char* key) {
  return std::any_of(group.probes.begin(), group.probes.end(), [key](const ProbeOfRun& source) {
    const Json& history = array_of(source.probe->values, "history");
    return std::any_of(history.begin(), history.end(),
                       [key](const Json& row) { return !std::isnan(number_of(row, key)); });
  });
}

bool has_few_shot(const ProbeGroup& group) {
  return std::any_of(group.probes.begin(), group.probes.end(), [](const ProbeOfRun& source) {
    const Json& rows = array_of(source.probe->values, "few_shot");
    return std::any_of(rows.begin(), rows.end(),
                       [](const Json& row) { return !std::isnan(number_of(row, "top1")); });
  });
}

std::string data_line(const ProbeGroup& group) {
  const Json& values = group.probes.front().probe->values;
  std::string text;
  const auto add = [&](const char* key, const char* what) {
    const double number = number_of(values, key);
    if (std::isnan(number)) return;
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", format_count(number), what);
  };
  add("classes", "classes");
  add("train_images", "training images");
  add("test_images", "test images");
  add("repeats", "splits averaged; the confusion matrix adds them up");
  return text;
}

// Which columns the table of methods has.
struct MethodColumns {
  bool has_balanced = false;
  bool has_best = false;
  bool has_top5 = false;
};

// "79.0 % (77.1–80.9)" or "79.0 % ± 0.4".
std::string score_cell(const ProbeMethod& method) {
  std::string text = format_share(method.top1);
  if (!std::isnan(method.top1_std)) {
    text += fmt::format(R"( <span class="muted">± {:.1f}</span>)", 100 * method.top1_std);
  } else if (!std::isnan(method.low)) {
    text += fmt::format(R"html( <span class="muted interval">({:.1f}–{:.1f})</span>)html",
                        100 * method.low, 100 * method.high);
  }
  return text;
}

std::string method_row(const ProbeMethod& method, const MethodColumns& columns, bool one_run) {
  const int color = method.is_baseline ? 8 : one_run ? 1 : method.run % 8 + 1;
  const std::string best_mark =
      std::isnan(method.best_top1)
          ? ""
          : fmt::format(R"html(<b style="left:calc({:.2f}% - 1px)"></b>)html",
                        100 * method.best_top1);
  std::string cells;
  const auto add = [&cells](const std::string& text) { cells += fmt::format("<td>{}</td>", text); };
  if (columns.has_balanced) add(format_share(method.balanced_accuracy));
  if (columns.has_best) {
    std::string best = format_share(method.best_top1);
    if (method.best_epoch >= 0 && !std::isnan(method.best_top1)) {
      best += fmt::format(R"( <span class="muted">at {}</span>)", method.best_epoch);
    }
    add(best);
  }
  if (columns.has_top5) add(format_share(method.top5));
  return fmt::format(
      R"(<tr class="{}"><th scope="row">{}</th><td>{}</td><td class="bar-cell"><div class="bar" aria-hidden="true"><i class="fill-{}" style="width:{:.2f}%"></i>{}</div></td>{}</tr>)",
      method.is_baseline ? "baseline" : "ours", escape_html(method.name), score_cell(method), color,
      100 * method.top1, best_mark, cells);
}

std::string methods_table(const ProbeGroup& group, bool one_run) {
  const auto any = [&](double ProbeMethod::* column) {
    return std::any_of(group.methods.begin(), group.methods.end(),
                       [column](const ProbeMethod& m) { return !std::isnan(m.*column); });
  };
  const MethodColumns columns = {any(&ProbeMethod::balanced_accuracy), any(&ProbeMethod::best_top1),
                                 any(&ProbeMethod::top5)};
  std::string rows;
  for (const ProbeMethod& method : group.methods) rows += method_row(method, columns, one_run);
  std::string note = "bar: top-1";
  if (columns.has_best) note += " after the last epoch, with a mark at the best";
  if (any(&ProbeMethod::top1_std)) note += "; ± standard deviation over splits";
  if (any(&ProbeMethod::low)) note += "; in brackets: 95 % interval over test images";
  std::string head;
  if (columns.has_balanced) head += R"(<th scope="col">Balanced</th>)";
  if (columns.has_best) head += R"(<th scope="col">Best epoch</th>)";
  if (columns.has_top5) head += R"(<th scope="col">Top-5</th>)";
  return fmt::format(
      R"(<div class="card wide"><div class="card-head"><h3>Methods compared</h3><p>{}</p></div><div class="table-wrap" tabindex="0" role="region" aria-label="Accuracy of each method"><table class="bars"><thead><tr><th scope="col">Method</th><th scope="col">Top-1</th><th scope="col" class="text"><span class="muted">0 to 100 %</span></th>{}</tr></thead><tbody>{}</tbody></table></div></div>)",
      note, head, rows);
}

// The probe of single pixels: mean intersection over union of each method, and of each class.
std::string pixels_card(const Json& pixels, const std::string& of_whom) {
  std::string rows;
  for (const Json& method : array_of(pixels, "methods")) {
    const bool is_baseline = method.value("baseline", false);
    const double mean_iou = number_of(method, "mean_iou");
    rows += fmt::format(
        R"(<tr class="{}"><th scope="row">{}</th><td>{}</td><td class="bar-cell"><div class="bar" aria-hidden="true"><i class="fill-{}" style="width:{:.2f}%"></i></div></td><td>{}</td></tr>)",
        is_baseline ? "baseline" : "ours", escape_html(text_of(method, "name")),
        format_share(mean_iou), is_baseline ? 8 : 1, std::isnan(mean_iou) ? 0 : 100 * mean_iou,
        format_share(number_of(method, "pixel_accuracy")));
  }
  std::string classes;
  for (const Json& entry : array_of(pixels, "iou")) {
    classes +=
        fmt::format(R"(<tr><th scope="row" class="wrap">{}</th><td>{}</td></tr>)",
                    escape_html(text_of(entry, "name")), format_share(number_of(entry, "iou")));
  }
  return fmt::format(
      R"(<div class="card wide"><div class="card-head"><h3>A class for each pixel{}</h3><p>linear probe on patch tokens; bar: mean intersection over union</p></div><div class="table-wrap" tabindex="0" role="region" aria-label="Scores of the pixel probe"><table class="bars"><thead><tr><th scope="col">Features</th><th scope="col">Mean IoU</th><th scope="col" class="text"><span class="muted">0 to 100 %</span></th><th scope="col">Pixels right</th></tr></thead><tbody>{}</tbody></table></div><details><summary>Each class</summary><table><thead><tr><th scope="col">Class</th><th scope="col">IoU</th></tr></thead><tbody>{}</tbody></table></details></div>)",
      escape_html(of_whom), rows, classes);
}

std::string chart_card(const std::string& title, const std::string& note, const char* chart,
                       const std::string& attributes, const std::string& label, bool wide) {
  return fmt::format(
      R"(<figure class="card{}"><figcaption class="card-head"><h3>{}</h3><p>{}</p></figcaption><div class="chart" data-chart="{}" {} role="img" aria-label="{}"></div></figure>)",
      wide ? " wide" : "", escape_html(title), escape_html(note), chart, attributes,
      escape_html(label));
}

std::string class_table(const std::vector<ClassScore>& scores) {
  std::vector<ClassScore> sorted = scores;
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const ClassScore& a, const ClassScore& b) { return a.recall < b.recall; });
  std::string rows;
  for (const ClassScore& score : sorted) {
    rows += fmt::format(
        R"(<tr><th scope="row" class="wrap">{}</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>)",
        escape_html(score.name), format_count(score.images), format_share(score.recall),
        format_share(score.precision), format_share(score.f1));
  }
  return fmt::format(
      R"(<details{}><summary>All {} classes <span class="muted">weakest first</span></summary><div class="table-wrap" tabindex="0" role="region" aria-label="Scores of each class"><table><thead><tr><th scope="col">Class</th><th scope="col">Images</th><th scope="col">Recall</th><th scope="col">Precision</th><th scope="col">F1</th></tr></thead><tbody>{}</tbody></table></div></details>)",
      scores.size() <= kMostOpenClasses ? " open" : "", scores.size(), rows);
}

std::string group_html(const ProbeGroup& group, size_t index, bool one_run, int& num_charts) {
  const std::string group_attribute = fmt::format(R"(data-group="{}")", index);
  std::string cards = methods_table(group, one_run);

  struct Chart {
    bool is_there;
    const char* chart;
    const char* title;
    const char* note;
  };
  const std::vector<Chart> charts = {
      {has_history(group, "top1"), "probe_curve", "Accuracy over the probe's epochs",
       "ring: best epoch; grey: baselines"},
      {has_few_shot(group), "few_shot", "With few labels",
       "convex probe; bars: draws of the labels"},
      {has_history(group, "train_loss") || has_history(group, "test_loss"), "probe_loss",
       "Loss of the probe", ""},
  };
  const auto count = std::count_if(charts.begin(), charts.end(),
                                   [](const Chart& chart) { return chart.is_there; });
  num_charts += static_cast<int>(count);
  int drawn = 0;
  for (const Chart& chart : charts) {
    if (!chart.is_there) continue;
    const bool is_odd_last = ++drawn == count && count % 2 == 1;
    cards += chart_card(chart.title, chart.note, chart.chart, group_attribute,
                        fmt::format("{} on {}", chart.title, group.dataset), is_odd_last);
  }
  for (size_t p = 0; p < group.probes.size(); ++p) {
    const ProbeOfRun& source = group.probes[p];
    const Confusion confusion = confusion_of(*source.probe);
    const std::vector<ClassScore> scores = class_scores(*source.probe);
    const std::string of_whom = group.probes.size() > 1 ? ": " + source.label : std::string();
    const Json& pixels = object_of(source.probe->values, "pixels");
    if (!pixels.empty()) cards += pixels_card(pixels, of_whom);
    if (!confusion.classes.empty()) {
      ++num_charts;
      cards +=
          confusion_card(confusion, of_whom,
                         fmt::format(R"({} data-probe="{}")", group_attribute, p), group.dataset);
      cards += mistakes_card(confusion, of_whom, class_table(scores));
    } else if (!scores.empty()) {
      cards += fmt::format(
          R"(<div class="card wide"><div class="card-head"><h3>Classes{}</h3></div>{}</div>)",
          escape_html(of_whom), class_table(scores));
    }
  }
  return fmt::format(
      R"(<div class="section-head"><h2>{}</h2><p class="lead">{}</p></div><div class="grid">{}</div>)",
      escape_html("Probe on " + group.dataset), escape_html(data_line(group)), cards);
}

}  // namespace

Section probe_section(const std::vector<ProbeGroup>& groups) {
  Section section{"probe", "Probe", "", 0};
  int highest_run = 0;
  for (const ProbeGroup& group : groups) {
    for (const ProbeOfRun& source : group.probes) highest_run = std::max(highest_run, source.run);
  }
  for (size_t g = 0; g < groups.size(); ++g) {
    section.html +=
        fmt::format(R"(<section{} aria-label="{}">{}</section>)", g == 0 ? R"( id="probe")" : "",
                    escape_html("Probe on " + groups[g].dataset),
                    group_html(groups[g], g, highest_run == 0, section.num_charts));
  }
  return section;
}

}  // namespace swath::bench
