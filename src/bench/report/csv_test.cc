#include "bench/report/csv.h"

#include <gtest/gtest.h>

namespace swath::bench {
namespace {

TEST(Csv, EveryStepIsALine) {
  RunDirectory run;
  StepRecord step;
  step.step = 10;
  step.loss = 0.5;
  run.steps.push_back(step);
  const std::string csv = steps_csv(run);
  EXPECT_EQ(csv.substr(0, csv.find('\n')),
            "step,epoch,loss,lr,images_per_second,data_wait,step_seconds,mfu,"
            "allocated_bytes,peak_bytes,grad_norm,watts,utilisation,time,elapsed_seconds");
  EXPECT_EQ(csv.substr(csv.find('\n') + 1), "10,,0.5,,,,,,,,,,,,\n");
}

TEST(Csv, ConfusionHasItsNames) {
  EXPECT_EQ(confusion_csv({{"a,b", "c"}, {{1, 2}, {3, 4}}}),
            "truth,\"a,b\",c\n\"a,b\",1,2\nc,3,4\n");
}

}  // namespace
}  // namespace swath::bench
