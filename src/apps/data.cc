#include <fmt/format.h>

#include "apps/commands.h"
#include "core/error.h"
#include "core/files.h"
#include "data/clouds/derive_labels.h"
#include "data/clouds/label_chips.h"
#include "data/inspect.h"
#ifdef SWATH_WITH_HDF4
#include "data/modis/product_labels.h"
#include "data/modis/synthetic_granule.h"
#endif
#include "data/pack.h"
#include "data/split.h"
#include "data/verify.h"

namespace swath::apps {
namespace {

constexpr const char* kActions =
    "split, label, product-labels, derive-labels, pack, inspect, verify, synthesize";

// An action is an options struct, mostly with `data.root`, and a library function from it to JSON.
template <class Options>
Outcome run_action(const CommandSyntax& syntax, const Words& words,
                   const std::function<Json(const Options&)>& action) {
  Options options;
  FieldTable fields = make_field_table(options);
  const Arguments arguments = parse_arguments(syntax, words, fields);
  Outcome outcome;
  if (arguments.help) return outcome;
  if constexpr (requires { options.overwrite; }) options.overwrite |= arguments.overwrite;
  if constexpr (requires { options.data; }) {
    options.data.root = expand_environment(options.data.root);
  }
  if constexpr (requires { options.labels; }) options.labels = expand_environment(options.labels);
  if constexpr (requires { options.label_map; }) {
    options.label_map = expand_environment(options.label_map);
  }
  if constexpr (requires { options.products; }) {
    options.products = expand_environment(options.products);
  }
  outcome.json = action(options);
  outcome.text = outcome.json.dump(2);
  return outcome;
}

}  // namespace

Outcome run_data(const CommandSyntax& syntax, const Words& words) {
  const std::string action = words.empty() ? "" : words.front();
  const Words rest(words.empty() ? words.end() : words.begin() + 1, words.end());
  const auto describe = [&](const std::string& summary, const std::string& example) {
    return CommandSyntax{"data " + action, summary, example, {}};
  };
  if (action == "split") {
    return run_action<data::SplitOptions>(
        describe("write train and test lists with checksums",
                 "swath data split --root ucm/ --preset ucm --output splits/ucm"),
        rest, data::make_split);
  }
  if (action == "label") {
    return run_action<data::clouds::LabelOptions>(
        describe("join chips with cloud-class labels and write lists split by time",
                 "swath data label --root chips/ --labels aicca/ --output lists/"),
        rest, data::clouds::label_chips);
  }
  if (action == "derive-labels") {
    return run_action<data::clouds::DeriveOptions>(
        describe("compute stand-in labels from the chips themselves, to try the pipeline",
                 "swath data derive-labels --root chips/ --output labels/"),
        rest, data::clouds::derive_labels);
  }
  if (action == "pack") {
    return run_action<data::PackOptions>(
        describe("pack a dataset into record shards, a WebDataset archive or a folder",
                 "swath data pack --root images/ --output shards/"),
        rest, data::pack_dataset);
  }
  if (action == "inspect") {
    return run_action<data::InspectOptions>(
        describe("look at a dataset: sizes, bands, classes, value ranges",
                 "swath data inspect --root images/"),
        rest, data::inspect_dataset);
  }
  if (action == "verify") {
    Outcome outcome =
        run_action<data::VerifyOptions>(describe("decode everything and list what cannot be used",
                                                 "swath data verify --root images/"),
                                        rest, data::verify_dataset);
    if (outcome.json.value("bad", 0) > 0) outcome.exit_code = 1;
    return outcome;
  }
#ifdef SWATH_WITH_HDF4
  if (action == "product-labels") {
    return run_action<data::modis::ProductLabelOptions>(
        describe("derive classes from a pixel field of the chips' MOD06 files",
                 "swath data product-labels --root chips/ --products granules/ --output labels/"),
        rest, data::modis::product_labels);
  }
  if (action == "synthesize") {
    return run_action<data::modis::SyntheticSetOptions>(
        describe("write invented granules in the layout of MOD021KM, to try things with",
                 "swath data synthesize --output granules/"),
        rest, data::modis::write_synthetic_granules);
  }
#endif
  if (action == "--help" || action == "-h") {
    Outcome outcome;
    outcome.text = fmt::format("{}\n\nActions: {}; each has its own --help.\n\nExample:\n  {}",
                               syntax.summary, kActions, syntax.example);
    return outcome;
  }
  throw UsageError(fmt::format("data: unknown action `{}`.", action),
                   fmt::format("actions: {}.", kActions));
}

}  // namespace swath::apps
