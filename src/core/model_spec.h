// What a model is made of, without a tensor allocated: written by models, read by the planner, the
// sharding engine, checkpoints and benchmarks. Free of LibTorch.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace swath {

struct ParameterSpec {
  std::string name;  // the name of timm and MAE: "blocks.0.attn.qkv.weight"
  std::vector<int64_t> shape;
  bool trainable = true;  // false: a fixed position table
  int64_t count() const {
    int64_t product = 1;
    for (const int64_t size : shape) product *= size;
    return product;
  }
};

// A part that is gathered, run and freed as one: a block, or what is left around the blocks
// ("root"). Units are listed in the order in which the forward pass runs them.
struct UnitSpec {
  std::string name;
  std::vector<ParameterSpec> parameters;
  // Per image: matrix products only, one multiply-add counts as two (backward not included).
  double forward_flops = 0;
  // Bytes per image that the backward pass needs from the forward pass, at 4 bytes per value.
  double activation_bytes = 0;
};

struct ModelSpec {
  std::string name;
  std::string family;  // "vit", "mae", "swin_v2" ...
  int64_t width = 0;
  int64_t depth = 0;
  int64_t mlp = 0;
  int64_t heads = 0;
  int64_t patch = 0;
  int64_t image_size = 0;
  int64_t channels = 0;
  std::vector<UnitSpec> units;
  // FLOPs of one training step per image: forward and backward, recomputation not counted.
  double train_flops = 0;

  int64_t parameter_count(bool trainable_only) const {
    int64_t total = 0;
    for (const UnitSpec& unit : units) {
      for (const ParameterSpec& parameter : unit.parameters) {
        if (parameter.trainable || !trainable_only) total += parameter.count();
      }
    }
    return total;
  }
  double forward_flops() const {
    double total = 0;
    for (const UnitSpec& unit : units) total += unit.forward_flops;
    return total;
  }
};

}  // namespace swath
