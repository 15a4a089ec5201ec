#include "bench/report/csv.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "core/csv.h"

namespace swath::bench {
namespace {

// A file name from any text.
std::string file_stem(std::string text) {
  std::replace_if(
      text.begin(), text.end(),
      [](char c) {
        const bool is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                              (c >= '0' && c <= '9') || c == '-' || c == '_';
        return !is_plain;
      },
      '_');
  return text;
}

}  // namespace

std::string steps_csv(const RunDirectory& run) {
  std::string csv = "step";
  for (const StepColumn& column : step_columns()) csv += fmt::format(",{}", column.name);
  csv += '\n';
  for (const StepRecord& step : run.steps) {
    csv += fmt::format("{}", step.step);
    for (const StepColumn& column : step_columns()) csv += "," + csv_number(step.*column.value);
    csv += '\n';
  }
  return csv;
}

std::string methods_csv(const std::vector<RunDirectory>& runs,
                        const std::vector<ProbeGroup>& groups) {
  std::string csv = "dataset,run,method,is_baseline,top1,top1_std,best_top1,best_epoch,top5\n";
  for (const ProbeGroup& group : groups) {
    for (const ProbeMethod& method : group.methods) {
      const std::string run =
          method.run < 0 ? std::string() : runs[static_cast<size_t>(method.run)].name;
      csv += fmt::format("{},{},{},{},{},{},{},{},{}\n", csv_cell(group.dataset), csv_cell(run),
                         csv_cell(method.name), method.is_baseline ? 1 : 0, csv_number(method.top1),
                         csv_number(method.top1_std), csv_number(method.best_top1),
                         method.best_epoch < 0 ? "" : fmt::format("{}", method.best_epoch),
                         csv_number(method.top5));
    }
  }
  return csv;
}

std::string history_csv(const ProbeResult& probe) {
  const std::vector<const char*> keys = {"epoch", "train_loss", "test_loss", "lr", "top1", "top5"};
  std::string csv = fmt::format("{}\n", fmt::join(keys, ","));
  for (const Json& row : array_of(probe.values, "history")) {
    for (const char* key : keys) {
      csv += (key == keys.front() ? "" : ",") + csv_number(number_of(row, key));
    }
    csv += '\n';
  }
  return csv;
}

std::string confusion_csv(const Confusion& confusion) {
  std::string csv = "truth";
  for (const std::string& name : confusion.classes) csv += "," + csv_cell(name);
  csv += '\n';
  for (size_t truth = 0; truth < confusion.classes.size(); ++truth) {
    csv += csv_cell(confusion.classes[truth]);
    for (const double count : confusion.counts[truth]) csv += "," + csv_number(count);
    csv += '\n';
  }
  return csv;
}

std::string sweep_csv(const SweepTable& sweep) {
  std::string csv =
      "ranks,strategy,prefetch,limit_all_gathers,images_per_second,minimum,maximum,efficiency,"
      "step_seconds,mfu,peak_memory_bytes,allocated_bytes,exposed_communication,data_wait,joules\n";
  for (const SweepRow& row : sweep.rows) {
    csv += fmt::format("{},{},{},{}", row.ranks, csv_cell(row.strategy), csv_cell(row.prefetch),
                       row.limit.empty() ? "" : fmt::format("{}", row.limit == "limited"));
    for (const double value : {row.images_per_second, row.minimum, row.maximum, row.efficiency,
                               row.step_seconds, row.mfu, row.peak_bytes, row.allocated_bytes,
                               row.exposed_communication, row.data_wait, row.joules}) {
      csv += "," + csv_number(value);
    }
    csv += '\n';
  }
  return csv;
}

std::vector<Download> csv_files(const std::vector<RunDirectory>& runs,
                                const std::vector<ProbeGroup>& groups,
                                const std::vector<RunDirectory>& sweeps) {
  std::vector<Download> files;
  const auto prefix = [&](int run) {
    return runs.size() > 1 ? file_stem(runs[static_cast<size_t>(run)].name) + "-" : std::string();
  };
  for (size_t r = 0; r < runs.size(); ++r) {
    if (runs[r].steps.empty()) continue;
    files.push_back({prefix(static_cast<int>(r)) + "steps.csv", steps_csv(runs[r])});
  }
  if (!groups.empty()) files.push_back({"methods.csv", methods_csv(runs, groups)});
  for (const ProbeGroup& group : groups) {
    for (const ProbeOfRun& source : group.probes) {
      const std::string stem =
          prefix(source.run) + file_stem(std::filesystem::path(source.probe->file).stem().string());
      if (!array_of(source.probe->values, "history").empty()) {
        files.push_back({stem + "-epochs.csv", history_csv(*source.probe)});
      }
      const Confusion confusion = confusion_of(*source.probe);
      if (!confusion.classes.empty()) {
        files.push_back({stem + "-confusion.csv", confusion_csv(confusion)});
      }
    }
  }
  for (const RunDirectory& sweep : sweeps) {
    files.push_back({(sweeps.size() > 1 ? file_stem(sweep.name) + "-" : "") + "sweep.csv",
                     sweep_csv(sweep.sweep)});
  }
  return files;
}

}  // namespace swath::bench
