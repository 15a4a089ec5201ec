// All settings of `swath pretrain`, the type behind a recipe and a run's config.toml.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/loader.h"
#include "data/transform.h"
#include "models/registry.h"
#include "sharding/options.h"
#include "train/options.h"
#include "train/trainer.h"

namespace swath::apps {

// Per-band statistics; empty lists are computed from the data and stored with the run.
struct NormalizationOptions {
  std::vector<double> mean;
  std::vector<double> standard_deviation;
  std::vector<std::string> bands;
  std::string units = "stored counts";

  void describe(FieldTable& fields) {
    fields.add("mean", &mean, "per band, in stored units; empty: computed from the data");
    fields.add("standard_deviation", &standard_deviation,
               "per band; empty: computed from the data");
    fields.add("bands", &bands, "names of the bands; empty: as the data names them");
    fields.add("units", &units, "what a stored pixel value is, for the model card");
  }
};

// Where a command runs and writes.
struct RunOptions {
  std::string output;
  std::string device = "auto";
  std::string ops = "fused";
  int64_t seed = 0;
  int64_t threads = 0;

  void describe(FieldTable& fields) {
    fields.add("output", &output, "directory for results; empty: runs/COMMAND-N");
    fields.add("device", &device, "where to compute").one_of({"auto", "cpu", "cuda"});
    fields.add("ops", &ops, "operators: plain ATen or our fused ones")
        .one_of({"fused", "reference"});
    fields.add("seed", &seed, "of everything random").at_least(0);
    fields.add("threads", &threads, "compute threads; 0: one per processor core").at_least(0);
  }
};

struct PretrainOptions {
  RunOptions run;
  std::string objective = "auto";
  std::string resume = "auto";
  double telemetry_seconds = 1;
  models::ModelOptions model;
  data::DatasetOptions data;
  std::string test_root;
  std::string test_list;
  int64_t test_limit = 0;
  data::TransformOptions transform;
  data::LoaderOptions loader;
  NormalizationOptions normalization;
  train::OptimOptions optim;
  train::TrainOptions train;
  sharding::ShardingOptions sharding;

  void describe(FieldTable& fields) {
    run.describe(fields);
    fields.add("objective", &objective, "what is learned; auto: mae by a ViT, simmim by a SwinV2")
        .one_of({"auto", "mae", "simmim"});
    fields.add("resume", &resume, "auto: the newest checkpoint in output; none; or a path");
    fields
        .add("telemetry_seconds", &telemetry_seconds,
             "between readings of the first rank's device: power, utilisation, memory; 0: none")
        .at_least(0);
    fields.section("model", model);
    fields.section("data", data);
    fields.add("test_root", &test_root, "images of the test loss, when they lie apart");
    fields.add("test_list", &test_list, "list of them, below test_root or else data.root");
    fields.add("test_limit", &test_limit, "use so many of them; 0: all").at_least(0);
    fields.section("transform", transform);
    fields.section("loader", loader);
    fields.section("normalization", normalization);
    fields.section("optim", optim);
    fields.section("train", train);
    fields.section("sharding", sharding);
  }
};

}  // namespace swath::apps
