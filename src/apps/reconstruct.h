// Reconstruction pictures as a function, for `reconstruct`, `pretrain` and `demo`.
#pragma once

#include <filesystem>

#include "apps/trained_model.h"
#include "core/json.h"
#include "eval/reconstruct.h"

namespace swath::apps {

// Writes `directory`/reconstruct.png: images of `dataset` as a trained MAE completes them.
Json reconstruct(const TrainedModel& trained, const std::shared_ptr<const data::Dataset>& dataset,
                 const eval::ReconstructOptions& options, c10::Device device,
                 const std::filesystem::path& directory);

}  // namespace swath::apps
