// Train and test lists: seeded, independent of language, order and random generator, and checkable.
//
// Rule (docs/data.md): per class, files are ranked by SHA-256 of the text "<seed>:<class>/<file>",
// ascending as hexadecimal; the first n are for training. <file> is the path below the class folder
// (the whole name where there is none). Seed = repeat index.
//
// What a split directory holds:
//   train_labels_55_0.txt, valid_labels_55_0.txt   lists as RVSA writes them, `name class index`;
//                                                  55 = train and test share in tenths, 0 = repeat
//   probe_images.txt                               with the preset millionaid: names of all images
//                                                  in the lists, to keep them out of pretraining
//                                                  (data.exclude_list)
//   contents.sha256                                `<sha256>  <name>` of every sample's bytes, as
//                                                  sha256sum writes it
//   split.json                                     rule, counts, SHA-256 of each file; written last
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "core/config.h"
#include "core/json.h"
#include "data/dataset.h"

namespace swath::data {

struct SplitOptions {
  DatasetOptions data;
  std::string output;
  // ucm (50 % train), aid (20 %), nwpu (10 %), millionaid (1,000 of exactly 10,000, random over
  // classes); empty: the numbers below, which a preset does not go with.
  std::string preset;
  std::string by = "class";     // class: as above; location: whole blocks of the Earth
  double train_ratio = 0.5;     // share of each class
  int64_t train_per_class = 0;  // instead of the ratio
  int64_t train_total = 0;      // instead of both: this many over all classes, not stratified
  int64_t first_seed = 0;
  int64_t repeats = 5;  // seeds first_seed, first_seed + 1 ...
  // Exact duplicates (equal bytes) on both sides of the split: report (a warning, and listed in
  // split.json) or refuse. Published sets have them: UCM's airplane01 and airplane02 are one image.
  std::string duplicates = "report";
  double block_degrees = 5;  // by location
  // By location: train samples whose centre is closer than this to a test block are left out. With
  // the width of a chip or more, no train chip overlaps a test chip.
  double margin_degrees = 0;
  int64_t workers = 0;
  bool overwrite = false;

  void describe(FieldTable& fields);
};

// Writes the split and returns the content of split.json plus "output". Throws UsageError: no
// labels, a class with too few images (naming it), no coordinates for a split by location, names
// with spaces, duplicates, a preset together with numbers or for a set of another size.
Json make_split(const SplitOptions& requested);

// Checks a stored split against the files it was made from: each list and contents.sha256 have
// their stored SHA-256; no name is in both lists; every sample still exists and has its bytes; no
// two samples on different sides have equal bytes (with duplicates=refuse; else they are counted);
// class counts are those stored. Throws UsageError naming the file and the remedy. Returns counts.
Json check_split(const std::filesystem::path& directory, const Dataset& dataset,
                 int64_t workers = 0);

// For `dataset` opened with a list: when the list belongs to a stored split (a split.json beside it
// names it), every listed sample must have its stored bytes. Throws UsageError as above.
void check_listed_contents(const std::filesystem::path& list_path, const Dataset& dataset,
                           int64_t workers = 0);

// SHA-256 of the bytes of each sample (file, encoded image or raw pixels), by index.
std::vector<std::string> content_hashes(const Dataset& dataset, int64_t workers);

// Places in `dataset` of the samples of one class in the order of the rule: the first n are the
// training samples, and few-shot subsets of n shots are nested. `seed_text` is the part before the
// colon ("0", or "e3" for episode 3).
std::vector<int64_t> rank_class(const Dataset& dataset, const std::vector<int64_t>& samples,
                                const std::string& seed_text);

}  // namespace swath::data
