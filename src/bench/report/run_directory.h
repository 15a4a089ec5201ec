// A run directory as the report reads it, and the contract of the files in it.
//
// Everything is optional: a report shows what is there and says what is not.
//
//   config.toml     the resolved configuration
//   log.jsonl       one JSON object a line, told apart by "kind":
//     run         command, commit, machine, device, precision, time,
//                 model {name, width, depth, parameters, ...}, data {...}; one more for each resume
//     step        step, epoch, loss, lr, images_per_second, data_wait (share of the step, 0..1),
//                 step_seconds, mfu (share of the device's peak, 0..1), matmul_share (share of its
//                 own matrix product rate, 0..1), allocated_bytes, peak_bytes, grad_norm, time
//     checkpoint  step, path
//     event       message, step, time
//     end         steps, loss, seconds, images_per_second, peak_memory_bytes, reason (epochs,
//                 max_steps, max_minutes, signal N), skipped_steps, skipped_samples
//   probe*.json     results of one evaluation each; shares (top1 ...) are 0..1
//     name, dataset, classes, train_images, test_images, top1, top5, best_top1, top1_std, macro_f1,
//     history    [{epoch, train_loss, lr, top1, top5, test_loss}]
//     baselines  [{name, top1, top5, ...}]
//     knn, logistic   {top1, ...}
//     few_shot   [{shots, top1, low, high, name}]; without a name they are the run's own
//     confusion  {classes [name], matrix [[count]]}: rows are the truth, columns the prediction
//     per_class  [{name, precision, recall, f1, images}]
//   *.png, *.jpg    pictures, in the order of pictures.json [{file, caption}], then by name
//
// "time" is seconds since 1970 or ISO 8601 in UTC ("2025-01-31T12:00:00Z").
#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include "core/json.h"

namespace swath::bench {

constexpr double kNoNumber = std::numeric_limits<double>::quiet_NaN();

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
  double matmul_share = kNoNumber;
  double allocated_bytes = kNoNumber;
  double peak_bytes = kNoNumber;
  double grad_norm = kNoNumber;
  double time = kNoNumber;
  // Seconds of training up to here; the pause before a resume does not count.
  double elapsed_seconds = kNoNumber;
};

// One number of a step, for tables, charts and CSV.
struct StepColumn {
  const char* name;  // as in the log
  double StepRecord::* value;
};
const std::vector<StepColumn>& step_columns();

struct Picture {
  std::string file;
  std::string caption;
  std::string mime;
  int width = 0;
  int height = 0;
  std::string bytes;
};

struct ProbeResult {
  std::string file;
  Json values;
};

struct RunDirectory {
  std::filesystem::path path;
  std::string name;           // the directory's own name; read_runs makes names differ
  Json run = Json::object();  // the last "run" record
  Json end = Json::object();  // the "end" record, empty while a run goes on or when it was killed
  std::vector<StepRecord> steps;  // by rising step; what a resume repeated is there once
  std::vector<Json> events;
  std::vector<Json> checkpoints;
  int num_resumes = 0;
  int num_non_finite = 0;  // logged steps whose loss was NaN or infinite
  int64_t first_non_finite_step = -1;
  std::string config;
  std::vector<ProbeResult> probes;
  std::vector<Picture> pictures;
  std::vector<std::string> missing;   // what is not there, in words
  std::vector<std::string> warnings;  // files or lines that could not be used, each named
};

// Reads one directory. A damaged file is left out and named in `warnings`; a last log line that
// breaks off (a killed run) is no damage. Throws UsageError when there is no such directory, Error
// when it holds no results at all.
RunDirectory read_run_directory(const std::filesystem::path& path);

// Reads several; names are made different by their parent directories.
std::vector<RunDirectory> read_run_directories(const std::vector<std::filesystem::path>& paths);

// A number of a JSON object; NaN when it is missing or not a number.
double number_of(const Json& object, const char* key);
// A text of a JSON object; empty when it is missing. Numbers are given as JSON writes them.
std::string text_of(const Json& object, const char* key);
// The element of that name; an empty array when it is missing or no array.
const Json& array_of(const Json& object, const char* key);
// "time" of a record in seconds since 1970; NaN when it is missing or unreadable.
double time_of(const Json& record);

}  // namespace swath::bench
