// Few-shot classification on frozen features: no augmentation, nothing tuned per episode.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/config.h"
#include "core/json.h"
#include "eval/feature_set.h"

namespace swath::eval {

struct FewShotOptions {
  std::vector<int64_t> shots = {1, 5, 10, 20};  // training images per class
  int64_t episodes = 20;

  void describe(FieldTable& fields);
};

// The training images of one episode in the order in which they are taken, per class: ranked by the
// SHA-256 of "e<episode>:<class>/<file>", so that fewer shots are always a subset of more.
std::vector<std::vector<int64_t>> rank_for_episode(const std::vector<std::string>& names,
                                                   std::span<const int64_t> labels,
                                                   const std::vector<std::string>& class_names,
                                                   int64_t episode);

// {"shots": [{shots, images, class_mean: {mean, sd, interval}, logistic: ..., nearest: ...}],
//  "full": {images, class_mean, logistic, nearest}}: nearest class mean by cosine; logistic
// regression with C = 1; nearest neighbour by Euclidean distance. Each `mean` is over the episodes'
// top-1 on the whole test list, `interval` the range that holds 95 % of the episodes. A number of
// shots that some class cannot give is left out with a warning and listed under "left_out".
Json run_few_shot(const FeatureSet& train, const FeatureSet& test,
                  const std::vector<std::string>& class_names, const FewShotOptions& options);

}  // namespace swath::eval
