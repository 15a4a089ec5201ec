#include <fmt/format.h>

#include "apps/commands.h"
#include "models/vit_spec.h"

namespace swath::apps {

Outcome run_models(const CommandSyntax& syntax, const Words& words) {
  FieldTable no_fields;
  const Arguments arguments = parse_arguments(syntax, words, no_fields);
  Outcome outcome;
  if (arguments.help) return outcome;
  outcome.json["models"] = models::list_models();
  outcome.text = fmt::format("{:<14}{:>6}{:>6}{:>7}{:>6}{:>6}{:>6}{:>16}{:>16}{:>13}\n", "name",
                             "width", "depth", "mlp", "heads", "patch", "image", "encoder params",
                             "total params", "GFLOP/image");
  for (const Json& model : outcome.json["models"]) {
    outcome.text += fmt::format(
        "{:<14}{:>6}{:>6}{:>7}{:>6}{:>6}{:>6}{:>16}{:>16}{:>13.1f}\n",
        model.at("name").get<std::string>(), model.at("width").get<int64_t>(),
        model.at("depth").get<int64_t>(), model.at("mlp").get<int64_t>(),
        model.at("heads").get<int64_t>(), model.at("patch").get<int64_t>(),
        model.at("image_size").get<int64_t>(), model.at("encoder_params").get<int64_t>(),
        model.at("total_params").get<int64_t>(), model.at("flops_per_image").get<double>() / 1e9);
  }
  outcome.text +=
      "GFLOP/image: one MAE training step, 75 % masked, one multiply-add counted as two.";
  return outcome;
}

}  // namespace swath::apps
