#include "bench/chips_bench.h"

#include <ATen/ATen.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <filesystem>
#include <memory>
#include <thread>
#include <utility>

#include "bench/peer_process.h"
#include "bench/spread.h"
#include "core/clock.h"
#include "core/error.h"
#include "core/files.h"
#include "core/interrupt.h"
#include "core/random.h"
#include "data/loader.h"
#include "data/modis/chip_cutter.h"
#include "data/modis/synthetic_granule.h"
#include "data/shard_dataset.h"
#include "data/shard_set.h"

namespace swath::bench {
namespace fs = std::filesystem;
namespace modis = data::modis;
namespace {

// Float32 is written by NumPy's order of operations and by ours: (count - offset) * scale there,
// count * scale + shift here; offsets of 2,700 counts cost three digits of the seven.
constexpr double kTolerance = 2e-5;

struct Cut {
  int64_t chips = 0;
  double seconds = 0;
  double inflate_seconds = 0;
};

// What a granule becomes, in memory that is used again.
class OurChips {
 public:
  explicit OurChips(const modis::ChipOptions& options)
      : options_(options),
        cutter_(options),
        zeros_(options.bands.size(), 0.0F),
        ones_(options.bands.size(), 1.0F) {}

  Cut cut(const fs::path& path) {
    const auto begin = Clock::now();
    const auto plane = static_cast<size_t>(options_.size * options_.size);
    const auto bands = static_cast<int64_t>(options_.bands.size());
    const size_t values_of_chip = plane * options_.bands.size();
    size_t used = 0;
    if (!valid_) valid_ = std::make_unique<bool[]>(values_of_chip);
    modis::GranuleFiles files;
    files.level_1b = path;
    Cut result;
    const modis::GranuleReport report = cutter_.cut(files, [&](const modis::Chip& chip) {
      data::Calibration calibration;
      for (const auto& band : chip.values.bands) {
        calibration.bands.push_back(
            {band.scales.radiance_scale, band.scales.radiance_offset, std::nullopt});
      }
      if (values_.size() < used + values_of_chip) values_.resize(used + values_of_chip);
      data::calibrate_to_planes(chip.counts.data(), options_.size * bands, bands, {}, options_.size,
                                options_.size, calibration, {}, zeros_, ones_,
                                values_.data() + used, valid_.get());
      used += values_of_chip;
    });
    result.seconds = seconds_since(begin);
    result.chips = report.chips;
    result.inflate_seconds = cutter_.times().inflate_seconds;
    return result;
  }
  const std::vector<float>& values() const { return values_; }
  size_t values_of_chip() const {
    return static_cast<size_t>(options_.size * options_.size) * options_.bands.size();
  }

 private:
  modis::ChipOptions options_;
  modis::ChipCutter cutter_;
  std::vector<float> zeros_;
  std::vector<float> ones_;
  std::vector<float> values_;
  std::unique_ptr<bool[]> valid_;
};

void compare(const std::string& what, const OurChips& ours, int64_t chips, const fs::path& path,
             int64_t found) {
  if (found != chips) {
    throw Error(fmt::format("bench chips: {} accepts {} chips, we accept {}.", what, found, chips));
  }
  const MappedFile file(path);
  const size_t count = static_cast<size_t>(chips) * ours.values_of_chip();
  if (file.bytes().size() != count * sizeof(float)) {
    throw Error(fmt::format("bench chips: {} wrote {} bytes for {} chips.", what,
                            file.bytes().size(), chips));
  }
  const auto* theirs = reinterpret_cast<const float*>(file.bytes().data());
  for (size_t i = 0; i < count; ++i) {
    const double value = ours.values()[i];
    if (std::abs(value - theirs[i]) <= kTolerance * (1 + std::abs(value))) continue;
    throw Error(fmt::format("bench chips: value {} of chip {} is {} in {}, {} in ours.",
                            i % ours.values_of_chip(), i / ours.values_of_chip(), theirs[i], what,
                            value));
  }
}

std::vector<std::string> peer_command(const std::string& method, const ChipsBenchOptions& options,
                                      const fs::path& file, modis::Platform platform) {
  std::vector<std::string> command = {peer_python("peer-modis"),
                                      peer_script("chips_peer.py"),
                                      method,
                                      file.string(),
                                      "--size",
                                      fmt::format("{}", options.size),
                                      "--bands"};
  for (const std::string& band : options.bands) {
    command.push_back(modis::parse_band_slot(band).of(platform));
  }
  return command;
}

// The bands alone: what the whole cannot be faster than.
double read_seconds(const fs::path& path, const ChipsBenchOptions& options) {
  const auto begin = Clock::now();
  const modis::Granule granule(path);
  std::vector<std::string> bands;
  static std::vector<std::vector<uint16_t>> planes;
  planes.resize(options.bands.size());
  std::vector<uint16_t*> out;
  for (size_t i = 0; i < options.bands.size(); ++i) {
    bands.push_back(modis::parse_band_slot(options.bands[i]).of(granule.platform()));
    planes[i].resize(static_cast<size_t>(granule.rows() * granule.columns()));
    out.push_back(planes[i].data());
  }
  granule.read_bands(bands, out);
  return seconds_since(begin);
}

Json bench_file(const std::string& kind, const fs::path& path, const ChipsBenchOptions& options,
                const PeerFiles& scratch) {
  modis::ChipOptions chip_options;
  chip_options.bands = options.bands;
  chip_options.size = options.size;
  OurChips ours(chip_options);
  const Cut first = ours.cut(path);
  const modis::Platform platform = modis::Granule(path).platform();
  struct Peer {
    std::string method;
    std::string what;
    std::unique_ptr<PeerProcess> process;
    Json versions;
    std::vector<double> seconds;
  };
  std::vector<Peer> peers;
  if (options.peer) {
    for (const auto& [method, what] :
         {std::pair{"satpy", "satpy"}, std::pair{"pyhdf", "pyhdf + NumPy, whole slabs"}}) {
      Peer peer{method, what, nullptr, {}, {}};
      peer.process = std::make_unique<PeerProcess>(peer_command(method, options, path, platform));
      const fs::path values = scratch / fmt::format("{}-{}.f32", kind, method);
      peer.process->write_line("check " + values.string());
      const Json answer = peer.process->read_json();
      compare(what, ours, first.chips, values, answer.at("chips"));
      fs::remove(values);
      peer.versions = answer.at("versions");
      peers.push_back(std::move(peer));
    }
  }
  std::vector<double> seconds;
  std::vector<double> inflate;
  std::vector<double> reads;
  for (int64_t repeat = 0; repeat < options.repeats; ++repeat) {
    stop_if_interrupted("bench chips");
    const Cut cut = ours.cut(path);
    seconds.push_back(cut.seconds);
    inflate.push_back(cut.inflate_seconds / cut.seconds);
    reads.push_back(read_seconds(path, options));
    for (Peer& peer : peers) {
      peer.process->write_line("run");
      peer.seconds.push_back(peer.process->read_json().at("seconds"));
    }
  }
  const Spread own = spread_of(seconds);
  Json result = {{"kind", kind},
                 {"bytes", fs::file_size(path)},
                 {"chips", first.chips},
                 {"seconds", to_json(own)},
                 {"granules_per_second", 1 / own.median},
                 {"inflate_share", spread_of(inflate).median},
                 {"read_seconds", spread_of(reads).median},
                 {"peers", Json::array()}};
  for (const Peer& peer : peers) {
    result["peers"].push_back({{"what", peer.what},
                               {"versions", peer.versions},
                               {"seconds", to_json(spread_of(peer.seconds))},
                               {"ratio", spread_of(peer.seconds).median / own.median},
                               {"ratio_spread", to_json(spread_of_ratios(peer.seconds, seconds))}});
  }
  return result;
}

// Shards of chips whose counts are noise: what they hold does not change how fast they are read.
void write_synthetic_chips(const fs::path& folder, const ChipLoaderBenchOptions& options) {
  std::vector<modis::BandSlot> slots;
  for (const char* band : {"6/5", "7", "20", "28", "29", "31"}) {
    slots.push_back(modis::parse_band_slot(band));
  }
  const modis::ChipFields fields(slots);
  data::RecordLayout layout;
  layout.type = data::PixelType::kUint16;
  layout.height = layout.width = options.size;
  layout.bands = static_cast<int64_t>(slots.size());
  for (const auto& slot : slots) layout.band_info.push_back({slot.name(), 1, 0});
  layout.field_names = fields.names();
  fs::create_directories(folder);
  data::RecordShardWriter writer(folder / "shard-00000.shard", layout);
  Random random(static_cast<uint64_t>(options.seed), RandomPurpose::kTest);
  std::vector<uint16_t> counts(static_cast<size_t>(options.size * options.size * layout.bands));
  for (int64_t i = 0; i < options.chips; ++i) {
    for (uint16_t& count : counts) count = static_cast<uint16_t>(random.below(32768));
    counts[static_cast<size_t>(i) % counts.size()] = modis::kSaturated;
    modis::ChipValues values;
    values.bands.assign(slots.size(), {1, {0.0005, 1577.25, 3e-5, 0}});
    const std::vector<double> packed = fields.pack(values);
    data::Record record;
    record.name = fmt::format("chip{:06}", i);
    record.bytes = std::as_bytes(std::span(counts));
    record.fields = packed;
    writer.add(record);
  }
  writer.finish();
  data::FinishedShards finished;
  finished.layout = std::move(layout);
  finished.records = options.chips;
  finished.shards.push_back({{"file", "shard-00000.shard"}, {"records", options.chips}});
  data::write_manifest(folder, finished);
}

void check_first_batch(const data::ShardDataset& dataset, const Batch& batch) {
  std::vector<std::byte> scratch;
  const data::Image image = data::decode_image(dataset.source(0, &scratch));
  const at::Tensor values = at::from_blob(const_cast<std::byte*>(image.pixels.data()),
                                          {image.height, image.width, image.bands}, at::kFloat)
                                .permute({2, 0, 1});
  const at::Tensor valid = at::logical_not(at::isnan(values));
  const at::Tensor expected = at::nan_to_num(values, 0);
  if (!at::equal(batch.valid[0], valid) ||
      !at::allclose(batch.images_BCHW[0], expected, 1e-5, 1e-5)) {
    throw Error("bench chip-loader: the first chip differs from its values one by one.");
  }
}

double pread_per_second(const data::ShardDataset& dataset, const ChipLoaderBenchOptions& options,
                        int64_t record_bytes) {
  std::atomic<int64_t> done{0};
  std::atomic<bool> is_over{false};
  std::vector<std::thread> threads;
  const data::RecordShard& shard = *dataset.shards().front();
  const auto begin = Clock::now();
  for (int64_t worker = 0; worker < options.workers; ++worker) {
    threads.emplace_back([&, worker] {
      const int file = open(shard.path().c_str(), O_RDONLY | O_CLOEXEC);
      std::vector<std::byte> buffer(static_cast<size_t>(record_bytes));
      Random random(static_cast<uint64_t>(options.seed + worker), RandomPurpose::kTest);
      while (!is_over) {
        const int64_t record = random.below(static_cast<uint32_t>(shard.size()));
        const auto bytes = static_cast<ssize_t>(record_bytes);
        // Raw records have one length, behind a header of 4096 bytes.
        if (pread(file, buffer.data(), buffer.size(), 4096 + record * record_bytes) != bytes) break;
        ++done;
      }
      close(file);
    });
  }
  std::this_thread::sleep_for(std::chrono::duration<double>(options.seconds));
  is_over = true;
  for (std::thread& thread : threads) thread.join();
  return static_cast<double>(done) / seconds_since(begin);
}

}  // namespace

void ChipsBenchOptions::describe(FieldTable& fields) {
  fields.add("root", &root, "a MOD021KM or MYD021KM file; empty: a synthetic granule");
  fields.add("bands", &bands, "bands of a chip");
  fields.add("size", &size, "pixels a side of a chip").at_least(1);
  fields.add("scans", &scans, "of the synthetic granule").at_least(4);
  fields.add("repeats", &repeats, "measurements of each side").at_least(1);
  fields.add("peer", &peer, "measure satpy and pyhdf in turns with us");
}

Json bench_chips(const ChipsBenchOptions& options) {
  const PeerFiles scratch;
  Json files = Json::array();
  if (!options.root.empty()) {
    files.push_back(bench_file("given", options.root, options, scratch));
  } else {
    for (const int level : {0, 5}) {
      modis::SyntheticGranuleOptions granule;
      granule.scans = options.scans;
      granule.seed = static_cast<uint64_t>(options.seed) + 1;
      granule.deflate_level = level;
      granule.with_mod06 = false;
      granule.has_faults = false;
      const char* kind = level == 0 ? "plain" : "deflated";
      const auto written = modis::write_synthetic_granule(scratch / kind, granule);
      files.push_back(bench_file(kind, written.level_1b, options, scratch));
    }
  }
  return {{"bench", "chips"}, {"size", options.size}, {"bands", options.bands}, {"files", files}};
}

void ChipLoaderBenchOptions::describe(FieldTable& fields) {
  fields.add("root", &root, "a folder that `swath chips` wrote; empty: synthetic chips");
  fields.add("units", &units, "what chips become").one_of(modis::unit_names());
  fields.add("size", &size, "pixels a side of synthetic chips").at_least(1);
  fields.add("chips", &chips, "number of synthetic chips").at_least(1);
  fields.add("batch_size", &batch_size, "chips per batch").at_least(1);
  fields.add("workers", &workers, "threads, of the loader and of pread").at_least(1);
  fields.add("seconds", &seconds, "length of one repeat").at_least(0.1);
  fields.add("repeats", &repeats, "measurements of each side").at_least(1);
}

Json bench_chip_loader(const ChipLoaderBenchOptions& options) {
  const PeerFiles scratch;
  fs::path folder = options.root;
  if (options.root.empty()) {
    folder = scratch / "chips";
    write_synthetic_chips(folder, options);
  }
  const auto dataset = std::make_shared<data::ShardDataset>(folder, false, options.units);
  const data::RecordLayout& layout = dataset->layout();
  if (!dataset->has_missing() || layout.encoding != data::RecordEncoding::kRaw) {
    throw UsageError(fmt::format("bench chip-loader: {} holds no raw chips.", folder.string()),
                     "write them with `swath chips --encoding raw`.");
  }
  const auto record_bytes = layout.pixel_bytes_of_record();
  const auto bands = static_cast<size_t>(layout.bands);
  data::TransformOptions transform_options;
  transform_options.kind = "none";
  transform_options.size = layout.width;
  transform_options.horizontal_flip = false;
  const data::Transform transform(
      transform_options, {std::vector<double>(bands, 0.0), std::vector<double>(bands, 1.0)});
  data::LoaderOptions loader_options;
  loader_options.batch_size = std::min(options.batch_size, dataset->size());
  loader_options.workers = options.workers;
  const auto seed = static_cast<uint64_t>(options.seed);
  {
    data::LoaderOptions in_order = loader_options;
    in_order.shuffle = false;
    data::Loader loader(dataset, transform, in_order, seed, c10::Device(c10::kCPU));
    check_first_batch(*dataset, loader.next());
  }
  std::vector<double> ours;
  std::vector<double> theirs;
  for (int64_t repeat = 0; repeat < options.repeats; ++repeat) {
    data::Loader loader(dataset, transform, loader_options, seed, c10::Device(c10::kCPU));
    const auto rate = [&](double seconds) {
      int64_t chips = 0;
      const auto begin = Clock::now();
      double elapsed = 0;
      while ((elapsed = seconds_since(begin)) < seconds) {
        stop_if_interrupted("bench chip-loader");
        chips += loader.next().size();
      }
      return static_cast<double>(chips) / elapsed;
    };
    rate(0.5);  // warm up: threads, page cache, buffers
    ours.push_back(rate(options.seconds));
    theirs.push_back(pread_per_second(*dataset, options, record_bytes));
  }
  const Spread own = spread_of(ours);
  const Spread pread_spread = spread_of(theirs);
  const double gigabytes = static_cast<double>(record_bytes) * 1e-9;
  const Spread ratios = spread_of_ratios(ours, theirs);
  // A batch has four bytes for each value that a record stores in two.
  return {{"bench", "chip-loader"},
          {"units", options.units},
          {"workers", options.workers},
          {"record_bytes", record_bytes},
          {"chips_per_second", to_json(own)},
          {"stored_gigabytes_per_second", own.median * gigabytes},
          {"batch_gigabytes_per_second", 2 * own.median * gigabytes},
          {"pread_chips_per_second", to_json(pread_spread)},
          {"pread_gigabytes_per_second", pread_spread.median * gigabytes},
          {"ratio", 2 * own.median / pread_spread.median},
          {"record_ratio", own.median / pread_spread.median},
          {"record_ratio_spread", to_json(ratios)}};
}

}  // namespace swath::bench
