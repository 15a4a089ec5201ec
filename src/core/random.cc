#include "core/random.h"

#include <cmath>
#include <numbers>

namespace swath {
namespace {

__extension__ using Uint128 = unsigned __int128;

uint64_t mix(uint64_t value) {
  // The finaliser of SplitMix64 (Steele et al., OOPSLA 2014).
  value += 0x9E3779B97F4A7C15ULL;
  value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9ULL;
  value = (value ^ (value >> 27)) * 0x94D049BB133111EBULL;
  return value ^ (value >> 31);
}

std::array<uint32_t, 4> philox(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
  constexpr uint32_t kMultiplier0 = 0xD2511F53;
  constexpr uint32_t kMultiplier1 = 0xCD9E8D57;
  constexpr uint32_t kWeyl0 = 0x9E3779B9;
  constexpr uint32_t kWeyl1 = 0xBB67AE85;
  for (int round = 0; round < 10; ++round) {
    const uint64_t product0 = static_cast<uint64_t>(kMultiplier0) * counter[0];
    const uint64_t product1 = static_cast<uint64_t>(kMultiplier1) * counter[2];
    counter = {static_cast<uint32_t>(product1 >> 32) ^ counter[1] ^ key[0],
               static_cast<uint32_t>(product1),
               static_cast<uint32_t>(product0 >> 32) ^ counter[3] ^ key[1],
               static_cast<uint32_t>(product0)};
    key[0] += kWeyl0;
    key[1] += kWeyl1;
  }
  return counter;
}

}  // namespace

Random::Random(uint64_t seed, RandomPurpose purpose, uint64_t epoch, uint64_t sample_id) {
  const uint64_t key = mix(mix(seed) ^ mix((static_cast<uint64_t>(purpose) << 48) ^ epoch));
  key_ = {static_cast<uint32_t>(key), static_cast<uint32_t>(key >> 32)};
  counter_ = {0, 0, static_cast<uint32_t>(sample_id), static_cast<uint32_t>(sample_id >> 32)};
}

uint32_t Random::next_uint32() {
  if (used_ == 4) {
    block_ = philox(counter_, key_);
    if (++counter_[0] == 0) ++counter_[1];
    used_ = 0;
  }
  return block_[static_cast<size_t>(used_++)];
}

uint64_t Random::next_uint64() {
  const uint64_t low = next_uint32();
  return low | static_cast<uint64_t>(next_uint32()) << 32;
}

double Random::uniform() { return static_cast<double>(next_uint64() >> 11) * 0x1.0p-53; }

uint64_t Random::below(uint64_t bound) {
  // Lemire's multiply-shift with rejection: unbiased (ACM TOMACS 2019).
  uint64_t value = next_uint64();
  auto product = static_cast<Uint128>(value) * bound;
  auto low = static_cast<uint64_t>(product);
  if (low < bound) {
    const uint64_t threshold = (0 - bound) % bound;
    while (low < threshold) {
      value = next_uint64();
      product = static_cast<Uint128>(value) * bound;
      low = static_cast<uint64_t>(product);
    }
  }
  return static_cast<uint64_t>(product >> 64);
}

double Random::normal() {
  const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));
  return radius * std::cos(2.0 * std::numbers::pi * uniform());
}

Permutation::Permutation(uint64_t size, uint64_t seed, uint64_t epoch) : size_(size) {
  int bits = 2;
  while (bits < 64 && (uint64_t{1} << bits) < size) bits += 2;
  half_bits_ = bits / 2;
  Random random(seed, RandomPurpose::kEpochOrder, epoch);
  for (uint32_t& key : round_keys_) key = random.next_uint32();
}

uint64_t Permutation::operator()(uint64_t index) const {
  const uint64_t mask = (uint64_t{1} << half_bits_) - 1;
  do {
    uint64_t left = index >> half_bits_;
    uint64_t right = index & mask;
    for (const uint32_t key : round_keys_) {
      const uint64_t next = left ^ (mix(right ^ (static_cast<uint64_t>(key) << 32)) & mask);
      left = right;
      right = next;
    }
    index = left << half_bits_ | right;
  } while (index >= size_);
  return index;
}

}  // namespace swath
