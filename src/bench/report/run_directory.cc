#include "bench/report/run_directory.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <ctime>
#include <map>
#include <optional>
#include <string_view>
#include <utility>

#include "bench/report/probe_format.h"
#include "core/error.h"
#include "core/files.h"
#include "eval/places_table.h"

namespace swath::bench {
namespace {

namespace fs = std::filesystem;

bool is_word_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

// JSON has no NaN and no infinity, but writers exist that put them there: outside strings they
// become null, which readers take as "not a finite number".
std::string without_bare_non_finite(std::string_view text) {
  std::string result;
  bool in_string = false;
  for (size_t i = 0; i < text.size();) {
    const char c = text[i];
    if (in_string && c == '\\' && i + 1 < text.size()) {
      result += text.substr(i, 2);
      i += 2;
      continue;
    }
    if (c == '"') in_string = !in_string;
    if (!in_string && std::string_view("NnIi-").find(c) != std::string_view::npos) {
      size_t end = i + 1;
      while (end < text.size() && is_word_character(text[end])) ++end;
      std::string word(text.substr(i, end - i));
      std::transform(word.begin(), word.end(), word.begin(), [](char letter) {
        return static_cast<char>(letter >= 'A' && letter <= 'Z' ? letter + 32 : letter);
      });
      const std::string_view bare = word.starts_with('-') ? std::string_view(word).substr(1) : word;
      if (bare == "nan" || bare == "inf" || bare == "infinity") {
        result += "null";
        i = end;
        continue;
      }
    }
    result += c;
    ++i;
  }
  return result;
}

// Null where `text` is no JSON.
std::optional<Json> parse_json(std::string_view text) {
  Json value = Json::parse(text, nullptr, false);
  if (value.is_discarded()) value = Json::parse(without_bare_non_finite(text), nullptr, false);
  if (value.is_discarded()) return std::nullopt;
  return value;
}

StepRecord step_record(const Json& record) {
  StepRecord step;
  step.step = static_cast<int64_t>(number_of(record, "step"));
  for (const StepColumn& column : step_columns()) {
    step.*column.value = number_of(record, column.name);
  }
  step.time = time_of(record);
  return step;
}

// Takes the records of log.jsonl in order.
class LogReader {
 public:
  explicit LogReader(RunDirectory& run) : run_(run) {}

  // False when the line cannot be used.
  bool read_line(std::string_view line) {
    std::optional<Json> record = parse_json(line);
    if (!record) {
      // A killed process may leave half a line, which its successor's first record goes on.
      const size_t successor = line.rfind(R"({"kind")");
      if (successor != std::string_view::npos && successor > 0) {
        record = parse_json(line.substr(successor));
      }
    }
    if (!record || !record->is_object()) return false;
    const std::string kind = text_of(*record, "kind");
    if (kind == "run") {
      read_start(*record);
    } else if (kind == "step") {
      return read_step(*record);
    } else if (kind == "epoch") {
      return read_epoch(*record);
    } else if (kind == "checkpoint") {
      run_.checkpoints.push_back(*record);
    } else if (kind == "event") {
      run_.events.push_back(*record);
    } else if (kind == "end") {
      run_.end = *record;
    }
    // Other kinds come from a later version and are none of the report's business.
    return true;
  }

 private:
  void read_start(const Json& record) {
    if (!run_.run.empty()) ++run_.num_resumes;
    run_.run = record;
    // The process that wrote the end of the log so far did not finish the run after all.
    run_.end = Json::object();
    segment_start_ = time_of(record);
    segment_offset_ = elapsed_;
  }

  bool read_step(const Json& record) {
    if (std::isnan(number_of(record, "step"))) return false;
    StepRecord step = step_record(record);
    // Steps after the checkpoint that a resume started from are done again.
    while (!run_.steps.empty() && run_.steps.back().step >= step.step) run_.steps.pop_back();
    if (std::isnan(segment_start_)) segment_start_ = step.time;
    const double in_segment = step.time - segment_start_;
    if (!std::isnan(in_segment)) elapsed_ = segment_offset_ + std::max(0.0, in_segment);
    step.elapsed_seconds = std::isnan(in_segment) ? kNoNumber : elapsed_;
    run_.steps.push_back(step);
    return true;
  }

  bool read_epoch(const Json& record) {
    if (std::isnan(number_of(record, "step"))) return false;
    const auto step = static_cast<int64_t>(number_of(record, "step"));
    while (!run_.epochs.empty() && run_.epochs.back().step >= step) run_.epochs.pop_back();
    run_.epochs.push_back({step, number_of(record, "seconds"), number_of(record, "test_loss")});
    return true;
  }

  RunDirectory& run_;
  double segment_start_ = kNoNumber;
  double segment_offset_ = 0;
  double elapsed_ = 0;
};

void read_log(const fs::path& path, RunDirectory& run) {
  const std::string contents = read_file(path);
  LogReader reader(run);
  int line_number = 0;
  for (size_t begin = 0; begin < contents.size();) {
    const size_t newline = contents.find('\n', begin);
    const bool is_broken_off = newline == std::string::npos;
    const size_t end = is_broken_off ? contents.size() : newline;
    const std::string_view line = std::string_view(contents).substr(begin, end - begin);
    begin = end + 1;
    ++line_number;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    if (!reader.read_line(line) && !is_broken_off) {
      run.warnings.push_back(fmt::format("{}:{} is not a log record; the line was left out.",
                                         path.string(), line_number));
    }
  }
  for (const StepRecord& step : run.steps) {
    if (!std::isnan(step.loss)) continue;
    if (run.num_non_finite++ == 0) run.first_non_finite_step = step.step;
  }
}

// Shares that are percentages would make every chart wrong by a factor of 100.
bool shares_are_shares(const Json& values) {
  for (const char* key : {"top1", "top5", "best_top1"}) {
    const double value = number_of(values, key);
    if (value < 0 || value > 1) return false;
  }
  return true;
}

void read_probe(const fs::path& path, RunDirectory& run) {
  const std::optional<Json> values = parse_json(read_file(path));
  if (!values || !values->is_object()) {
    run.warnings.push_back(fmt::format("{} is not a JSON object; it was left out.", path.string()));
  } else if (!shares_are_shares(*values)) {
    run.warnings.push_back(fmt::format(
        "{} has a top1, top5 or best_top1 outside 0..1; it was left out.", path.string()));
  } else {
    try {
      run.probes.push_back({path.filename().string(), normalized_probe(*values)});
    } catch (const Json::exception& error) {
      run.warnings.push_back(
          fmt::format("{} is no probe result ({}); it was left out.", path.string(), error.what()));
    }
  }
}

void read_clouds(const fs::path& path, RunDirectory& run) {
  const std::optional<Json> values = parse_json(read_file(path));
  if (values && values->is_object() && !array_of(*values, "table").empty()) {
    run.clouds.push_back({path.filename().string(), *values});
  } else {
    run.warnings.push_back(
        fmt::format("{} is no comparison of cloud classes; it was left out.", path.string()));
  }
}

void read_embeddings(const fs::path& directory, RunDirectory& run) {
  try {
    run.embeddings = read_embedding_map(directory, run.warnings);
  } catch (const Error& error) {
    run.warnings.push_back(error.message() + " The map of embeddings was left out.");
  }
}

void read_sweep(const fs::path& path, RunDirectory& run) {
  const std::optional<Json> values = parse_json(read_file(path));
  std::vector<std::string> problems;
  if (values) {
    run.sweep = sweep_table(*values, problems);
  } else {
    problems.emplace_back("is not JSON");
  }
  for (const std::string& problem : problems) {
    run.warnings.push_back(fmt::format("{} {}; it was left out.", path.string(), problem));
  }
}

void add_picture(const fs::path& path, const std::string& caption, RunDirectory& run) {
  try {
    Picture picture = read_picture(path);
    picture.caption = caption;
    run.pictures.push_back(std::move(picture));
  } catch (const Error& error) {
    run.warnings.push_back(error.message() + " It was left out.");
  }
}

// (file, caption) in the order of pictures.json.
std::vector<std::pair<std::string, std::string>> read_captions(const fs::path& path,
                                                               RunDirectory& run) {
  std::vector<std::pair<std::string, std::string>> captions;
  if (!fs::exists(path)) return captions;
  const std::optional<Json> list = parse_json(read_file(path));
  if (!list || !list->is_array()) {
    run.warnings.push_back(fmt::format("{} is not a JSON array; it was left out.", path.string()));
    return captions;
  }
  for (const Json& entry : *list) {
    // A name with a directory in it could reach outside the run.
    const fs::path file = text_of(entry, "file");
    if (file.empty() || file != file.filename()) {
      run.warnings.push_back(
          fmt::format("{}: an entry has no \"file\" that is a plain file name; it was left out.",
                      path.string()));
      continue;
    }
    captions.emplace_back(file.string(), text_of(entry, "caption"));
  }
  return captions;
}

void read_pictures(const fs::path& directory, const std::vector<std::string>& files,
                   RunDirectory& run) {
  std::vector<std::string> rest = files;
  for (const auto& [file, caption] : read_captions(directory / "pictures.json", run)) {
    const auto listed = std::find(rest.begin(), rest.end(), file);
    if (listed == rest.end()) {
      run.warnings.push_back(fmt::format("{} is in pictures.json but there is no such picture.",
                                         (directory / file).string()));
      continue;
    }
    rest.erase(listed);
    add_picture(directory / file, caption, run);
  }
  for (const std::string& file : rest) add_picture(directory / file, "", run);
}

std::vector<std::string> sorted_file_names(const fs::path& directory) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(directory)) {
    if (entry.is_regular_file()) names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

void note_missing(RunDirectory& run) {
  if (run.config.empty()) run.missing.emplace_back("no configuration (config.toml)");
  if (run.steps.empty()) run.missing.emplace_back("no training steps (log.jsonl)");
  if (run.probes.empty()) run.missing.emplace_back("no probe (probe.json)");
  if (run.pictures.empty()) run.missing.emplace_back("no pictures (reconstruct.png)");
}

}  // namespace

const std::vector<StepColumn>& step_columns() {
  static const std::vector<StepColumn> columns = {
      {"epoch", &StepRecord::epoch},
      {"loss", &StepRecord::loss},
      {"lr", &StepRecord::lr},
      {"images_per_second", &StepRecord::images_per_second},
      {"data_wait", &StepRecord::data_wait},
      {"step_seconds", &StepRecord::step_seconds},
      {"mfu", &StepRecord::mfu},
      {"allocated_bytes", &StepRecord::allocated_bytes},
      {"peak_bytes", &StepRecord::peak_bytes},
      {"grad_norm", &StepRecord::grad_norm},
      {"watts", &StepRecord::watts},
      {"utilisation", &StepRecord::utilisation},
      {"time", &StepRecord::time},
      {"elapsed_seconds", &StepRecord::elapsed_seconds},
  };
  return columns;
}

bool RunDirectory::holds_run() const {
  return !(steps.empty() && run.empty() && probes.empty() && clouds.empty() && pictures.empty() &&
           embeddings.chips.empty());
}

RunDirectory read_run_directory(const fs::path& path) {
  std::error_code error;
  if (!fs::is_directory(path, error)) {
    throw UsageError(
        fmt::format("{} is not a run directory: there is no such directory.", path.string()),
        "name the folder that a command wrote, for example runs/pretrain-1.");
  }
  RunDirectory run;
  run.path = path;
  run.name = fs::weakly_canonical(path).filename().string();

  std::vector<std::string> pictures;
  for (const std::string& file : sorted_file_names(path)) {
    const fs::path suffix = fs::path(file).extension();
    if (file == "config.toml") run.config = read_file(path / file);
    if (file == "log.jsonl") read_log(path / file, run);
    if (file == "sweep.json") read_sweep(path / file, run);
    if (file == eval::kPlacesFile) read_embeddings(path, run);
    const bool is_result = file.starts_with("probe") || file.starts_with("finetune");
    if (is_result && suffix == ".json") read_probe(path / file, run);
    if (file.starts_with("clouds") && suffix == ".json") read_clouds(path / file, run);
    if (suffix == ".png" || suffix == ".jpg" || suffix == ".jpeg") pictures.push_back(file);
  }
  read_pictures(path, pictures, run);
  if (!run.holds_run() && run.sweep.rows.empty()) {
    throw Error(
        fmt::format(
            "{} holds no results: no usable log.jsonl, probe*.json, clouds*.json, places.csv, "
            "sweep.json or picture.{}",
            path.string(), run.warnings.empty() ? "" : " " + run.warnings.front()),
        "name the folder that a command wrote, for example runs/pretrain-1.");
  }
  // A comparison and a map are complete by themselves.
  if (run.holds_run() && run.clouds.empty() && run.embeddings.chips.empty()) note_missing(run);
  return run;
}

std::vector<RunDirectory> read_run_directories(const std::vector<fs::path>& paths) {
  std::vector<RunDirectory> runs;
  runs.reserve(paths.size());
  for (const fs::path& path : paths) runs.push_back(read_run_directory(path));
  std::map<std::string, int> num_of_name;
  for (const RunDirectory& run : runs) ++num_of_name[run.name];
  for (RunDirectory& run : runs) {
    if (num_of_name[run.name] > 1) {
      run.name = (fs::weakly_canonical(run.path).parent_path().filename() / run.name).string();
    }
  }
  return runs;
}

double time_of(const Json& record) {
  const double seconds = number_of(record, "time");
  if (!std::isnan(seconds)) return seconds;
  std::tm parts{};
  const std::string text = text_of(record, "time");
  if (strptime(text.c_str(), "%Y-%m-%dT%H:%M:%S", &parts) == nullptr) return kNoNumber;
  return static_cast<double>(timegm(&parts));
}

}  // namespace swath::bench
