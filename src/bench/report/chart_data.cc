#include "bench/report/chart_data.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <string>
#include <utility>

#include "bench/report/html.h"
#include "data/modis/granule_table.h"

namespace swath::bench {
namespace {

constexpr size_t kMostPoints = 2000;
constexpr size_t kClockPoints = 500;

// Six digits are more than a chart shows, and keep the page small.
double rounded(double value) { return std::strtod(fmt::format("{:.6g}", value).c_str(), nullptr); }

Json number_or_null(double value) { return std::isfinite(value) ? Json(rounded(value)) : Json(); }

struct Points {
  std::vector<double> x;
  std::vector<double> y;

  void add(double x_value, double y_value) {
    x.push_back(x_value);
    y.push_back(y_value);
  }
  Json to_json() const {
    Json xs = Json::array();
    Json ys = Json::array();
    // Steps stay whole numbers: beyond a million six digits would move them.
    for (const double value : x) xs.push_back(value == std::floor(value) ? value : rounded(value));
    for (const double value : y) ys.push_back(rounded(value));
    return {{"x", xs}, {"y", ys}};
  }
};

// Step, epoch and minutes of some steps, by which the page turns steps into the others.
Json clock_of(const RunDirectory& run) {
  Json steps = Json::array();
  Json epochs = Json::array();
  Json minutes = Json::array();
  const size_t count = run.steps.size();
  const size_t stride = std::max<size_t>(1, count / kClockPoints);
  for (size_t i = 0; i < count; i += stride) {
    // The last point belongs in, or the end of the run could not be placed.
    const StepRecord& step = run.steps[i + stride < count ? i : count - 1];
    steps.push_back(step.step);
    epochs.push_back(number_or_null(step.epoch));
    minutes.push_back(number_or_null(step.elapsed_seconds / 60));
  }
  return {{"step", steps}, {"epoch", epochs}, {"minutes", minutes}};
}

Json run_data(const RunDirectory& run) {
  std::vector<double> steps;
  steps.reserve(run.steps.size());
  for (const StepRecord& step : run.steps) steps.push_back(static_cast<double>(step.step));
  Json series = Json::object();
  for (const StepColumn& column : step_columns()) {
    std::vector<double> values;
    values.reserve(run.steps.size());
    for (const StepRecord& step : run.steps) values.push_back(step.*column.value);
    Json line = thinned_series(steps, values, kMostPoints);
    if (!line["x"].empty()) series[column.name] = std::move(line);
  }
  steps.clear();
  std::vector<double> losses;
  for (const EpochRecord& epoch : run.epochs) {
    steps.push_back(static_cast<double>(epoch.step));
    losses.push_back(epoch.test_loss);
  }
  Json test_loss = thinned_series(steps, losses, kMostPoints);
  if (!test_loss["x"].empty()) series["test_loss"] = std::move(test_loss);
  return {{"name", run.name}, {"clock", clock_of(run)}, {"series", series}};
}

Json column_of(const Json& rows, const char* key) {
  Json values = Json::array();
  for (const Json& row : rows) values.push_back(number_or_null(number_of(row, key)));
  return values;
}

template <class Result>
Json confusion_data(const Result& result) {
  const Confusion confusion = confusion_of(result);
  if (confusion.classes.empty()) return nullptr;
  return {{"classes", confusion.classes}, {"counts", confusion.counts}};
}

Json probe_data(const ProbeOfRun& source) {
  const Json& values = source.probe->values;
  const Json& history = array_of(values, "history");
  const Json& few_shot = array_of(values, "few_shot");
  Json curves = Json::array();
  for (const Json& row : few_shot) {
    const std::string name = text_of(row, "name");
    auto curve = std::find_if(curves.begin(), curves.end(), [&](const Json& other) {
      return other["name"].get<std::string>() == name;
    });
    if (curve == curves.end()) {
      curves.push_back({{"name", name},
                        {"shots", Json::array()},
                        {"top1", Json::array()},
                        {"low", Json::array()},
                        {"high", Json::array()}});
      curve = curves.end() - 1;
    }
    for (const char* key : {"shots", "top1", "low", "high"}) {
      (*curve)[key].push_back(number_or_null(number_of(row, key)));
    }
  }
  return {{"run", source.run},
          {"label", source.label},
          {"epoch", column_of(history, "epoch")},
          {"top1", column_of(history, "top1")},
          {"train_loss", column_of(history, "train_loss")},
          {"test_loss", column_of(history, "test_loss")},
          {"few_shot", curves},
          {"confusion", confusion_data(*source.probe)}};
}

Json sweep_data(const SweepTable& sweep) {
  static const std::vector<std::pair<const char*, double SweepRow::*>> columns = {
      {"ranks", &SweepRow::ranks},       {"rate", &SweepRow::images_per_second},
      {"minimum", &SweepRow::minimum},   {"maximum", &SweepRow::maximum},
      {"memory", &SweepRow::peak_bytes}, {"communication", &SweepRow::exposed_communication},
      {"data", &SweepRow::data_wait},
  };
  Json cases = Json::array();
  for (const SweepCase& sweep_case : sweep.cases) {
    Json entry = {{"name", sweep_case.name}};
    for (const auto& [name, column] : columns) {
      entry[name] = Json::array();
      for (const size_t row : sweep_case.rows) {
        entry[name].push_back(number_or_null(sweep.rows[row].*column));
      }
    }
    cases.push_back(std::move(entry));
  }
  Json ideal;
  if (const SweepRow* start = sweep.ideal_start()) {
    ideal = {{"from", start->ranks}, {"rate", rounded(start->images_per_second)}};
  }
  return {{"ranks", sweep.ranks()}, {"cases", cases}, {"ideal", ideal}};
}

// What the pointer tells of chips, and their clusters.
Json chips_data(const EmbeddingMap& map, const std::vector<size_t>& chips) {
  Json data = {{"name", Json::array()},
               {"longitude", Json::array()},
               {"latitude", Json::array()},
               {"cluster", Json::array()}};
  for (const size_t index : chips) {
    const EmbeddedChip& chip = map.chips[index];
    data["name"].push_back(chip.name);
    data["longitude"].push_back(number_or_null(chip.longitude));
    data["latitude"].push_back(number_or_null(chip.latitude));
    data["cluster"].push_back(chip.cluster < 0 ? Json() : Json(chip.cluster));
  }
  return data;
}

// With the centre of each chip, in pixels of the swath.
Json granule_data(const EmbeddingMap& map, const GranuleMap& granule) {
  Json data = chips_data(map, granule.chips);
  data["rows"] = granule.rows;
  data["columns"] = granule.columns;
  data["side"] = granule.side;
  data["quick_look"] = nullptr;
  if (const Picture& picture = granule.quick_look; !picture.bytes.empty()) {
    const auto pixels = static_cast<double>(data::modis::kQuickLookStep);
    data["quick_look"] = {{"source", data_uri(picture.mime, picture.bytes)},
                          {"width", pixels * picture.width},
                          {"height", pixels * picture.height}};
  }
  const double half = (std::isnan(map.chip_size) ? granule.side : map.chip_size) / 2;
  data["x"] = Json::array();
  data["y"] = Json::array();
  for (const size_t index : granule.chips) {
    data["x"].push_back(static_cast<double>(map.chips[index].column) + half);
    data["y"].push_back(static_cast<double>(map.chips[index].row) + half);
  }
  return data;
}

Json embeddings_data(const EmbeddingMap& map) {
  Json granules = Json::array();
  for (const GranuleMap& granule : map.granules) granules.push_back(granule_data(map, granule));
  return {{"positions", chips_data(map, map.positions)}, {"granules", granules}};
}

}  // namespace

Json thinned_series(const std::vector<double>& x, const std::vector<double>& y, size_t limit) {
  Points finite;
  for (size_t i = 0; i < x.size(); ++i) {
    if (std::isfinite(x[i]) && std::isfinite(y[i])) finite.add(x[i], y[i]);
  }
  const size_t count = finite.x.size();
  if (count <= limit) return finite.to_json();

  const size_t num_buckets = std::max<size_t>(1, limit / 2);
  Points extremes;
  Points means;
  for (size_t bucket = 0; bucket < num_buckets; ++bucket) {
    const size_t begin = bucket * count / num_buckets;
    const size_t end = (bucket + 1) * count / num_buckets;
    size_t lowest = begin;
    size_t highest = begin;
    double sum_x = 0;
    double sum_y = 0;
    for (size_t i = begin; i < end; ++i) {
      if (finite.y[i] < finite.y[lowest]) lowest = i;
      if (finite.y[i] > finite.y[highest]) highest = i;
      sum_x += finite.x[i];
      sum_y += finite.y[i];
    }
    const auto [first, second] = std::minmax(lowest, highest);
    extremes.add(finite.x[first], finite.y[first]);
    if (first != second) extremes.add(finite.x[second], finite.y[second]);
    const auto size = static_cast<double>(end - begin);
    means.add(sum_x / size, sum_y / size);
  }
  Json series = extremes.to_json();
  series["mean"] = means.to_json();
  return series;
}

Json chart_data(const std::vector<RunDirectory>& runs, const std::vector<ProbeGroup>& groups,
                const std::vector<RunDirectory>& sweeps) {
  Json data = {{"runs", Json::array()},
               {"groups", Json::array()},
               {"sweeps", Json::array()},
               {"clouds", Json::array()},
               {"embeddings", Json::array()}};
  for (const RunDirectory& run : runs) {
    data["runs"].push_back(run_data(run));
    for (const CloudResult& result : run.clouds) {
      data["clouds"].push_back({{"confusion", confusion_data(result)}});
    }
    if (!run.embeddings.chips.empty()) {
      data["embeddings"].push_back(embeddings_data(run.embeddings));
    }
  }
  for (const ProbeGroup& group : groups) {
    Json entry = {
        {"dataset", group.dataset}, {"probes", Json::array()}, {"baselines", Json::array()}};
    for (const ProbeOfRun& source : group.probes) entry["probes"].push_back(probe_data(source));
    for (const ProbeMethod& method : group.methods) {
      if (method.is_baseline && method.is_main && method.name != "most frequent class") {
        entry["baselines"].push_back(
            {{"name", method.name}, {"top1", number_or_null(method.top1)}});
      }
    }
    data["groups"].push_back(std::move(entry));
  }
  for (const RunDirectory& sweep : sweeps) data["sweeps"].push_back(sweep_data(sweep.sweep));
  return data;
}

bool has_column(const std::vector<RunDirectory>& runs, double StepRecord::* column) {
  return std::any_of(runs.begin(), runs.end(), [column](const RunDirectory& run) {
    return std::any_of(run.steps.begin(), run.steps.end(),
                       [column](const StepRecord& step) { return std::isfinite(step.*column); });
  });
}

}  // namespace swath::bench
