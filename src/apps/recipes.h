// Recipes: complete settings of a run, embedded in the program. The files are recipes/*.toml;
// recipes/scale_down/ holds, under the same name, what --scale-down changes so that the run fits
// two cores.
#pragma once

#include <string>
#include <vector>

namespace swath::apps {

// A recipe's head is a block of comment lines `# key: value`.
struct Recipe {
  std::string name;
  std::string toml;        // the whole file
  std::string scale_down;  // likewise; empty: it has no scaled-down form
  std::string summary;
  std::string command;
  std::string hardware;
  std::string time;
  std::string expect;  // the result to expect, and where it was measured
};

const std::vector<Recipe>& recipes();

// An embedded recipe by name, or a TOML file by path. Throws UsageError listing the names.
Recipe find_recipe(const std::string& name_or_path);

}  // namespace swath::apps
