#include "core/config.h"

#include <fmt/format.h>

#include <toml++/toml.h>
#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <sstream>

#include "core/error.h"

namespace swath {
namespace {

template <class... Ts>
struct Overloaded : Ts... {
  using Ts::operator()...;
};
template <class... Ts>
Overloaded(Ts...) -> Overloaded<Ts...>;

std::string toml_text(const std::string& value) {
  std::ostringstream stream;
  stream << toml::value<std::string>(value);
  return stream.str();
}

std::string toml_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  std::string text = fmt::format("{}", value);
  // TOML tells floats from integers by the point or the exponent.
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

std::string toml_text(int64_t value) { return fmt::format("{}", value); }
std::string toml_text(bool value) { return value ? "true" : "false"; }

template <class Element>
std::string toml_text(const std::vector<Element>& values) {
  std::string text = "[";
  for (size_t i = 0; i < values.size(); ++i) text += (i ? ", " : "") + toml_text(values[i]);
  return text + "]";
}

std::optional<int64_t> as_integer(const toml::node& node) {
  if (const auto value = node.value_exact<int64_t>()) return value;
  // 1e6 reads better than 1000000, and is a float in TOML.
  const auto real = node.value_exact<double>();
  if (real && *real == std::floor(*real) && std::abs(*real) < 9e15) {
    return static_cast<int64_t>(*real);
  }
  return std::nullopt;
}

template <class Element>
std::optional<Element> read_scalar(const toml::node& node) {
  if constexpr (std::is_same_v<Element, int64_t>) {
    return as_integer(node);
  } else if constexpr (std::is_same_v<Element, double>) {
    if (const auto integer = node.value_exact<int64_t>()) return static_cast<double>(*integer);
    return node.value_exact<double>();
  } else {
    return node.value_exact<Element>();
  }
}

template <class Element>
bool read_into(const toml::node& node, Element* target) {
  const auto value = read_scalar<Element>(node);
  if (value) *target = *value;
  return value.has_value();
}

template <class Element>
bool read_into(const toml::node& node, std::vector<Element>* target) {
  std::vector<Element> values;
  if (const toml::array* array = node.as_array()) {
    for (const toml::node& item : *array) {
      const auto value = read_scalar<Element>(item);
      if (!value) return false;
      values.push_back(*value);
    }
  } else if (const auto value = read_scalar<Element>(node)) {
    values.push_back(*value);
  } else {
    return false;
  }
  *target = std::move(values);
  return true;
}

// False where the text is not TOML, or not of this type. A list of numbers needs no brackets.
template <class Target>
bool read_value(std::string_view text, Target* target) {
  for (const char* form : {"value = {}", "value = [{}]"}) {
    try {
      const toml::table document = toml::parse(fmt::format(fmt::runtime(form), text));
      return read_into(*document.get("value"), target);
    } catch (const toml::parse_error&) {
    }
  }
  return false;
}

// `a, b` and `[a, b]`, whose texts need no quotes.
std::vector<std::string> split_list(std::string_view text) {
  const auto trim = [](std::string_view word) {
    const size_t first = word.find_first_not_of(' ');
    return first == word.npos ? std::string_view()
                              : word.substr(first, word.find_last_not_of(' ') - first + 1);
  };
  text = trim(text);
  if (text.starts_with('[') && text.ends_with(']')) text = text.substr(1, text.size() - 2);
  std::vector<std::string> words;
  std::stringstream stream{std::string(text)};
  for (std::string word; std::getline(stream, word, ',');) words.emplace_back(trim(word));
  return words;
}

// Number of single-character edits between two keys, for "did you mean".
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t above = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

std::string nearest_key(std::string_view key, const std::vector<Field>& fields) {
  std::string best;
  size_t best_distance = std::max<size_t>(3, key.size() / 3) + 1;
  for (const Field& field : fields) {
    const std::string_view candidate = field.key();
    // A name given without its section is the commonest slip.
    const bool is_last_part = candidate.size() > key.size() && candidate.ends_with(key) &&
                              candidate[candidate.size() - key.size() - 1] == '.';
    const size_t distance = is_last_part ? 0 : edit_distance(key, candidate);
    if (distance < best_distance) {
      best_distance = distance;
      best = candidate;
    }
  }
  return best;
}

std::string unknown_key_line(const std::string& key, const std::vector<Field>& fields) {
  const std::string nearest = nearest_key(key, fields);
  return nearest.empty() ? key : fmt::format("{} (did you mean {}?)", key, nearest);
}

void flatten(const toml::table& table, const std::string& prefix,
             std::vector<std::pair<std::string, const toml::node*>>* leaves) {
  for (const auto& [name, node] : table) {
    const std::string key = prefix + std::string(name.str());
    if (const toml::table* inner = node.as_table()) {
      flatten(*inner, key + ".", leaves);
    } else {
      leaves->emplace_back(key, &node);
    }
  }
}

std::string text_of(const toml::node& node) {
  std::ostringstream stream;
  node.visit([&](const auto& value) { stream << value; });
  return stream.str();
}

}  // namespace

Field::Field(std::string key, Target target, std::string help)
    : key_(std::move(key)),
      target_(target),
      help_(std::move(help)),
      minimum_(-std::numeric_limits<double>::infinity()),
      maximum_(std::numeric_limits<double>::infinity()) {}

Field& Field::at_least(double minimum) {
  minimum_ = minimum;
  return *this;
}

Field& Field::at_most(double maximum) {
  maximum_ = maximum;
  return *this;
}

Field& Field::one_of(std::vector<std::string> choices) {
  choices_ = std::move(choices);
  return *this;
}

Field& Field::flag(std::string name) {
  flag_ = std::move(name);
  return *this;
}

std::string Field::type_text() const {
  if (!choices_.empty()) return fmt::format("{}", fmt::join(choices_, "|"));
  std::string text = std::visit(
      Overloaded{[](bool*) { return "true|false"; }, [](int64_t*) { return "whole number"; },
                 [](double*) { return "number"; }, [](std::string*) { return "text"; },
                 [](std::vector<int64_t>*) { return "list of whole numbers"; },
                 [](std::vector<double>*) { return "list of numbers"; },
                 [](std::vector<std::string>*) { return "list of texts"; }},
      target_);
  if (std::isfinite(minimum_)) text += fmt::format(", at least {}", minimum_);
  if (std::isfinite(maximum_)) text += fmt::format(", at most {}", maximum_);
  return text;
}

std::string Field::value_text() const {
  return std::visit([](const auto* target) { return toml_text(*target); }, target_);
}

void Field::set(std::string_view toml_value, std::string_view origin) {
  if (auto* const* text = std::get_if<std::string*>(&target_)) {
    if (!read_value(toml_value, *text)) **text = std::string(toml_value);
  } else if (auto* const* texts = std::get_if<std::vector<std::string>*>(&target_)) {
    if (!read_value(toml_value, *texts)) **texts = split_list(toml_value);
  } else if (!std::visit([&](auto* target) { return read_value(toml_value, target); }, target_)) {
    throw UsageError(
        fmt::format("{}: {} wants {}, not `{}`.", origin, key_, type_text(), toml_value));
  }
  check(origin);
}

void Field::check(std::string_view origin) const {
  const auto check_number = [&](double value) {
    // Written so that a NaN fails too.
    if (value >= minimum_ && value <= maximum_) return;
    throw UsageError(fmt::format("{}: {} wants {}, not `{}`.", origin, key_, type_text(), value));
  };
  const auto check_text = [&](const std::string& value) {
    if (choices_.empty() || std::find(choices_.begin(), choices_.end(), value) != choices_.end()) {
      return;
    }
    throw UsageError(fmt::format("{}: {} wants one of {}, not `{}`.", origin, key_,
                                 fmt::join(choices_, ", "), value));
  };
  std::visit(Overloaded{[&](const bool*) {}, [&](const int64_t* v) { check_number(double(*v)); },
                        [&](const double* v) { check_number(*v); },
                        [&](const std::string* v) { check_text(*v); },
                        [&](const std::vector<int64_t>* list) {
                          for (const int64_t v : *list) check_number(double(v));
                        },
                        [&](const std::vector<double>* list) {
                          for (const double v : *list) check_number(v);
                        },
                        [&](const std::vector<std::string>* list) {
                          for (const std::string& v : *list) check_text(v);
                        }},
             target_);
}

Field& FieldTable::add(const std::string& name, Field::Target target, std::string help) {
  return fields_.emplace_back(prefix_ + name, target, std::move(help));
}

Field* FieldTable::find(std::string_view key) {
  const auto found = std::find_if(fields_.begin(), fields_.end(),
                                  [&](const Field& field) { return field.key() == key; });
  return found == fields_.end() ? nullptr : &*found;
}

void FieldTable::apply_toml(std::string_view document, const std::string& origin) {
  toml::table table;
  try {
    table = toml::parse(document, origin);
  } catch (const toml::parse_error& error) {
    throw UsageError(fmt::format("{}:{}: {}.", origin, error.source().begin.line,
                                 std::string(error.description())));
  }
  std::vector<std::pair<std::string, const toml::node*>> leaves;
  flatten(table, "", &leaves);
  std::vector<std::string> unknown;
  for (const auto& [key, node] : leaves) {
    if (find(key) == nullptr) unknown.push_back(unknown_key_line(key, fields_));
  }
  if (!unknown.empty()) {
    throw UsageError(fmt::format("{}: unknown keys: {}.", origin, fmt::join(unknown, ", ")),
                     "the command's --help lists every key.");
  }
  for (const auto& [key, node] : leaves) {
    find(key)->set(text_of(*node), fmt::format("{}:{}", origin, node->source().begin.line));
  }
}

void FieldTable::apply_setting(const std::string& setting) {
  const size_t equals = setting.find('=');
  if (equals == std::string::npos || equals == 0) {
    throw UsageError(fmt::format("--set wants key=value, not `{}`.", setting));
  }
  const std::string key = setting.substr(0, equals);
  Field* field = find(key);
  if (field == nullptr) {
    throw UsageError(fmt::format("--set: unknown key: {}.", unknown_key_line(key, fields_)),
                     "the command's --help lists every key.");
  }
  field->set(std::string_view(setting).substr(equals + 1), "--set");
}

std::string FieldTable::to_toml() const {
  // Keys without a section come first: after a [section] line TOML would count them to it.
  std::string text;
  for (const Field& field : fields_) {
    if (field.key().find('.') == std::string::npos) {
      text += fmt::format("{} = {}\n", field.key(), field.value_text());
    }
  }
  std::string section;
  for (const Field& field : fields_) {
    const size_t dot = field.key().rfind('.');
    if (dot == std::string::npos) continue;
    const std::string field_section = field.key().substr(0, dot);
    if (field_section != section) {
      text += fmt::format("\n[{}]\n", field_section);
      section = field_section;
    }
    text += fmt::format("{} = {}\n", field.key().substr(dot + 1), field.value_text());
  }
  return text;
}

}  // namespace swath
