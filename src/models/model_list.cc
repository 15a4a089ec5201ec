#include "models/model_list.h"

#include <string>
#include <vector>

#include "models/swin_spec.h"
#include "models/vit_spec.h"

namespace swath::models {
namespace {

constexpr int64_t kBytesPerValue = 4;

Json vit_entry(const ModelOptions& options) {
  const VitDimensions d = resolve(options);
  return {{"name", d.name},
          {"family", "vit"},
          {"width", d.width},
          {"depth", d.depth},
          {"mlp", d.mlp},
          {"gated_mlp", d.gated_mlp},
          {"heads", d.heads},
          {"patch", d.patch},
          {"image_size", d.image_size},
          {"channels", d.channels},
          {"encoder_params", encoder_params(d)},
          {"table_params", table_params(d)},
          {"total_params", total_params(d)},
          {"flops_per_image", mae_spec(d).train_flops}};
}

Json swin_entry(const ModelOptions& options) {
  const SwinDimensions d = resolve_swin(options);
  SwinDimensions table = d;
  table.channels = 3;
  std::vector<int64_t> depths;
  for (const SwinStage& stage : d.stages) depths.push_back(stage.depth);
  return {{"name", d.name},
          {"family", "swin_v2"},
          {"width", d.width},
          {"depth", d.depth()},
          {"depths", depths},
          {"window", d.window},
          {"mlp", d.stages[0].mlp()},
          {"gated_mlp", false},
          {"heads", d.heads},
          {"patch", d.patch},
          {"image_size", d.image_size},
          {"channels", d.channels},
          {"encoder_params", swin_spec(d).parameter_count(true)},
          {"table_params", swin_spec(table, 1000).parameter_count(false)},
          {"total_params", simmim_spec(d).parameter_count(true)},
          {"flops_per_image", simmim_spec(d).train_flops}};
}

ModelOptions preset(const std::string& name) {
  ModelOptions options;
  options.name = name;
  return options;
}

}  // namespace

ModelSpec pretrain_spec(const ModelOptions& options) {
  return is_swin(options.name) ? simmim_spec(resolve_swin(options)) : mae_spec(resolve(options));
}

ModelSpec classifier_spec(const ModelOptions& options, int64_t num_classes) {
  return is_swin(options.name) ? swin_spec(resolve_swin(options), num_classes)
                               : vit_spec(resolve(options), num_classes);
}

Json list_models() {
  Json models = Json::array();
  for (const std::string& name : model_names()) {
    models.push_back(is_swin(name) ? swin_entry(preset(name)) : vit_entry(preset(name)));
  }
  return models;
}

Json memory_of(const ModelSpec& spec, int64_t batch_size) {
  const int64_t all = spec.parameter_count(false) * kBytesPerValue;
  const int64_t trained = spec.parameter_count(true) * kBytesPerValue;
  const int64_t batch =
      batch_size * spec.channels * spec.image_size * spec.image_size * kBytesPerValue;
  double activations = 0;
  for (const UnitSpec& unit : spec.units) activations += unit.activation_bytes;
  return {{"name", spec.name},
          {"parameters", spec.parameter_count(true)},
          {"batch_size", batch_size},
          {"model", all},
          {"batch", batch},
          {"gradients", trained},
          {"optimizer", trained},
          {"total", all + batch + 2 * trained},
          {"optimizer_adamw", 2 * trained},
          {"total_adamw", all + batch + 3 * trained},
          {"activations", static_cast<double>(batch_size) * activations}};
}

Json memory_table(int64_t batch_size) {
  Json rows = Json::array();
  for (const std::string& name : model_names()) {
    rows.push_back(memory_of(pretrain_spec(preset(name)), batch_size));
  }
  return rows;
}

}  // namespace swath::models
