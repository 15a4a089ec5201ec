#include "bench/report/confusion_cards.h"

#include <fmt/format.h>

#include "bench/report/html.h"

namespace swath::bench {
namespace {

constexpr size_t kMostMistakes = 6;
// The matrix of more classes than this takes the whole width.
constexpr size_t kMostNarrowClasses = 16;

const char* width_class(const Confusion& confusion) {
  return confusion.classes.size() > kMostNarrowClasses ? " wide" : "";
}

std::string mistakes_table(const Confusion& confusion) {
  std::string rows;
  for (const Mistake& mistake : worst_mistakes(confusion, kMostMistakes)) {
    rows += fmt::format(
        R"(<tr><th scope="row" class="wrap">{}</th><td class="text wrap">{}</td><td>{}</td><td>{}</td></tr>)",
        escape_html(mistake.truth), escape_html(mistake.prediction), format_count(mistake.count),
        format_share(mistake.share));
  }
  if (rows.empty()) return "<p>No mistakes.</p>";
  return fmt::format(
      R"(<div class="table-wrap" tabindex="0" role="region" aria-label="Most frequent mistakes"><table><thead><tr><th scope="col">Is</th><th scope="col" class="text">Taken for</th><th scope="col">Images</th><th scope="col">Share</th></tr></thead><tbody>{}</tbody></table></div>)",
      rows);
}

}  // namespace

std::string confusion_card(const Confusion& confusion, const std::string& of_whom,
                           const std::string& attributes, const std::string& of_what) {
  return fmt::format(
      R"(<figure class="card whole-page{}"><figcaption class="card-head"><h3>Confusion matrix{}</h3><p>rows: truth; columns: prediction; shade: share of the row, %</p></figcaption><div class="chart square" data-chart="confusion" {} role="img" aria-label="{}"></div></figure>)",
      width_class(confusion), escape_html(of_whom), attributes,
      escape_html("Confusion matrix on " + of_what + "; its numbers are in the tables."));
}

std::string mistakes_card(const Confusion& confusion, const std::string& of_whom,
                          const std::string& more) {
  return fmt::format(
      R"(<div class="card whole-page{}"><div class="card-head"><h3>Most frequent mistakes{}</h3></div>{}{}</div>)",
      width_class(confusion), escape_html(of_whom), mistakes_table(confusion), more);
}

}  // namespace swath::bench
