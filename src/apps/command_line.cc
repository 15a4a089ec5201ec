#include "apps/command_line.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <set>

#include "core/error.h"
#include "core/files.h"

namespace swath::apps {
namespace {

// Options that every command has; no field may shorten itself to one of them.
const std::set<std::string> kCommonOptions = {"config", "set", "json", "overwrite", "help"};

// A setting as it was given, in order: the last one wins.
struct Setting {
  std::string key;
  std::string value;
};

std::string last_part(const std::string& key) { return key.substr(key.rfind('.') + 1); }

// `--data.root`; also `--root` when no other field ends so, `--skip-bad` for skip_bad, and the
// field's own short name.
// The names a field has on the command line, with their dashes.
std::set<std::string> option_names(const Field& field, const FieldTable& table) {
  std::vector<std::string> names = {field.key()};
  const std::string last = last_part(field.key());
  const auto same =
      std::count_if(table.fields().begin(), table.fields().end(), [&](const Field& other) {
        return last_part(other.key()) == last || other.flag_name() == last;
      });
  if (same == 1 && !kCommonOptions.contains(last)) names.push_back(last);
  std::set<std::string> unique;
  // Two components of one command may want the same short name: then neither has it.
  const auto same_flag =
      std::count_if(table.fields().begin(), table.fields().end(),
                    [&](const Field& other) { return other.flag_name() == field.flag_name(); });
  if (field.flag_name().size() == 1 && same_flag == 1) {
    unique.insert("-" + field.flag_name());
  } else if (!field.flag_name().empty() && same_flag == 1) {
    names.push_back(field.flag_name());
  }
  for (std::string name : names) {
    unique.insert("--" + name);
    std::replace(name.begin(), name.end(), '_', '-');
    unique.insert("--" + name);
  }
  return unique;
}

// A switch stands alone or before true or false; what else follows it is an argument of its own.
std::vector<std::string> with_switch_values(std::vector<std::string> arguments,
                                            const FieldTable& table) {
  std::set<std::string> switches;
  for (const Field& field : table.fields()) {
    if (field.is_switch()) switches.merge(option_names(field, table));
  }
  for (size_t i = 0; i < arguments.size(); ++i) {
    if (!switches.contains(arguments[i])) continue;
    const std::string next = i + 1 < arguments.size() ? arguments[i + 1] : "";
    if (next != "true" && next != "false") arguments[i] += "=true";
  }
  return arguments;
}

void add_field_option(CLI::App& app, const Field& field, const FieldTable& table,
                      std::vector<Setting>* settings) {
  const std::string help =
      fmt::format("{} [{}] ({})", field.help(), field.value_text(), field.type_text());
  const auto store = [key = field.key(), settings](const CLI::results_t& values) {
    settings->push_back({key, values.back()});
    return true;
  };
  const std::string names = fmt::format("{}", fmt::join(option_names(field, table), ","));
  CLI::Option* option = app.add_option(names, store, help)->expected(1);
  option->take_last()->type_name("")->group("Settings");
}

void apply_recipe(const std::string& name, const RecipeText& recipe, bool scale_down,
                  FieldTable& fields) {
  fields.apply_toml(recipe.full, name);
  if (!scale_down) return;
  if (recipe.scale_down.empty()) {
    throw UsageError(fmt::format("recipe {} has no scaled-down form.", name),
                     "leave --scale-down out, and set a smaller model and batch by hand.");
  }
  fields.apply_toml(recipe.scale_down, name + " --scale-down");
}

void check_number_of_positionals(const CommandSyntax& syntax,
                                 const std::vector<std::string>& given) {
  const std::vector<std::string>& names = syntax.positionals;
  if (given.size() <= names.size() || (!names.empty() && names.back().ends_with("..."))) return;
  const std::string& first = given[names.size()];
  throw UsageError(
      fmt::format("{} takes {} besides options, got `{}` too.", syntax.name,
                  names.empty() ? "nothing" : fmt::format("{}", fmt::join(names, " ")), first),
      first.find('=') != std::string::npos
          ? fmt::format("a setting is given as `--set {}`.", first)
          : fmt::format("`swath {} --help` lists the options.", syntax.name));
}

}  // namespace

Arguments parse_arguments(const CommandSyntax& syntax, const std::vector<std::string>& arguments,
                          FieldTable& fields,
                          const std::function<RecipeText(const std::string&)>& recipe_text) {
  CLI::App app(syntax.summary, "swath " + syntax.name);
  app.footer("Example:\n  " + syntax.example);
  Arguments parsed;
  std::vector<std::string> config_files;
  std::vector<std::string> assignments;
  std::vector<Setting> settings;
  bool scale_down = false;
  if (!syntax.positionals.empty()) {
    std::string names;
    for (const std::string& name : syntax.positionals) names += (names.empty() ? "" : " ") + name;
    app.add_option(names, parsed.positionals);
  }
  app.add_option("--config", config_files, "settings from a TOML file (repeatable)")
      ->type_name("FILE");
  app.add_option("--set", assignments, "one setting, key=value (repeatable)")
      ->type_name("KEY=VALUE")
      ->expected(1)
      ->take_all();
  if (recipe_text) {
    app.add_flag("--scale-down", scale_down, "the recipe at a size that runs on two cores");
  }
  app.add_flag("--json", parsed.json, "print one JSON object as the last line of stdout");
  app.add_flag("--overwrite", parsed.overwrite, "replace results that are there");
  for (const Field& field : fields.fields()) {
    if (kCommonOptions.contains(field.key())) continue;  // `--overwrite` is Arguments::overwrite
    add_field_option(app, field, fields, &settings);
  }
  try {
    // CLI11 wants the arguments in reverse.
    std::vector<std::string> words = with_switch_values(arguments, fields);
    std::reverse(words.begin(), words.end());
    app.parse(std::move(words));
  } catch (const CLI::CallForHelp&) {
    std::fputs(app.help().c_str(), stdout);
    parsed.help = true;
    return parsed;
  } catch (const CLI::ParseError& error) {
    throw UsageError(fmt::format("{}: {}", syntax.name, error.what()),
                     fmt::format("`swath {} --help` lists the options.", syntax.name));
  }
  check_number_of_positionals(syntax, parsed.positionals);
  if (recipe_text && !parsed.positionals.empty()) {
    const std::string& name = parsed.positionals.front();
    apply_recipe(name, recipe_text(name), scale_down, fields);
  } else if (scale_down) {
    throw UsageError(
        fmt::format("{}: --scale-down is about a recipe, and none is named.", syntax.name));
  }
  for (const std::string& file : config_files) fields.apply_toml(read_file(file), file);
  for (const std::string& assignment : assignments) fields.apply_setting(assignment);
  for (const Setting& setting : settings) {
    fields.find(setting.key)->set(setting.value, "--" + setting.key);
  }
  return parsed;
}

}  // namespace swath::apps
