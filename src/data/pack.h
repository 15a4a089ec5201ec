// From any dataset to record shards, a WebDataset archive, or a plain folder.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/config.h"
#include "core/json.h"
#include "data/dataset.h"

namespace swath::data {

struct PackOptions {
  DatasetOptions data;
  std::string output;
  // shards: a folder of record shards. tar: one WebDataset archive (image, .cls, .json per sample).
  // folder: one file per sample under its name; encoded images as they are, pixels as .npy.
  std::string format = "shards";
  // file: bytes of the images kept as they are; raw: decoded pixels; lz4: raw, compressed; auto:
  // file for JPEG, raw for the rest.
  std::string encoding = "auto";
  std::vector<int64_t> bands;           // 0-based selection (raw and lz4); empty: all
  int64_t size = 0;                     // height and width every image must have; 0: as the first
  std::vector<std::string> band_names;  // of the packed bands
  std::vector<double> scale;            // physical value = scale * stored + offset, per band
  std::vector<double> offset;
  int64_t shard_mb = 4096;
  int64_t workers = 0;
  bool overwrite = false;

  void describe(FieldTable& fields);
};

// Every image is decoded once, so nothing unusable gets in: with data.skip_bad such samples are
// counted, listed and left out, else the first one (in the dataset's order) stops it. On any error
// the output is what it was before. Records keep the order, names, labels and coordinates of the
// dataset. Throws UsageError when output and data.root are the same or lie in one another. Returns
//   {"output", "format", "encoding", "records", "labelled", "bytes", "shards", "skipped",
//    "skipped_names", "sha256"} (of the manifest or archive)
Json pack_dataset(const PackOptions& options);

}  // namespace swath::data
