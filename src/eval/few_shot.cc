#include "eval/few_shot.h"

#include <algorithm>
#include <map>

#include "core/error.h"
#include "core/hash.h"
#include "core/log.h"
#include "eval/knn.h"
#include "eval/logistic.h"
#include "eval/metrics.h"

namespace swath::eval {
namespace {

constexpr double kFixedC = 1;

struct EpisodeScores {
  double class_mean = 0;
  double logistic = 0;
  double nearest = 0;
};

at::Tensor class_mean_scores(const at::Tensor& train, const at::Tensor& labels,
                             const at::Tensor& test, int64_t num_classes) {
  const at::Tensor sums = at::zeros({num_classes, train.size(1)}, at::kDouble)
                              .index_add_(0, labels, train.to(at::kDouble));
  // The cosine does not see the length, so the sum serves as the mean.
  const auto unit = [](const at::Tensor& rows) {
    return rows / rows.norm(2, 1, true).clamp_min(1e-30);
  };
  return unit(test.to(at::kDouble)).matmul(unit(sums).t()).to(at::kFloat).contiguous();
}

EpisodeScores score_episode(const at::Tensor& train, const at::Tensor& labels,
                            const FeatureSet& test, int64_t num_classes) {
  const auto truth = as_integers(test.labels_N);
  const auto top1 = [&](const at::Tensor& scores) {
    return fraction_of(is_among_top_k(as_floats(scores), truth, num_classes, 1));
  };
  EpisodeScores scores;
  scores.class_mean = top1(class_mean_scores(train, labels, test.features_ND, num_classes));
  scores.logistic =
      top1(LogisticProblem(train, labels, num_classes).solve(kFixedC).logits(test.features_ND));
  scores.nearest = top1(count_votes(find_neighbours(train, test.features_ND, 1, Metric::kEuclidean),
                                    labels, num_classes, 1));
  return scores;
}

Json summarize(const std::vector<EpisodeScores>& episodes, double EpisodeScores::* field) {
  std::vector<double> values;
  for (const EpisodeScores& scores : episodes) values.push_back(scores.*field);
  const MeanAndSd summary = mean_and_sd(values);
  return Json{{"mean", summary.mean},
              {"sd", summary.sd},
              {"interval", Json::array({quantile(values, 0.025), quantile(values, 0.975)})}};
}

}  // namespace

void FewShotOptions::describe(FieldTable& fields) {
  fields.add("shots", &shots, "training images per class").at_least(1).flag("shots");
  fields.add("episodes", &episodes, "draws of training images per number of shots").at_least(1);
}

std::vector<std::vector<int64_t>> rank_for_episode(const std::vector<std::string>& names,
                                                   std::span<const int64_t> labels,
                                                   const std::vector<std::string>& class_names,
                                                   int64_t episode) {
  std::vector<std::vector<std::pair<std::string, int64_t>>> keyed(class_names.size());
  for (size_t i = 0; i < names.size(); ++i) {
    const size_t slash = names[i].rfind('/');
    const std::string file = slash == std::string::npos ? names[i] : names[i].substr(slash + 1);
    const auto label = static_cast<size_t>(labels[i]);
    keyed[label].emplace_back(
        sha256_hex(fmt::format("e{}:{}/{}", episode, class_names[label], file)),
        static_cast<int64_t>(i));
  }
  std::vector<std::vector<int64_t>> ranked(class_names.size());
  for (size_t c = 0; c < keyed.size(); ++c) {
    std::sort(keyed[c].begin(), keyed[c].end());
    for (const auto& [key, index] : keyed[c]) ranked[c].push_back(index);
  }
  return ranked;
}

Json run_few_shot(const FeatureSet& train, const FeatureSet& test,
                  const std::vector<std::string>& class_names, const FewShotOptions& options) {
  const auto num_classes = static_cast<int64_t>(class_names.size());
  const auto labels = as_integers(train.labels_N);
  std::vector<int64_t> class_counts(class_names.size());
  for (const int64_t label : labels) {
    if (label < 0 || label >= num_classes) {
      throw Error(fmt::format("few-shot: label {} outside 0..{}.", label, num_classes - 1));
    }
    ++class_counts[static_cast<size_t>(label)];
  }
  const auto smallest = std::min_element(class_counts.begin(), class_counts.end());
  std::vector<int64_t> usable;
  Json left_out = Json::array();
  for (const int64_t shots : options.shots) {
    if (shots <= *smallest) {
      usable.push_back(shots);
      continue;
    }
    left_out.push_back(shots);
    log_warning(fmt::format("few-shot: {} shots left out: class {} has {} training images.", shots,
                            class_names[static_cast<size_t>(smallest - class_counts.begin())],
                            *smallest));
  }
  std::map<int64_t, std::vector<EpisodeScores>> scores_by_shots;
  for (int64_t episode = 0; episode < options.episodes; ++episode) {
    const auto ranked = rank_for_episode(train.names, labels, class_names, episode);
    for (const int64_t shots : usable) {
      std::vector<int64_t> chosen;
      for (const auto& images : ranked) {
        chosen.insert(chosen.end(), images.begin(), images.begin() + shots);
      }
      const at::Tensor indices = at::tensor(chosen, at::kLong);
      scores_by_shots[shots].push_back(score_episode(train.features_ND.index_select(0, indices),
                                                     train.labels_N.index_select(0, indices), test,
                                                     num_classes));
    }
  }
  Json report;
  report["episodes"] = options.episodes;
  report["shots"] = Json::array();
  for (const auto& [shots, episodes] : scores_by_shots) {
    report["shots"].push_back(Json{{"shots", shots},
                                   {"images", shots * num_classes},
                                   {"class_mean", summarize(episodes, &EpisodeScores::class_mean)},
                                   {"logistic", summarize(episodes, &EpisodeScores::logistic)},
                                   {"nearest", summarize(episodes, &EpisodeScores::nearest)}});
  }
  const EpisodeScores full = score_episode(train.features_ND, train.labels_N, test, num_classes);
  report["full"] = Json{{"images", train.size()},
                        {"class_mean", full.class_mean},
                        {"logistic", full.logistic},
                        {"nearest", full.nearest}};
  report["left_out"] = std::move(left_out);
  return report;
}

}  // namespace swath::eval
