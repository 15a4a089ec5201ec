// The few figures by which a run is known, from its "end" record or else from its steps.
#pragma once

#include <string>

#include "bench/report/run_directory.h"

namespace swath::bench {

struct RunFigures {
  double steps = kNoNumber;
  double epochs = kNoNumber;
  double first_loss = kNoNumber;
  double final_loss = kNoNumber;
  double images_per_second = kNoNumber;
  double data_wait = kNoNumber;  // median over the logged steps
  double mfu = kNoNumber;        // median
  double seconds = kNoNumber;
  double epoch_seconds = kNoNumber;  // median
  double peak_bytes = kNoNumber;
};
RunFigures figures_of(const RunDirectory& run);

// The middle of the finite values; the first tenth of the steps (warm-up) does not count.
double median_of(const RunDirectory& run, double StepRecord::* column);

// What saving cost, over all processes of the run.
struct SaveFigures {
  size_t num_saves = 0;
  double stall_seconds = kNoNumber;  // training waited, in all
  double stall_share = kNoNumber;    // of the run's time
  double write_seconds = kNoNumber;  // median
};
SaveFigures saves_of(const RunDirectory& run);

// What the run's mfu is a share of: "of the published peak", "of the measured matrix-product rate",
// or "of peak compute" where the log does not say which.
std::string share_of_what(const RunDirectory& run);

// "finished", "finished: time limit", "stopped: signal 15" ..., or that there is no end record.
struct RunStatus {
  std::string text;
  bool is_finished = false;
};
RunStatus status_of(const RunDirectory& run);

}  // namespace swath::bench
