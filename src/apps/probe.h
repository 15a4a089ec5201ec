// Probing as a function, for the commands `probe` and `demo`.
#pragma once

#include <filesystem>
#include <string>

#include "apps/labelled_sets.h"
#include "apps/pretrain_options.h"
#include "core/json.h"
#include "eval/probe.h"

namespace swath::apps {

struct ProbeCommandOptions {
  RunOptions run;
  std::string weights = "model";
  int64_t image_size = 0;
  std::string position = "resample";
  LabelledOptions sets;
  int64_t repeats = 1;
  eval::ProbeOptions probe;

  void describe(FieldTable& fields);
};

// Probes the checkpoint at `path`; writes probe.json into `directory`. Returns its content: the
// splits' reports as eval::merge_repeats makes one of them.
Json probe(const std::string& path, const ProbeCommandOptions& options,
           const std::filesystem::path& directory);

}  // namespace swath::apps
