// A confusion matrix as the page shows it: the matrix itself, which is a chart, and a table of the
// most frequent mistakes.
#pragma once

#include <string>

#include "bench/report/probe_groups.h"

namespace swath::bench {

// `attributes` tell assets/program.js which matrix to draw; `of_whom` goes behind the title, and
// `of_what` says in words where the numbers come from. Texts are plain.
std::string confusion_card(const Confusion& confusion, const std::string& of_whom,
                           const std::string& attributes, const std::string& of_what);

// `more`: HTML behind the table.
std::string mistakes_card(const Confusion& confusion, const std::string& of_whom,
                          const std::string& more);

}  // namespace swath::bench
