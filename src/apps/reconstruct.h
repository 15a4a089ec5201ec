// Reconstruction pictures as a function, for `reconstruct`, `pretrain` and `demo`.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "apps/trained_model.h"
#include "core/json.h"
#include "eval/reconstruct.h"

namespace swath::apps {

struct ReconstructCommandOptions {
  RunOptions run;  // the seed chooses images and masks
  std::string weights = "model";
  data::DatasetOptions data;
  eval::ReconstructOptions pictures;
  std::shared_ptr<data::SkippedList> skipped;  // of unusable samples; none: only in the log

  void describe(FieldTable& fields);
};

// Writes `directory`/reconstruct.png: images of options.data as a trained model completes them.
Json reconstruct(const TrainedModel& trained, const ReconstructCommandOptions& options,
                 const std::filesystem::path& directory);

}  // namespace swath::apps
