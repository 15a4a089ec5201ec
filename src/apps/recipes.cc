#include "apps/recipes.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <filesystem>
#include <sstream>

#include "apps/commands.h"
#include "core/error.h"
#include "core/files.h"

namespace swath::apps {

// Written by the build from recipes/*.toml and recipes/scale_down/*.toml: name and text of each.
extern const std::vector<std::pair<const char*, const char*>> kRecipeFiles;
extern const std::vector<std::pair<const char*, const char*>> kScaleDownFiles;

namespace {

Recipe parse_recipe(const std::string& name, const std::string& toml) {
  Recipe recipe;
  recipe.name = name;
  recipe.toml = toml;
  for (const auto& [of, text] : kScaleDownFiles) {
    if (of == name) recipe.scale_down = text;
  }
  const std::pair<const char*, std::string*> fields[] = {{"summary", &recipe.summary},
                                                         {"command", &recipe.command},
                                                         {"hardware", &recipe.hardware},
                                                         {"time", &recipe.time},
                                                         {"expect", &recipe.expect}};
  std::istringstream lines(toml);
  for (std::string line; std::getline(lines, line) && line.starts_with('#');) {
    for (const auto& [key, target] : fields) {
      const std::string head = fmt::format("# {}: ", key);
      if (line.starts_with(head)) *target = line.substr(head.size());
    }
  }
  return recipe;
}

}  // namespace

const std::vector<Recipe>& recipes() {
  static const std::vector<Recipe> all = [] {
    std::vector<Recipe> parsed;
    for (const auto& [name, text] : kRecipeFiles) parsed.push_back(parse_recipe(name, text));
    return parsed;
  }();
  return all;
}

Recipe find_recipe(const std::string& name_or_path) {
  for (const Recipe& recipe : recipes()) {
    if (recipe.name == name_or_path) return recipe;
  }
  if (std::filesystem::is_regular_file(name_or_path)) {
    return parse_recipe(name_or_path, read_file(name_or_path));
  }
  std::vector<std::string> names;
  for (const Recipe& recipe : recipes()) names.push_back(recipe.name);
  throw UsageError(fmt::format("`{}` is neither a recipe nor a TOML file.", name_or_path),
                   fmt::format("recipes: {}.", fmt::join(names, ", ")));
}

Outcome run_recipes(const CommandSyntax& syntax, const Words& words) {
  FieldTable no_fields;
  const Arguments arguments = parse_arguments(syntax, words, no_fields);
  Outcome outcome;
  if (arguments.help) return outcome;
  if (!arguments.positionals.empty()) {
    const Recipe recipe = find_recipe(arguments.positionals.front());
    outcome.text = recipe.toml;
    outcome.json = {{"name", recipe.name}, {"toml", recipe.toml}};
    return outcome;
  }
  outcome.json["recipes"] = Json::array();
  for (const Recipe& recipe : recipes()) {
    outcome.json["recipes"].push_back({{"name", recipe.name},
                                       {"summary", recipe.summary},
                                       {"command", recipe.command},
                                       {"hardware", recipe.hardware},
                                       {"time", recipe.time},
                                       {"expect", recipe.expect}});
    outcome.text += fmt::format("{}\n  {}\n  {}\n  on {}; {}; {}\n\n", recipe.name, recipe.summary,
                                recipe.command, recipe.hardware, recipe.time, recipe.expect);
  }
  outcome.text += "`swath recipes NAME` prints one; save and edit it to make your own.";
  return outcome;
}

}  // namespace swath::apps
