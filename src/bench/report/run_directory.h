// A run directory as the report reads it, and the contract of the files in it.
//
// Everything is optional: a report shows what is there and says what is not.
//
//   config.toml     the resolved configuration
//   log.jsonl       one JSON object a line, told apart by "kind":
//     run         command, commit, machine, device, precision, time,
//                 model {name, width, depth, parameters, ...}, data {...}, peak_flops,
//                 peak_flops_are (published, measured); one more for each resume
//     step        step, epoch, loss, lr, images_per_second, data_wait (share of the step, 0..1),
//                 step_seconds, mfu (share of peak_flops, 0..1), allocated_bytes, peak_bytes,
//                 grad_norm, watts, utilisation (0..1), time
//     epoch       step, epoch, seconds, test_loss
//     checkpoint  step, path, stall_seconds (training waited), write_seconds (beside it or not)
//     event       message, step, time
//     end         steps, loss, seconds, images_per_second, peak_memory_bytes, reason (epochs,
//                 max_steps, max_minutes, signal N), skipped_steps, skipped_samples
//   probe*.json, finetune*.json    results of one evaluation each (probe_format.h)
//   clouds*.json    comparisons of cloud classes (eval/clouds.h), marked where labels are derived
//   places.csv      where embedded images lie, and their clusters; embed.json (embedding_map.h)
//   sweep.json      a table of benchmarks (sweep_table.h)
//   *.png, *.jpg    pictures, in the order of pictures.json [{file, caption}], then by name
//
// "time" is seconds since 1970 or ISO 8601 in UTC ("2025-01-31T12:00:00Z").
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "bench/report/embedding_map.h"
#include "bench/report/json_fields.h"
#include "bench/report/picture.h"
#include "bench/report/sweep_table.h"
#include "core/json.h"

namespace swath::bench {

// One logged step. A number the log lacks, or that was not finite, is NaN.
struct StepRecord {
  int64_t step = 0;
  double epoch = kNoNumber;
  double loss = kNoNumber;
  double lr = kNoNumber;
  double images_per_second = kNoNumber;
  double data_wait = kNoNumber;
  double step_seconds = kNoNumber;
  double mfu = kNoNumber;
  double allocated_bytes = kNoNumber;
  double peak_bytes = kNoNumber;
  double grad_norm = kNoNumber;
  double watts = kNoNumber;
  double utilisation = kNoNumber;
  double time = kNoNumber;
  // Seconds of training up to here; the pause before a resume does not count.
  double elapsed_seconds = kNoNumber;
};

// The end of an epoch, or of the run.
struct EpochRecord {
  int64_t step = 0;
  double seconds = kNoNumber;
  double test_loss = kNoNumber;
};

// One number of a step, for tables, charts and CSV.
struct StepColumn {
  const char* name;  // as in the log
  double StepRecord::* value;
};
const std::vector<StepColumn>& step_columns();

struct ProbeResult {
  std::string file;
  Json values;  // as normalized_probe gives it
};

// A comparison of methods on cloud classes, as `swath clouds` wrote it.
struct CloudResult {
  std::string file;
  Json values;
};

struct RunDirectory {
  std::filesystem::path path;
  std::string name;           // the directory's own name; read_runs makes names differ
  Json run = Json::object();  // the last "run" record
  Json end = Json::object();  // the "end" record, empty while a run goes on or when it was killed
  std::vector<StepRecord> steps;    // by rising step; what a resume repeated is there once
  std::vector<EpochRecord> epochs;  // likewise
  std::vector<Json> events;
  std::vector<Json> checkpoints;
  int num_resumes = 0;
  int num_non_finite = 0;  // logged steps whose loss was NaN or infinite
  int64_t first_non_finite_step = -1;
  std::string config;
  std::vector<ProbeResult> probes;
  std::vector<CloudResult> clouds;
  std::vector<Picture> pictures;
  EmbeddingMap embeddings;  // without chips: there is none
  SweepTable sweep;
  std::vector<std::string> missing;   // what is not there, in words
  std::vector<std::string> warnings;  // files or lines that could not be used, each named

  // Whether it shows a run: a directory with a sweep alone does not.
  bool holds_run() const;
};

// Reads one directory. A damaged file is left out and named in `warnings`; a last log line that
// breaks off (a killed run) is no damage. Throws UsageError when there is no such directory, Error
// when it holds no results at all.
RunDirectory read_run_directory(const std::filesystem::path& path);

// Reads several; names are made different by their parent directories.
std::vector<RunDirectory> read_run_directories(const std::vector<std::filesystem::path>& paths);

// "time" of a record in seconds since 1970; NaN when it is missing or unreadable.
double time_of(const Json& record);

}  // namespace swath::bench
