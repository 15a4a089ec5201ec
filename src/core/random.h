// Random numbers that are functions of what they are for, not of what was drawn before.
//
// A Random is keyed by (seed, purpose, epoch, sample id): the augmentation of a sample and its mask
// are the same for any number of threads, any batch size and any number of ranks.
//
// Generator: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
#pragma once

#include <array>
#include <cstdint>

namespace swath {

// What a stream is for; two purposes never share numbers.
enum class RandomPurpose : uint32_t {
  kEpochOrder = 1,
  kAugment = 2,
  kMask = 3,
  kInitialize = 4,
  kProbe = 5,
  kSynthetic = 6,
  kMixup = 7,
  kDropPath = 8,
  kTest = 9,
};

class Random {
 public:
  Random(uint64_t seed, RandomPurpose purpose, uint64_t epoch = 0, uint64_t sample_id = 0);

  // UniformRandomBitGenerator, so that std::shuffle and friends accept it.
  using result_type = uint32_t;
  static constexpr uint32_t min() { return 0; }
  static constexpr uint32_t max() { return UINT32_MAX; }
  uint32_t operator()() { return next_uint32(); }

  uint32_t next_uint32();
  uint64_t next_uint64();
  // Uniform in [0, 1), 53 bits.
  double uniform();
  // Uniform in [low, high).
  double uniform(double low, double high) { return low + (high - low) * uniform(); }
  // Uniform integer in [0, bound); bound > 0.
  uint64_t below(uint64_t bound);
  // Standard normal (Box and Muller, 1958).
  double normal();

 private:
  std::array<uint32_t, 2> key_;
  std::array<uint32_t, 4> counter_;
  std::array<uint32_t, 4> block_{};
  int used_ = 4;
};

// A seeded bijection of [0, size): the place of each item in a shuffled order, computed without
// storing the order (a Feistel network walked until it lands inside the range).
class Permutation {
 public:
  Permutation(uint64_t size, uint64_t seed, uint64_t epoch);
  uint64_t operator()(uint64_t index) const;

 private:
  uint64_t size_;
  int half_bits_;
  std::array<uint32_t, 4> round_keys_{};
};

}  // namespace swath
