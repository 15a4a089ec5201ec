// swath bench sweep: one benchmark over a table of strategies, prefetch choices, limits and ranks.
#pragma once

#include "apps/commands.h"

namespace swath::apps {

// Runs each case as ranks of this host and keeps its result as a file of the output directory, so
// that a sweep that was stopped goes on where it was. Writes sweep.csv and sweep.json after each.
Outcome run_sweep(const CommandSyntax& syntax, const Words& words);

}  // namespace swath::apps
