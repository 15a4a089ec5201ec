#include "bench/io_bench.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "bench/peer_process.h"
#include "bench/spread.h"
#include "core/clock.h"
#include "core/error.h"
#include "core/files.h"
#include "core/interrupt.h"
#include "data/loader.h"
#include "data/normalization.h"

namespace swath::bench {
namespace {

data::Loader make_loader(const IoBenchOptions& options,
                         const std::shared_ptr<const data::Dataset>& dataset,
                         const data::Transform& transform, int64_t workers) {
  data::LoaderOptions loader;
  loader.batch_size = std::min<int64_t>(options.batch_size, dataset->size());
  loader.workers = workers;
  loader.skip_bad = options.data.skip_bad;
  return {dataset, transform, loader, static_cast<uint64_t>(options.seed), c10::Device(c10::kCPU)};
}

void check_batches(const IoBenchOptions& options,
                   const std::shared_ptr<const data::Dataset>& dataset,
                   const data::Transform& transform) {
  data::Loader one = make_loader(options, dataset, transform, options.workers);
  data::Loader other = make_loader(options, dataset, transform, options.workers + 1);
  const at::Tensor a = one.next().images_BCHW;
  const at::Tensor b = other.next().images_BCHW;
  if (!at::isfinite(a).all().item<bool>() || !at::equal(a, b)) {
    throw Error("bench io: batches differ between numbers of workers, or are not finite.");
  }
}

double images_per_second(data::Loader& loader, double seconds) {
  int64_t images = 0;
  const auto start = Clock::now();
  double elapsed = 0;
  while ((elapsed = seconds_since(start)) < seconds) {
    stop_if_interrupted("bench io");
    images += loader.next().size();
  }
  return static_cast<double>(images) / elapsed;
}

// The paths of all images for the peer, which does MAE's transform of RGB files and no other.
std::string peer_list(const IoBenchOptions& options, const data::Dataset& dataset,
                      const data::Transform& transform) {
  const std::string hint = "measure ours alone with --peer false.";
  if (transform.channels() != 3 || options.transform.kind != "random_resized_crop" ||
      options.transform.dihedral || !options.transform.bands.empty()) {
    throw UsageError("bench io: the peer does random_resized_crop of three bands, nothing else.",
                     hint);
  }
  std::string list;
  for (int64_t i = 0; i < dataset.size(); ++i) {
    const auto path = std::filesystem::path(options.data.root) / dataset.sample(i).name;
    if (!std::filesystem::exists(path)) {
      throw UsageError(
          fmt::format("bench io: the peer needs image files; there is no {}.", path.string()),
          hint);
    }
    list += std::filesystem::absolute(path).string() + "\n";
  }
  return list;
}

std::vector<std::string> peer_command(const IoBenchOptions& options, const std::string& list) {
  const data::TransformOptions& transform = options.transform;
  std::vector<std::string> command = {peer_python(), peer_script("io_peer.py"), list};
  const auto add = [&](const std::string& option, const auto&... values) {
    command.push_back(option);
    (command.push_back(fmt::format("{}", values)), ...);
  };
  add("--workers", options.workers);
  add("--batch", options.batch_size);
  add("--size", transform.size);
  add("--scale", transform.scale_min, transform.scale_max);
  add("--ratio", transform.ratio_min, transform.ratio_max);
  add("--flip", transform.horizontal_flip ? 0.5 : 0.0);
  add("--seconds", options.seconds);
  add("--seed", options.seed);
  return command;
}

}  // namespace

void IoBenchOptions::describe(FieldTable& fields) {
  fields.section("data", data);
  fields.section("transform", transform);
  fields.add("workers", &workers, "decode threads, and processes of the peer").at_least(1);
  fields.add("batch_size", &batch_size, "images per batch").at_least(1);
  fields.add("seconds", &seconds, "length of one repeat").at_least(0.1);
  fields.add("repeats", &repeats, "measurements of each side").at_least(1);
  fields.add("peer", &peer, "measure torchvision and Pillow in turns with us");
}

Json bench_io(const IoBenchOptions& options) {
  const std::shared_ptr<const data::Dataset> dataset = data::open_dataset(options.data);
  data::NormalizationOptions few;
  few.bands = options.transform.bands;
  few.most_samples = 64;
  few.skip_bad = options.data.skip_bad;
  const data::Transform transform(options.transform,
                                  data::compute_normalization(*dataset, few).normalization());
  check_batches(options, dataset, transform);
  const PeerFiles files;
  const std::string list = (files / "images.txt").string();
  if (options.peer) write_file_atomically(list, peer_list(options, *dataset, transform));

  std::vector<double> ours;
  std::vector<double> theirs;
  Json answer;
  for (int64_t repeat = 0; repeat < options.repeats; ++repeat) {
    {
      data::Loader loader = make_loader(options, dataset, transform, options.workers);
      images_per_second(loader, 0.5);  // warm up: threads, page cache
      ours.push_back(images_per_second(loader, options.seconds));
    }
    if (!options.peer) continue;
    PeerProcess peer(peer_command(options, list));
    answer = peer.read_json();
    theirs.push_back(answer.at("images_per_second"));
  }
  const Spread spread = spread_of(ours);
  Json result = {
      {"images_per_second", to_json(spread)},
      {"images_per_second_per_core", spread.median / static_cast<double>(options.workers)},
      {"workers", options.workers},
      {"images", dataset->size()},
      {"size", options.transform.size},
      {"jpeg_fast_scale", options.transform.jpeg_fast_scale}};
  if (!theirs.empty()) {
    const Spread peer = spread_of(theirs);
    result["peer"] = {{"what", "torchvision + Pillow DataLoader"},
                      {"images_per_second", to_json(peer)},
                      {"torchvision", answer.at("torchvision")},
                      {"pillow", answer.at("pillow")}};
    result["ratio"] = spread.median / peer.median;
    result["ratio_spread"] = to_json(spread_of_ratios(ours, theirs));
  }
  return result;
}

}  // namespace swath::bench
