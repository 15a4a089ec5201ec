// Pretraining as a function, for the commands `pretrain` and `demo`.
#pragma once

#include <filesystem>

#include "apps/pretrain_options.h"
#include "core/json.h"

namespace swath::apps {

// Trains as the options say, into a run directory: config.toml, log.jsonl, events, checkpoints,
// reconstruct.png and report.html. Fills in what the options leave to the data (normalisation,
// epochs of fit_minutes). Returns the result that `--json` prints.
Json pretrain(PretrainOptions options, const std::string& command, bool overwrite);

}  // namespace swath::apps
