// Every command of the program. Each takes the arguments behind its name; main turns what it throws
// into messages and exit codes.
#pragma once

#include <string>
#include <vector>

#include "apps/command_line.h"

namespace swath::apps {

using Words = std::vector<std::string>;

Outcome run_bench(const CommandSyntax& syntax, const Words& words);
Outcome run_chips(const CommandSyntax& syntax, const Words& words);
Outcome run_clouds(const CommandSyntax& syntax, const Words& words);
Outcome run_data(const CommandSyntax& syntax, const Words& words);
Outcome run_demo(const CommandSyntax& syntax, const Words& words);
Outcome run_demo_modis(const Words& words);  // those behind `demo modis`
Outcome run_doctor(const CommandSyntax& syntax, const Words& words);
Outcome run_embed(const CommandSyntax& syntax, const Words& words);
Outcome run_export(const CommandSyntax& syntax, const Words& words);
Outcome run_finetune(const CommandSyntax& syntax, const Words& words);
Outcome run_import(const CommandSyntax& syntax, const Words& words);
Outcome run_launch(const CommandSyntax& syntax, const Words& words);
Outcome run_models(const CommandSyntax& syntax, const Words& words);
Outcome run_pretrain(const CommandSyntax& syntax, const Words& words);
Outcome run_probe(const CommandSyntax& syntax, const Words& words);
Outcome run_recipes(const CommandSyntax& syntax, const Words& words);
Outcome run_reconstruct(const CommandSyntax& syntax, const Words& words);
Outcome run_report(const CommandSyntax& syntax, const Words& words);

struct Command {
  CommandSyntax syntax;
  Outcome (*run)(const CommandSyntax&, const Words&);
  // Whether it works together with the other ranks when it is started as one of many; the other
  // commands would each do the whole work, into the same files.
  bool works_as_ranks = false;
};

// In the order in which a user meets them.
const std::vector<Command>& commands();

}  // namespace swath::apps
