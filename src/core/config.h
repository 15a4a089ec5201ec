// One table of fields drives the parser, the help, the validation and the saved configuration.
//
// Each component owns a plain options struct and lists its fields once:
//
//   struct OptimOptions {
//     double lr = 0;
//     std::string schedule = "cosine";
//     void describe(FieldTable& fields) {
//       fields.add("lr", &lr, "learning rate; 0 derives it from base_lr").at_least(0);
//       fields.add("schedule", &schedule, "shape after warm-up").one_of({"cosine", "constant"});
//     }
//   };
//   struct PretrainOptions {
//     OptimOptions optim;
//     void describe(FieldTable& fields) { fields.section("optim", optim); }
//   };
//
// A key is the dotted path ("optim.lr") in recipes, in `--set`, in the resolved config.toml and in
// error messages. Every field is also an option of the command line: `--optim.lr`, and under the
// short name that `.flag("shots")` gives it (`--shots`; one letter: `-n`).
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace swath {

class Field {
 public:
  using Target = std::variant<bool*, int64_t*, double*, std::string*, std::vector<int64_t>*,
                              std::vector<double>*, std::vector<std::string>*>;

  Field(std::string key, Target target, std::string help);

  // Limits of a number, or of every element of a list; both ends are allowed values.
  Field& at_least(double minimum);
  Field& at_most(double maximum);
  Field& one_of(std::vector<std::string> choices);
  // The name of the command-line option besides the key itself, without dashes.
  Field& flag(std::string name);

  const std::string& key() const { return key_; }
  const std::string& help() const { return help_; }
  const std::string& flag_name() const { return flag_; }
  bool is_switch() const { return std::holds_alternative<bool*>(target_); }
  // "number", "text", "list of whole numbers" ...; with choices and limits.
  std::string type_text() const;
  // The value as TOML: `0.05`, `"cosine"`, `[1, 2]`.
  std::string value_text() const;

  // Reads TOML (`5`, `"text"`, `[1, 2]`); text that is not TOML stands for itself, so that
  // `--set device=cpu` needs no quotes. `origin` names the place in errors. Throws UsageError.
  void set(std::string_view toml_value, std::string_view origin);

 private:
  void check(std::string_view origin) const;

  std::string key_;
  Target target_;
  std::string help_;
  std::string flag_;
  double minimum_;
  double maximum_;
  std::vector<std::string> choices_;
};

class FieldTable {
 public:
  Field& add(const std::string& name, Field::Target target, std::string help);

  template <class Options>
  void section(const std::string& name, Options& options) {
    const std::string outer = prefix_;
    prefix_ += name + ".";
    options.describe(*this);
    prefix_ = outer;
  }

  const std::vector<Field>& fields() const { return fields_; }
  Field* find(std::string_view key);

  // Applies a TOML document. Unknown keys are collected and reported together, each with the
  // nearest known key. `origin` is the file's name.
  void apply_toml(std::string_view document, const std::string& origin);
  // Applies "key=value".
  void apply_setting(const std::string& setting);
  // The complete configuration as TOML, in table order; apply_toml reads it back unchanged.
  std::string to_toml() const;

 private:
  std::string prefix_;
  std::vector<Field> fields_;
};

// A table over `options`, which must outlive it.
template <class Options>
FieldTable make_field_table(Options& options) {
  FieldTable table;
  options.describe(table);
  return table;
}

}  // namespace swath
