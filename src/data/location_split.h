// Train and test by place: whole blocks of the Earth go to one side, because neighbouring chips
// look alike and a random split would test on what was trained on.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <utility>
#include <vector>

namespace swath::data {

using BlockKey = std::pair<int64_t, int64_t>;  // row from the south, column from the date line

// Samples per class in each block; the vectors have one length (1 for unlabelled data).
using BlockHistogram = std::map<BlockKey, std::vector<int64_t>>;

// Takes blocks in the order of SHA-256("<seed>:block/<row>/<column>") and makes one a test block
// when a class in it has fewer than test_fraction of its samples on the test side, unless that
// would lift another class above twice the fraction. The result depends on the counts and the seed
// only.
std::set<BlockKey> choose_test_blocks(const BlockHistogram& blocks, double test_fraction,
                                      uint64_t seed);

// A grid of blocks of `block_degrees` that starts at 180 W, 90 S.
class BlockGrid {
 public:
  explicit BlockGrid(double block_degrees);

  BlockKey block_of(double longitude, double latitude) const;
  // Whether the place is closer than `margin_degrees`, in longitude or latitude, to a block of the
  // set other than its own. Longitudes wrap around.
  bool is_near(const std::set<BlockKey>& blocks, double longitude, double latitude,
               double margin_degrees) const;

 private:
  double block_degrees_;
  int64_t columns_;
};

}  // namespace swath::data
