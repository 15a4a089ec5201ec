#include <fmt/format.h>

#include "apps/commands.h"
#include "models/model_list.h"

namespace swath::apps {
namespace {

struct ModelsOptions {
  bool memory = false;
  int64_t batch_size = 64;

  void describe(FieldTable& fields) {
    fields.add("memory", &memory, "what holding each model takes while it trains").flag("memory");
    fields.add("batch_size", &batch_size, "images of a step, for --memory").at_least(1);
  }
};

std::string sizes_text(const Json& models) {
  std::string text = fmt::format("{:<14}{:>6}{:>6}{:>7}{:>6}{:>6}{:>6}{:>16}{:>16}{:>13}\n", "name",
                                 "width", "depth", "mlp", "heads", "patch", "image",
                                 "encoder params", "total params", "GFLOP/image");
  for (const Json& model : models) {
    text += fmt::format(
        "{:<14}{:>6}{:>6}{:>7}{:>6}{:>6}{:>6}{:>16}{:>16}{:>13.1f}\n",
        model.at("name").get<std::string>(), model.at("width").get<int64_t>(),
        model.at("depth").get<int64_t>(), model.at("mlp").get<int64_t>(),
        model.at("heads").get<int64_t>(), model.at("patch").get<int64_t>(),
        model.at("image_size").get<int64_t>(), model.at("encoder_params").get<int64_t>(),
        model.at("total_params").get<int64_t>(), model.at("flops_per_image").get<double>() / 1e9);
  }
  return text +
         "GFLOP/image: one training step of MAE, 75 % masked, or of SimMIM; one multiply-add "
         "counted "
         "as two.";
}

std::string memory_text(const Json& rows) {
  constexpr double kGib = 1 << 30;
  const auto gib = [](const Json& row, const char* key) {
    return row.at(key).get<double>() / kGib;
  };
  std::string text =
      fmt::format("{:<14}{:>10}{:>9}{:>11}{:>11}{:>10}{:>12}{:>13}\n", "name", "model", "batch",
                  "gradients", "optimizer", "total", "with AdamW", "activations");
  for (const Json& row : rows) {
    text += fmt::format("{:<14}{:>10.3f}{:>9.3f}{:>11.3f}{:>11.3f}{:>10.3f}{:>12.3f}{:>13.3f}\n",
                        row.at("name").get<std::string>(), gib(row, "model"), gib(row, "batch"),
                        gib(row, "gradients"), gib(row, "optimizer"), gib(row, "total"),
                        gib(row, "total_adamw"), gib(row, "activations"));
  }
  return text + fmt::format(
                    "GiB in float32, unsharded, {} images a step. The optimizer's column and the "
                    "total count one state per parameter; AdamW keeps two.",
                    rows.front().at("batch_size").get<int64_t>());
}

}  // namespace

Outcome run_models(const CommandSyntax& syntax, const Words& words) {
  ModelsOptions options;
  FieldTable fields = make_field_table(options);
  const Arguments arguments = parse_arguments(syntax, words, fields);
  Outcome outcome;
  if (arguments.help) return outcome;
  outcome.json["models"] = models::list_models();
  outcome.text = sizes_text(outcome.json["models"]);
  if (options.memory) {
    outcome.json["memory"] = models::memory_table(options.batch_size);
    outcome.text = memory_text(outcome.json["memory"]);
  }
  return outcome;
}

}  // namespace swath::apps
