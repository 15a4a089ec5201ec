#include "data/modis/chip_job.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <new>
#include <optional>
#include <set>
#include <stdexcept>
#include <thread>
#include <utility>

#include "core/clock.h"
#include "core/csv.h"
#include "core/error.h"
#include "core/files.h"
#include "core/hash.h"
#include "core/interrupt.h"
#include "core/log.h"
#include "data/modis/granule_table.h"
#include "data/modis/product_files.h"
#include "data/modis/quick_look.h"
#include "data/modis/worker_processes.h"
#include "data/parallel.h"
#include "data/shard_set.h"

namespace swath::data::modis {
namespace fs = std::filesystem;
namespace {

constexpr size_t kMostListed = 100;
constexpr const char* kNotesFolder = ".chips";
constexpr auto kPollTime = std::chrono::milliseconds(50);

// Where a job's parts lie.
struct Places {
  fs::path output;

  fs::path notes() const { return output / kNotesFolder; }
  fs::path job() const { return notes() / "job.json"; }
  fs::path note(int64_t group) const { return notes() / fmt::format("shard-{:05}.json", group); }
  std::string shard_name(int64_t group) const { return fmt::format("shard-{:05}.shard", group); }
  fs::path shard(int64_t group) const { return output / shard_name(group); }
};

struct Job {
  ChipJobOptions options;
  Places places;
  std::vector<GranuleFiles> granules;
  std::string fingerprint;                      // of options and granules
  std::vector<std::string> group_fingerprints;  // of that and a group's files

  int64_t groups() const {
    const auto count = static_cast<int64_t>(granules.size());
    return (count + options.granules_per_shard - 1) / options.granules_per_shard;
  }
  int64_t first_of(int64_t group) const { return group * options.granules_per_shard; }
  int64_t end_of(int64_t group) const {
    return std::min(static_cast<int64_t>(granules.size()), first_of(group + 1));
  }
};

// Enough shards for many processes where there are few granules, and few where there are many.
int64_t default_granules_per_shard(size_t granules) {
  return std::clamp<int64_t>(static_cast<int64_t>(granules) / 64, 1, 32);
}

void add_fingerprints(Job& job) {
  ChipJobOptions what = job.options;
  // How the work is done does not change what comes out.
  what.root = what.masks = what.geolocation = what.output = "";
  what.processes = 0;
  what.overwrite = what.quick_looks = what.skip_bad = false;
  what.rank_timeout_minutes = 0;
  std::string text = make_field_table(what).to_toml();
  for (const GranuleFiles& files : job.granules) text += files.key + "\n";
  job.fingerprint = sha256_hex(text);
  for (int64_t group = 0; group < job.groups(); ++group) {
    text = job.fingerprint + "\n";
    for (int64_t i = job.first_of(group); i < job.end_of(group); ++i) {
      const GranuleFiles& files = job.granules[static_cast<size_t>(i)];
      std::vector<fs::path> paths = {files.level_1b, files.geolocation};
      paths.insert(paths.end(), files.masks.begin(), files.masks.end());
      for (const fs::path& path : paths) {
        text += path.empty()
                    ? "-\n"
                    : fmt::format("{} {}\n", path.filename().string(), fs::file_size(path));
      }
    }
    job.group_fingerprints.push_back(sha256_hex(text));
  }
}

// Names and messages may hold bytes of files that are no UTF-8.
std::string text_of(const Json& json) {
  return json.dump(1, ' ', false, Json::error_handler_t::replace);
}

// The note of a finished group, if it is there and its shard is what it says.
std::optional<Json> read_note(const Job& job, int64_t group) {
  const fs::path path = job.places.note(group);
  if (!fs::exists(path)) return std::nullopt;
  Json note = Json::parse(read_file(path), nullptr, false);
  if (!note.is_object() ||
      note.value("fingerprint", "") != job.group_fingerprints[static_cast<size_t>(group)]) {
    return std::nullopt;
  }
  if (note.at("records") == 0) return note;
  std::error_code ignored;
  if (fs::file_size(job.places.shard(group), ignored) != note.at("bytes")) return std::nullopt;
  return note;
}

// Whether something in the group may be better the next time: a file that could not be read, a
// process that ended.
bool may_improve(const Json& note) {
  for (const Json& granule : note.at("granules")) {
    const std::string problem = granule.at("problem");
    if (problem == "unreadable" || problem == "crash" || !granule.at("unused").empty()) return true;
  }
  return false;
}

// Without skip_bad a granule that an earlier run left out ends this one.
void refuse_bad(const Json& note) {
  for (const Json& granule : note.at("granules")) {
    const GranuleReport report = GranuleReport::from_json(granule);
    if (report.problem.empty()) continue;
    throw BadGranule(report.problem, report.message,
                     "an earlier run left it out: do the same with --skip_bad, or begin anew "
                     "without it.");
  }
}

RecordLayout layout_of(const ChipJobOptions& options, const ChipFields& fields) {
  RecordLayout layout;
  layout.encoding = options.encoding == "lz4" ? RecordEncoding::kLz4 : RecordEncoding::kRaw;
  layout.type = PixelType::kUint16;
  layout.height = layout.width = options.chips.size;
  layout.bands = static_cast<int64_t>(fields.slots().size());
  for (const BandSlot& slot : fields.slots()) layout.band_info.push_back({slot.name(), 1, 0});
  layout.field_names = fields.names();
  return layout;
}

void write_quick_look(const Job& job, const ChipCutter& cutter, const GranuleReport& report) {
  const auto& planes = cutter.planes();
  const auto& slots = cutter.fields().slots();
  std::vector<QuickLookBand> bands;
  for (const size_t band : {size_t{0}, std::min<size_t>(1, slots.size() - 1), slots.size() - 1}) {
    bands.push_back({&planes[band], is_emissive(slots[band].terra)});
  }
  write_png(job.places.output / kQuickLookFolder / (report.name + ".png"),
            draw_quick_look(bands, cutter.rows(), cutter.columns(), report.accepted,
                            job.options.chips.size));
}

// One granule to its chips; with skip_bad what is wrong with it.
GranuleReport cut_granule(const Job& job, int64_t index, int ended_by, ChipCutter& cutter,
                          const std::function<void(const Chip&)>& take) {
  const GranuleFiles& files = job.granules[static_cast<size_t>(index)];
  GranuleReport report;
  report.name = files.level_1b.filename().string();
  if (ended_by != 0) {
    report.problem = "crash";
    report.message = fmt::format("{}: reading it ended a process by signal {} ({}).",
                                 files.level_1b.string(), ended_by, strsignal(ended_by));
    return report;
  }
  const auto no_memory = [&] {
    report.problem = "unreadable";
    report.message = fmt::format("chips: no memory for {}.", files.level_1b.string());
    if (job.options.skip_bad) return;
    throw Error(report.message,
                "give it more memory or fewer --processes; a damaged file may also ask for sizes "
                "that it does not have: --skip_bad leaves it out.");
  };
  try {
    report = cutter.cut(files, take);
    if (job.options.quick_looks) write_quick_look(job, cutter, report);
  } catch (const BadGranule& error) {
    if (!job.options.skip_bad) throw;
    report.problem = error.reason();
    report.message = error.message();
  } catch (const std::bad_alloc&) {
    no_memory();
  } catch (const std::length_error&) {
    no_memory();
  }
  return report;
}

// Cuts one group of granules into its shard, and leaves its note.
void make_group(const Job& job, int64_t group, ChipCutter& cutter, ItemLog& log) {
  const RecordLayout layout = layout_of(job.options, cutter.fields());
  std::unique_ptr<RecordShardWriter> writer;
  Json granules = Json::array();
  const auto take = [&](const Chip& chip) {
    if (!writer) writer = std::make_unique<RecordShardWriter>(job.places.shard(group), layout);
    const std::vector<double> fields = cutter.fields().pack(chip.values);
    Record record;
    record.name = chip.name;
    record.longitude_latitude = {chip.longitude, chip.latitude};
    record.time = chip.time;
    record.bytes = std::as_bytes(chip.counts);
    record.fields = fields;
    writer->add(record);
  };
  for (int64_t i = job.first_of(group); i < job.end_of(group); ++i) {
    log.begin(i);
    granules.push_back(cut_granule(job, i, log.signal_of(i), cutter, take).to_json());
    log.end();
  }
  Json note = {{"fingerprint", job.group_fingerprints[static_cast<size_t>(group)]},
               {"granules", granules},
               {"records", writer ? writer->size() : 0}};
  fs::remove(job.places.output / kManifestName);  // it is of the shard as it was
  if (writer) {
    writer->finish();
    note["bytes"] = fs::file_size(job.places.shard(group));
    note["sha256"] = sha256_hex_of_file(job.places.shard(group));
  } else {
    fs::remove(job.places.shard(group));
  }
  write_file_atomically(job.places.note(group), text_of(note) + "\n");
}

void prepare_output(const Job& job, const LaunchEnvironment& environment) {
  const Places& places = job.places;
  if (job.options.overwrite && environment.world_size == 1 && fs::exists(places.notes())) {
    for (const auto& entry : fs::directory_iterator(places.output)) {
      if (entry.path().extension() == kShardExtension) fs::remove(entry.path());
    }
    fs::remove(places.output / kManifestName);
    fs::remove(places.output / kGranuleTableFile);
    fs::remove_all(places.output / kQuickLookFolder);
    fs::remove_all(places.notes());
  }
  // The notes are looked for last: another rank may make them between two looks.
  if (fs::exists(places.output) && !fs::is_empty(places.output) && !fs::exists(places.notes())) {
    throw UsageError(
        fmt::format("chips: output {} is not empty and holds no chips.", places.output.string()),
        "choose another output.");
  }
  fs::create_directories(places.notes());
  if (job.options.quick_looks) fs::create_directories(places.output / kQuickLookFolder);
  if (fs::exists(places.job())) {
    const Json saved = Json::parse(read_file(places.job()), nullptr, false);
    if (saved.is_object() && saved.value("fingerprint", "") == job.fingerprint) return;
    throw UsageError(fmt::format("chips: output {} was begun with other granules or options.",
                                 places.output.string()),
                     "choose another output, or begin anew with --overwrite (one process). A bad "
                     "granule may stay: --skip_bad leaves it out.");
  }
  ChipJobOptions options = job.options;
  write_file_atomically(places.job(), text_of({{"fingerprint", job.fingerprint},
                                               {"options", make_field_table(options).to_toml()}}) +
                                          "\n");
}

// What killed processes were writing: of this rank's groups, and of everything where it is alone.
void remove_leftovers(const Job& job, const LaunchEnvironment& environment) {
  const auto is_own = [&](const std::string& name) {
    if (environment.world_size == 1) return true;
    for (int64_t group = environment.rank; group < job.groups(); group += environment.world_size) {
      if (name.starts_with(job.places.shard(group).stem().string() + ".")) return true;
    }
    return false;
  };
  for (const fs::path& folder :
       {job.places.output, job.places.notes(), job.places.output / kQuickLookFolder}) {
    if (!fs::exists(folder)) continue;
    std::vector<fs::path> leftovers;
    for (const auto& entry : fs::directory_iterator(folder)) {
      const std::string name = entry.path().filename().string();
      if (name.find(".partial") != std::string::npos && is_own(name)) {
        leftovers.push_back(entry.path());
      }
    }
    for (const fs::path& path : leftovers) fs::remove(path);
  }
}

// Rank 0 speaks for all, so it waits for all.
std::vector<Json> wait_for_notes(const Job& job, const LaunchEnvironment& environment) {
  std::vector<Json> notes;
  const auto begin = Clock::now();
  for (int64_t group = 0; group < job.groups();) {
    if (auto note = read_note(job, group)) {
      notes.push_back(std::move(*note));
      ++group;
      continue;
    }
    stop_if_interrupted("chips");
    if (environment.world_size == 1 ||
        seconds_since(begin) > job.options.rank_timeout_minutes * 60) {
      throw Error(
          fmt::format("chips: shard {} of {} is missing; it belongs to rank {} of {}.", group,
                      job.groups(), group % environment.world_size, environment.world_size),
          "run the same command again: finished shards are kept.");
    }
    show_progress(fmt::format("chips: waiting for rank {}", group % environment.world_size));
    std::this_thread::sleep_for(kPollTime);
  }
  return notes;
}

// The table's readers take a line for a row.
std::string one_line(std::string text) {
  std::ranges::replace(text, '\n', ' ');
  return text;
}

// The manifest, the table of granules, and the result of the command.
Json finish(const Job& job, const std::vector<Json>& notes, int64_t resumed, double seconds) {
  FinishedShards finished;
  finished.layout = layout_of(job.options, ChipFields(job.options.chips.slots()));
  finished.source = fmt::format("{} granules of {}", job.granules.size(), job.options.root);
  std::map<std::string, int64_t> rejected;
  std::map<std::string, int64_t> bad_granules;
  std::map<std::string, std::map<std::string, int64_t>> codes;
  std::map<std::string, int64_t> striped;
  std::map<std::string, int64_t> unused;
  Json bad = Json::array();
  int64_t used = 0;
  int64_t positions = 0;
  int64_t synthetic = 0;
  std::string table = std::string(kGranuleTableHeader) + "\n";
  for (size_t group = 0; group < notes.size(); ++group) {
    const Json& note = notes[group];
    if (note.at("records") > 0) {
      finished.records += note.at("records").get<int64_t>();
      finished.bytes += note.at("bytes").get<uint64_t>();
      finished.shards.push_back({{"file", job.places.shard_name(static_cast<int64_t>(group))},
                                 {"records", note.at("records")},
                                 {"bytes", note.at("bytes")},
                                 {"sha256", note.at("sha256")}});
    }
    for (const Json& json : note.at("granules")) {
      const GranuleReport report = GranuleReport::from_json(json);
      std::string reasons;
      for (const auto& [reason, chips] : report.rejected) {
        rejected[reason] += chips;
        reasons += fmt::format("{}{}={}", reasons.empty() ? "" : " ", reason, chips);
      }
      for (const auto& [band, of_band] : report.codes) {
        for (const auto& [code, pixels] : of_band) codes[band][code] += pixels;
      }
      for (const auto& [band, detectors] : report.striped) ++striped[band];
      for (const std::string& what : std::set(report.unused.begin(), report.unused.end())) {
        ++unused[what];
      }
      positions += report.positions;
      synthetic += report.is_synthetic ? 1 : 0;
      if (report.problem.empty()) {
        ++used;
      } else {
        ++bad_granules[report.problem];
        if (bad.size() < kMostListed) {
          bad.push_back(
              {{"name", report.name}, {"reason", report.problem}, {"message", report.message}});
        }
      }
      table += fmt::format("{},{},{},{},{},{},{},{},{}\n", report.name, report.problem,
                           report.positions, report.chips, reasons, report.has_mask ? 1 : 0,
                           report.has_exact_geolocation ? "1 km" : "5 km",
                           report.is_synthetic ? 1 : 0, csv_cell(one_line(report.message)));
    }
  }
  write_file_atomically(job.places.output / kGranuleTableFile, table);
  Json result = {{"output", job.places.output.string()},
                 {"granules", job.granules.size()},
                 {"used", used},
                 {"positions", positions},
                 {"chips", finished.records},
                 {"rejected", rejected},
                 {"bad_granules", bad_granules},
                 {"bad", bad},
                 {"codes", codes},
                 {"striped", striped},
                 {"unused", unused},
                 {"synthetic", synthetic},
                 {"shards", finished.shards.size()},
                 {"bytes", finished.bytes},
                 {"resumed_shards", resumed},
                 {"seconds", seconds},
                 {"granules_per_second", static_cast<double>(job.granules.size()) / seconds}};
  for (const auto& [what, count] : unused) {
    log_warning(
        fmt::format("chips: {} files of {} granules cannot be read, and their chips do "
                    "without; granules.csv says which.",
                    what, count));
  }
  if (finished.records == 0) {
    result["sha256"] = "";
    log_warning("chips: no chip was accepted; granules.csv says why.");
    return result;
  }
  write_manifest(job.places.output, finished);
  result["sha256"] = sha256_hex_of_file(job.places.output / kManifestName);
  return result;
}

}  // namespace

void ChipJobOptions::describe(FieldTable& fields) {
  fields.add("root", &root, "folder of MOD021KM and MYD021KM files (searched below), or one file");
  fields.add("masks", &masks, "folder of MOD06 or MOD35 files; empty: root");
  fields.add("geolocation", &geolocation, "folder of MOD03 files; empty: root");
  fields.add("output", &output, "folder of the shards");
  chips.describe(fields);
  fields.add("encoding", &encoding, "raw: counts as they are; lz4: compressed")
      .one_of({"raw", "lz4"});
  fields
      .add("granules_per_shard", &granules_per_shard,
           "granules that share a shard; 0: 1 to 32, by their number")
      .at_least(0);
  fields.add("processes", &processes, "that read at once, of each rank; 0: one per core")
      .at_least(0);
  fields.add("quick_looks", &quick_looks, "a picture of each granule with its chips");
  fields.add("skip_bad", &skip_bad, "count and list unusable granules instead of stopping");
  fields.add("overwrite", &overwrite, "begin anew in an output that holds chips");
  fields
      .add("rank_timeout_minutes", &rank_timeout_minutes,
           "how long rank 0 waits for the other ranks of a job")
      .at_least(0);
}

std::vector<GranuleFiles> find_granules(const ChipJobOptions& options) {
  const fs::path root(options.root);
  fs::path beside = fs::is_regular_file(root) ? root.parent_path() : root;
  if (beside.empty()) beside = ".";
  // A folder that holds several products is looked through once.
  std::map<fs::path, ProductFolder> folders;
  const auto in_folder = [&](const fs::path& path) -> const ProductFolder& {
    return folders.try_emplace(path, path).first->second;
  };
  const auto files_beside = [&](const std::string& name, const char* product) {
    return in_folder(name.empty() ? beside : fs::path(name)).files_of(product, Duplicates::kNewest);
  };
  const ProductFolder& granule_folder = in_folder(root);
  const FilesByGranule level_1b = granule_folder.files_of("021KM", Duplicates::kRefuse);
  if (const auto& unknown = granule_folder.unknown(); !unknown.empty()) {
    log_warning(
        fmt::format("chips: {} .hdf files are left out, since neither their names nor their "
                    "metadata say what they are; one is {}.",
                    unknown.size(), unknown.front().string()));
  }
  if (level_1b.empty()) {
    throw UsageError(fmt::format("chips: no MOD021KM or MYD021KM file (.hdf) in {}.", options.root),
                     "name their folder with --root.");
  }
  const FilesByGranule mod06 = files_beside(options.masks, "06_L2");
  const FilesByGranule mod35 = files_beside(options.masks, "35_L2");
  const FilesByGranule mod03 = files_beside(options.geolocation, "03");
  const std::vector<BandSlot> slots = options.chips.slots();
  const bool has_aqua = level_1b.begin()->first.starts_with(platform_name(Platform::kAqua));
  if (has_aqua && std::any_of(slots.begin(), slots.end(),
                              [](const BandSlot& slot) { return slot.aqua == "6"; })) {
    log_warning("chips: most detectors of Aqua's band 6 are dead; `6/5` takes its band 5 instead.");
  }
  std::vector<GranuleFiles> granules;
  for (const auto& [key, path] : level_1b) {
    GranuleFiles files;
    files.key = key;
    files.level_1b = path;
    if (const auto file = mod03.find(key); file != mod03.end()) files.geolocation = file->second;
    for (const FilesByGranule* masks : {&mod06, &mod35}) {
      if (const auto file = masks->find(key); file != masks->end()) {
        files.masks.push_back(file->second);
      }
    }
    granules.push_back(files);
  }
  return granules;
}

Json make_chips(const ChipJobOptions& options, const LaunchEnvironment& environment) {
  const auto begin = Clock::now();
  options.chips.check();
  if (options.output.empty()) {
    throw UsageError("chips: no output.", "give one with --output FOLDER.");
  }
  if (options.overwrite && environment.world_size > 1) {
    throw UsageError(
        fmt::format("chips: --overwrite by one of {} ranks would remove what the others "
                    "write.",
                    environment.world_size),
        "remove the output first.");
  }
  Job job;
  job.options = options;
  job.places.output = options.output;
  job.granules = find_granules(options);
  if (options.granules_per_shard == 0) {
    job.options.granules_per_shard = default_granules_per_shard(job.granules.size());
  }
  add_fingerprints(job);
  prepare_output(job, environment);

  remove_leftovers(job, environment);
  std::vector<int64_t> groups;
  std::vector<Json> kept;
  for (int64_t group = environment.rank; group < job.groups(); group += environment.world_size) {
    auto note = read_note(job, group);
    if (!note) {
      fs::remove(job.places.output / kManifestName);  // it is of other granules
      groups.push_back(group);
    } else if (environment.world_size == 1 && may_improve(*note)) {
      // Ranks would not know of each other's second try: it is for one process.
      groups.push_back(group);
    } else {
      kept.push_back(std::move(*note));
    }
  }
  if (!options.skip_bad) std::ranges::for_each(kept, refuse_bad);
  if (!groups.empty()) {
    WorkerPlan plan;
    plan.name = "chips";
    plan.task_name = "shard";
    plan.tasks = static_cast<int64_t>(groups.size());
    plan.items = static_cast<int64_t>(job.granules.size());
    plan.processes = std::min(thread_count(options.processes), plan.tasks);
    plan.goes_on_after_crash = options.skip_bad;
    plan.crash_hint = "download the file again, or leave it out with --skip_bad.";
    plan.make_task = [&] {
      const auto cutter = std::make_shared<ChipCutter>(options.chips);
      return [&, cutter](int64_t task, ItemLog& log) {
        make_group(job, groups[static_cast<size_t>(task)], *cutter, log);
      };
    };
    plan.name_of_item = [&](int64_t item) {
      return job.granules[static_cast<size_t>(item)].level_1b.string();
    };
    run_in_processes(plan);
    remove_leftovers(job, environment);  // of processes that crashed
  }
  if (environment.rank != 0) return {};
  const std::vector<Json> notes = wait_for_notes(job, environment);
  return finish(job, notes, std::ssize(kept), seconds_since(begin));
}

}  // namespace swath::data::modis
