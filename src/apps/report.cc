#include "bench/report/report.h"

#include "apps/commands.h"

namespace swath::apps {

Outcome run_report(const CommandSyntax& syntax, const Words& words) {
  bench::ReportOptions options;
  FieldTable fields = make_field_table(options);
  const Arguments arguments = parse_arguments(syntax, words, fields);
  Outcome outcome;
  if (arguments.help) return outcome;
  options.overwrite |= arguments.overwrite;
  outcome.json =
      bench::write_report({arguments.positionals.begin(), arguments.positionals.end()}, options);
  outcome.text = outcome.json.at("report").get<std::string>();
  return outcome;
}

}  // namespace swath::apps
