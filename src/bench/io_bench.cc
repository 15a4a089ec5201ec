#include "bench/io_bench.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <chrono>

#include "bench/peer_process.h"
#include "bench/spread.h"
#include "core/error.h"
#include "data/loader.h"
#include "data/normalization.h"

namespace swath::bench {
namespace {

using Clock = std::chrono::steady_clock;

data::Loader make_loader(const IoBenchOptions& options,
                         const std::shared_ptr<const data::Dataset>& dataset,
                         const data::Transform& transform, int64_t workers) {
  data::LoaderOptions loader;
  loader.batch_size = std::min<int64_t>(options.batch_size, dataset->size());
  loader.workers = workers;
  loader.skip_bad = options.data.skip_bad;
  return {dataset, transform, loader, 0, c10::Device(c10::kCPU)};
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
  while ((elapsed = std::chrono::duration<double>(Clock::now() - start).count()) < seconds) {
    images += loader.next().size();
  }
  return static_cast<double>(images) / elapsed;
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
  const data::Transform transform(options.transform,
                                  data::compute_normalization(*dataset, few).normalization());
  check_batches(options, dataset, transform);

  std::vector<double> ours;
  std::vector<double> theirs;
  for (int64_t repeat = 0; repeat < options.repeats; ++repeat) {
    {
      data::Loader loader = make_loader(options, dataset, transform, options.workers);
      images_per_second(loader, 0.5);  // warm up: threads, page cache
      ours.push_back(images_per_second(loader, options.seconds));
    }
    if (!options.peer) continue;
    PeerProcess peer({peer_python(), peer_script("io_peer.py"), options.data.root, "--workers",
                      std::to_string(options.workers), "--size",
                      std::to_string(options.transform.size)});
    theirs.push_back(peer.read_json().at("images_per_second").get<double>());
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
                      {"images_per_second", to_json(peer)}};
    result["ratio"] = spread.median / peer.median;
  }
  return result;
}

}  // namespace swath::bench
