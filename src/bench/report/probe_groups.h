// Probe results put side by side: those on the same data set are compared with one another.
#pragma once

#include <string>
#include <vector>

#include "bench/report/run_directory.h"

namespace swath::bench {

// One line of the comparison: a way to classify and what it reached. Shares are 0..1.
struct ProbeMethod {
  std::string name;
  int run = -1;  // index of the run; -1 for a baseline that all runs share
  bool is_baseline = false;
  bool is_main = false;  // the result its probe or baseline is judged by
  double top1 = kNoNumber;
  double top1_std = kNoNumber;  // over repeats
  double low = kNoNumber;       // 95 % interval of top1 over the test images
  double high = kNoNumber;
  double balanced_accuracy = kNoNumber;
  double top5 = kNoNumber;
  double best_top1 = kNoNumber;  // over the epochs; top1 is the last
  int best_epoch = -1;
};

// A probe and where it comes from.
struct ProbeOfRun {
  int run = 0;
  const ProbeResult* probe = nullptr;
  std::string label;  // unique on the page
};

struct ProbeGroup {
  std::string dataset;
  std::vector<ProbeOfRun> probes;
  std::vector<ProbeMethod> methods;  // those of the runs, then baselines from weak to strong
};

// Groups in order of first appearance. Points into `runs`, which must outlive the result.
std::vector<ProbeGroup> group_probes(const std::vector<RunDirectory>& runs);

// The method a run is judged by: the main one of its first probe; null when it has none.
const ProbeMethod* headline_method(const ProbeGroup& group, int run);
// The strongest of the baselines' main results; null when there is none.
const ProbeMethod* best_baseline(const ProbeGroup& group);
// The differences between a run's main method and that baseline on the same images, with their
// intervals; kNoNumber where the run's probe does not have them.
struct PairedDifference {
  double difference = kNoNumber;
  double low = kNoNumber;
  double high = kNoNumber;
};
struct PairedDifferences {
  PairedDifference top1;
  PairedDifference balanced_accuracy;
};
PairedDifferences paired_differences(const ProbeGroup& group, int run);

// Confusion matrix with its checks done: square, as many names as rows, no negative count.
struct Confusion {
  std::vector<std::string> classes;
  std::vector<std::vector<double>> counts;  // [truth][prediction]

  double row_sum(size_t truth) const;
};
// Empty when the result has none. A matrix that does not fit its class names throws Error naming
// the file.
Confusion confusion_of(const ProbeResult& probe);
// Of the frozen probe on all labels, its first draw.
Confusion confusion_of(const CloudResult& result);

// Scores of one class, from "per_class" or else from the confusion matrix.
struct ClassScore {
  std::string name;
  double images = kNoNumber;
  double recall = kNoNumber;
  double precision = kNoNumber;
  double f1 = kNoNumber;
};
std::vector<ClassScore> class_scores(const ProbeResult& probe);

// Which class is taken for which other, most frequent first.
struct Mistake {
  std::string truth;
  std::string prediction;
  double count = 0;
  double share = 0;  // of the images of `truth`
};
std::vector<Mistake> worst_mistakes(const Confusion& confusion, size_t limit);

}  // namespace swath::bench
