#include "models/initialize.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <string_view>

#include "core/error.h"
#include "core/hash.h"
#include "core/random.h"
#include "core/tensor/torch.h"
#include "ops/patches.h"

namespace swath::models {
namespace {

// Values are drawn in pieces of this many, each its own stream, so that large models start fast.
constexpr int64_t kPiece = int64_t{1} << 18;

template <class Draw>
void fill(const std::string& name, const at::Tensor& parameter, uint64_t seed, const Draw& draw) {
  const at::Tensor values = at::empty(
      parameter.sizes(),
      at::TensorOptions(parameter.scalar_type() == at::kDouble ? at::kDouble : at::kFloat));
  const int64_t count = values.numel();
  const uint64_t id = xxh3(std::string_view(name));
  const auto fill_pieces = [&](auto* data) {
    at::parallel_for(0, (count + kPiece - 1) / kPiece, 1, [&](int64_t begin, int64_t end) {
      for (int64_t piece = begin; piece < end; ++piece) {
        Random random(seed, RandomPurpose::kInitialize, static_cast<uint64_t>(piece), id);
        for (int64_t i = piece * kPiece; i < std::min(count, (piece + 1) * kPiece); ++i) {
          // Rounded to float32 in every precision: models of different precision start alike.
          data[i] = static_cast<float>(draw(random));
        }
      }
    });
  };
  if (values.scalar_type() == at::kDouble) {
    fill_pieces(values.mutable_data_ptr<double>());
  } else {
    fill_pieces(values.mutable_data_ptr<float>());
  }
  parameter.copy_(values);
}

void fill_uniform(const std::string& name, const at::Tensor& parameter, uint64_t seed,
                  double bound) {
  fill(name, parameter, seed, [bound](Random& random) { return random.uniform(-bound, bound); });
}

void fill_normal(const std::string& name, const at::Tensor& parameter, uint64_t seed,
                 double deviation) {
  fill(name, parameter, seed, [deviation](Random& random) { return deviation * random.normal(); });
}

bool is_norm(std::string_view name) { return name.find("norm") != std::string_view::npos; }

}  // namespace

void initialize_parameter(const std::string& name, const at::Tensor& parameter,
                          const VitDimensions& d, uint64_t seed) {
  const at::NoGradGuard no_grad;
  if (name == "pos_embed") {
    parameter.copy_(ops::sincos_position_table(d.width, d.grid(), d.grid()));
  } else if (name == "decoder_pos_embed") {
    parameter.copy_(ops::sincos_position_table(d.decoder_width, d.grid(), d.grid()));
  } else if (name == "cls_token" || name == "mask_token") {
    fill_normal(name, parameter, seed, 0.02);
  } else if (name == "patch_embed.proj.bias") {
    fill_uniform(name, parameter, seed, 1 / std::sqrt(static_cast<double>(d.patch_values())));
  } else if (name == "head.weight") {
    fill_normal(name, parameter, seed, 2e-5);
  } else if (name.ends_with(".bias")) {
    parameter.zero_();
  } else if (is_norm(name)) {
    parameter.fill_(1);
  } else if (name.ends_with(".weight")) {
    const int64_t out = parameter.size(0);
    const int64_t in = parameter.numel() / out;
    fill_uniform(name, parameter, seed, std::sqrt(6.0 / static_cast<double>(in + out)));
  } else {
    throw Error(fmt::format("no rule to initialise the parameter {}.", name));
  }
}

void initialize_parameter(const std::string& name, const at::Tensor& parameter,
                          const SwinDimensions& d, uint64_t seed) {
  const at::NoGradGuard no_grad;
  const bool is_of_branch =
      name.find(".norm1.") != std::string::npos || name.find(".norm2.") != std::string::npos;
  if (name.ends_with(".logit_scale")) {
    parameter.fill_(std::log(10.0));
  } else if (name.starts_with("patch_embed.proj.")) {
    const auto inputs = static_cast<double>(d.input_channels() * d.patch * d.patch);
    fill_uniform(name, parameter, seed, 1 / std::sqrt(inputs));
  } else if (name.starts_with("decoder.")) {
    fill_uniform(name, parameter, seed, 1 / std::sqrt(static_cast<double>(d.last_width())));
  } else if (name.ends_with("bias") || is_of_branch) {  // q_bias and v_bias among them
    parameter.zero_();
  } else if (is_norm(name)) {
    parameter.fill_(1);
  } else if (name == "mask_token" || name == "band_embed" || name.ends_with(".weight")) {
    fill_normal(name, parameter, seed, 0.02);
  } else {
    throw Error(fmt::format("no rule to initialise the parameter {}.", name));
  }
}

void initialize(torch::nn::Module& module, const VitDimensions& dimensions, uint64_t seed) {
  for (const auto& parameter : module.named_parameters()) {
    initialize_parameter(parameter.key(), parameter.value(), dimensions, seed);
  }
}

}  // namespace swath::models
