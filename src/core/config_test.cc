#include "core/config.h"

#include <gtest/gtest.h>

#include "core/error.h"

namespace swath {
namespace {

struct InnerOptions {
  double lr = 0.1;
  std::vector<int64_t> bands = {3, 2, 1};
  void describe(FieldTable& fields) {
    fields.add("lr", &lr, "learning rate").at_least(0).at_most(1);
    fields.add("bands", &bands, "band numbers").at_least(0);
  }
};

struct OuterOptions {
  std::string device = "auto";
  int64_t steps = 5;
  bool json = false;
  std::vector<std::string> names;
  InnerOptions optim;
  void describe(FieldTable& fields) {
    fields.add("device", &device, "where").one_of({"cpu", "cuda", "auto"});
    fields.add("steps", &steps, "how many").at_least(1);
    fields.add("json", &json, "as JSON");
    fields.add("names", &names, "names");
    fields.section("optim", optim);
  }
};

std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const UsageError& error) {
    return error.what();
  }
  return "(no error)";
}

TEST(Config, ReadsTomlIntoTheStruct) {
  OuterOptions options;
  FieldTable fields = make_field_table(options);
  fields.apply_toml(
      "device = 'cpu'\nsteps = 1e3\njson = true\nnames = ['a b', 'c']\n"
      "[optim]\nlr = 1\nbands = [0, 7]\n",
      "test.toml");
  EXPECT_EQ(options.device, "cpu");
  EXPECT_EQ(options.steps, 1000);
  EXPECT_TRUE(options.json);
  EXPECT_EQ(options.names, (std::vector<std::string>{"a b", "c"}));
  EXPECT_EQ(options.optim.lr, 1.0);
  EXPECT_EQ(options.optim.bands, (std::vector<int64_t>{0, 7}));
}

TEST(Config, SavedConfigurationReadsBackUnchanged) {
  OuterOptions options;
  options.device = "cuda";
  options.names = {"quote \" and \\ back", "line\nbreak", "[x]"};
  options.optim.lr = 0.1 + 0.2;  // not a short decimal
  const std::string saved = make_field_table(options).to_toml();
  OuterOptions read;
  FieldTable fields = make_field_table(read);
  fields.apply_toml(saved, "config.toml");
  EXPECT_EQ(read.device, options.device);
  EXPECT_EQ(read.names, options.names);
  EXPECT_EQ(read.optim.lr, options.optim.lr);
  EXPECT_EQ(fields.to_toml(), saved);
}

TEST(Config, ListsEveryUnknownKeyWithTheNearestKnownOne) {
  OuterOptions options;
  FieldTable fields = make_field_table(options);
  const std::string error =
      error_of([&] { fields.apply_toml("lr = 1\ndevise = 'cpu'\n[optim]\nzzzzzzzz = 1\n", "r"); });
  EXPECT_NE(error.find("lr (did you mean optim.lr?)"), std::string::npos) << error;
  EXPECT_NE(error.find("devise (did you mean device?)"), std::string::npos) << error;
  EXPECT_NE(error.find("optim.zzzzzzzz"), std::string::npos) << error;
  EXPECT_EQ(options.device, "auto");
}

TEST(Config, RefusesWrongTypesChoicesAndLimits) {
  OuterOptions options;
  FieldTable fields = make_field_table(options);
  for (const char* setting :
       {"steps=0", "steps=1.5", "steps=many", "device=tpu", "optim.lr=2", "optim.lr=nan",
        "optim.bands=[1, -1]", "json=1", "steps", "=3", "optim.lr=", "other=1"}) {
    EXPECT_NE(error_of([&] { fields.apply_setting(setting); }), "(no error)") << setting;
  }
}

TEST(Config, SettingsNeedNoQuotes) {
  OuterOptions options;
  FieldTable fields = make_field_table(options);
  fields.apply_setting("device=cpu");
  fields.apply_setting("names=a,b");
  fields.apply_setting("optim.bands=4");
  EXPECT_EQ(options.device, "cpu");
  EXPECT_EQ(options.names, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(options.optim.bands, std::vector<int64_t>{4});
}

TEST(Config, ListsNeedNoBracketsAndTheirTextsNoQuotes) {
  OuterOptions options;
  FieldTable fields = make_field_table(options);
  for (const char* setting : {"optim.bands=1,2", "optim.bands=[1, 2]"}) {
    options.optim.bands = {};
    fields.apply_setting(setting);
    EXPECT_EQ(options.optim.bands, (std::vector<int64_t>{1, 2})) << setting;
  }
  for (const char* setting : {"names=a b, true", "names=[a b,true]", "names=['a b', \"true\"]"}) {
    options.names = {};
    fields.apply_setting(setting);
    EXPECT_EQ(options.names, (std::vector<std::string>{"a b", "true"})) << setting;
  }
  fields.apply_setting("names=2017");
  EXPECT_EQ(options.names, std::vector<std::string>{"2017"});
  fields.apply_setting("names=[]");
  EXPECT_TRUE(options.names.empty());
}

TEST(Config, ErrorsNameFileLineKeyAndValue) {
  OuterOptions options;
  FieldTable fields = make_field_table(options);
  const std::string error = error_of([&] { fields.apply_toml("\nsteps = 'x'\n", "my.toml"); });
  for (const char* part : {"my.toml:2", "steps", "'x'"}) {
    EXPECT_NE(error.find(part), std::string::npos) << error;
  }
}

}  // namespace
}  // namespace swath
