// From arguments to a typed options struct, and from results and errors to exit codes.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "core/config.h"
#include "core/json.h"

namespace swath::apps {

// Every command's result: what --json prints, and what a person reads.
struct Outcome {
  Json json = Json::object();
  std::string text;  // for people, on stdout; not printed with --json
  int exit_code = 0;
};

// What the parser needs to know of one command.
struct CommandSyntax {
  std::string name;
  std::string summary;                   // one line
  std::string example;                   // shown under --help
  std::vector<std::string> positionals;  // names, in order; "RUN..." takes the rest
};

struct Arguments {
  std::vector<std::string> positionals;
  bool json = false;
  bool overwrite = false;
  bool help = false;
};

// The settings of a recipe, as TOML: at its full size, and what --scale-down changes (empty: it has
// no such form).
struct RecipeText {
  std::string full;
  std::string scale_down;
};

// Parses `arguments` (without program and command): applies a recipe's or --config's TOML, then
// --set and field options in the order given, onto the table's targets. `recipe_text` maps a first
// positional to TOML when the command takes a recipe. Throws UsageError. Prints --help itself and
// sets Arguments::help.
Arguments parse_arguments(const CommandSyntax& syntax, const std::vector<std::string>& arguments,
                          FieldTable& fields,
                          const std::function<RecipeText(const std::string&)>& recipe_text = {});

}  // namespace swath::apps
