// Our exports in real timm, and timm's files in our models. Needs the Python peer environment.
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "core/tensor/tensor_io.h"
#include "core/tensor/torch.h"
#include "models/checkpoint_import.h"
#include "models/registry.h"

namespace swath::models {
namespace {

namespace fs = std::filesystem;

class TimmInterop : public testing::Test {
 protected:
  TimmInterop()
      : directory_(fs::temp_directory_path() / ("swath_timm_" + std::to_string(::getpid()))) {
    fs::create_directories(directory_);
  }
  ~TimmInterop() override { fs::remove_all(directory_); }

  void SetUp() override {
    ASSERT_TRUE(fs::exists(python())) << "HINT: `./swath test --long` installs " << python();
  }
  static fs::path python() { return fs::path(SWATH_SOURCE_DIR) / ".deps/peer/bin/python"; }
  std::string file(const std::string& name) const { return (directory_ / name).string(); }

  // Runs the interpreter; its status as waitpid reports it, or -1 when it could not start.
  static int run_python(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), python().string());
    std::vector<char*> words;
    for (std::string& argument : arguments) words.push_back(argument.data());
    words.push_back(nullptr);
    pid_t process = -1;
    if (posix_spawn(&process, words[0], nullptr, nullptr, words.data(), environ) != 0) return -1;
    int status = -1;
    while (waitpid(process, &status, 0) < 0 && errno == EINTR) {
    }
    return status;
  }
  // The status of timm_interop.py.
  static int run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), std::string(SWATH_TESTDATA) + "/models/timm_interop.py");
    return run_python(std::move(arguments));
  }
  at::Tensor write_images(const ModelSpec& spec) const {
    torch::manual_seed(4);
    const at::Tensor images = at::randn({2, spec.channels, spec.image_size, spec.image_size});
    write_tensors(file("images.safetensors"), {{"images", images}});
    return images;
  }
  at::Tensor result(const std::string& name) const {
    return read_tensor(SafetensorsFile(file("out.safetensors")), name);
  }

  fs::path directory_;
};

void expect_same(const at::Tensor& ours, const at::Tensor& theirs) {
  ASSERT_EQ(ours.sizes(), theirs.sizes());
  EXPECT_LE((ours - theirs).abs().max().item<double>(), 2e-5 * theirs.abs().max().item<double>());
}

TEST_F(TimmInterop, TimmLoadsOurEncoders) {
  UnitRunner runner;
  const at::NoGradGuard no_grad;
  // int(216 * (434 / 216)) is 433 in floating point.
  for (const auto& [name, kind, channels, width, mlp] :
       {std::tuple{"vit_tiny", "plain", 3, 0, 0}, std::tuple{"vit_base", "plain", 3, 0, 0},
        std::tuple{"vit_pico", "plain", 13, 0, 0}, std::tuple{"vit_micro", "gated", 2, 0, 0},
        std::tuple{"vit_micro", "plain", 3, 216, 434}}) {
    SCOPED_TRACE(fmt::format("{} {} {}", name, kind, width));
    ModelOptions options;
    options.name = name;
    options.mlp_kind = kind;
    options.channels = channels;
    options.width = width;
    options.mlp = mlp;
    const auto mae = make_mae(options, 1);
    const at::Tensor images = write_images(mae->spec());
    export_encoder(*mae, mae->dimensions(), file("ours.safetensors"));
    ASSERT_EQ(run({"load", file("ours.safetensors"), file("images.safetensors"),
                   file("out.safetensors")}),
              0);
    const auto encoder = make_vit(options, 2);
    load_pretrained(*encoder, encoder->dimensions(), file("ours.safetensors"));
    expect_same(encoder->forward_features(images, runner), result("features"));
  }
}

TEST_F(TimmInterop, TimmLoadsOurClassifiers) {
  UnitRunner runner;
  const at::NoGradGuard no_grad;
  for (const char* pool : {"avg", "token"}) {
    SCOPED_TRACE(pool);
    ModelOptions options;
    options.name = "vit_tiny";
    ClassifierOptions classes;
    classes.num_classes = 21;
    classes.pool = pool;
    const auto classifier = make_classifier(options, classes, 1);
    classifier->module().named_parameters()["head.weight"].mul_(1e4);
    const at::Tensor images = write_images(classifier->spec());
    export_encoder(classifier->module(), options, file("ours.safetensors"));
    ASSERT_EQ(run({"load", file("ours.safetensors"), file("images.safetensors"),
                   file("out.safetensors")}),
              0);
    expect_same(classifier->logits(images, runner), result("logits"));
  }
}

// With a head of zeros the plain call of timm, without any keyword, loads the file.
TEST_F(TimmInterop, PlainCallLoadsAHeadedExport) {
  ModelOptions options;
  options.name = "vit_tiny";
  const auto encoder = make_vit(options, 1);
  ExportOptions headed;
  headed.head_classes = 1000;
  export_encoder(*encoder, encoder->dimensions(), file("ours.safetensors"), headed);
  EXPECT_EQ(run_python({"-c",
                        "import sys, timm; timm.create_model('vit_tiny_patch16_224', "
                        "checkpoint_path=sys.argv[1])",
                        file("ours.safetensors")}),
            0);
}

TEST_F(TimmInterop, WeLoadTimmsFiles) {
  UnitRunner runner;
  const at::NoGradGuard no_grad;
  ModelOptions options;
  options.name = "vit_tiny";
  const auto encoder = make_vit(options, 1);
  const at::Tensor images = write_images(encoder->spec());
  ASSERT_EQ(run({"save", file("theirs.safetensors"), "vit_tiny_patch16_224",
                 file("images.safetensors"), file("out.safetensors")}),
            0);
  const Json report = load_pretrained(*encoder, encoder->dimensions(), file("theirs.safetensors"));
  EXPECT_EQ(report["unmatched"], Json::array({"head.bias", "head.weight"}));
  EXPECT_TRUE(report["missing"].empty());
  expect_same(encoder->forward_features(images, runner), result("features"));
}

// timm's tokens are (B, H, W, E), ours (B, 1 + H W, E).
void expect_same_tokens(const at::Tensor& ours, const at::Tensor& theirs) {
  expect_same(ours.slice(1, 1), theirs.flatten(1, 2));
}

ModelOptions swin(const std::function<void(ModelOptions&)>& change) {
  ModelOptions options;
  options.name = "swin_v2_tiny";
  options.image_size = 64;
  change(options);
  return options;
}

// Every key matches; windows shrink on both sides alike.
TEST_F(TimmInterop, TimmLoadsOurSwins) {
  UnitRunner runner;
  const at::NoGradGuard no_grad;
  for (const auto& change : std::vector<std::function<void(ModelOptions&)>>{
           [](ModelOptions& o) { o.image_size = 128; }, [](ModelOptions& o) { o.channels = 6; },
           [](ModelOptions& o) { o.swin.pretrained_windows = {12, 12, 12, 6}; }}) {
    const ModelOptions options = swin(change);
    const auto simmim = make_simmim(options, 1);
    // As drawn, blocks are the identity.
    torch::manual_seed(5);
    for (const auto& parameter : simmim->parameters()) {
      at::Tensor(parameter).add_(at::randn_like(parameter) * 0.05);
    }
    const at::Tensor images = write_images(simmim->spec());
    export_encoder(*simmim, options, file("ours.safetensors"));
    ASSERT_EQ(run({"load", file("ours.safetensors"), file("images.safetensors"),
                   file("out.safetensors")}),
              0);
    const auto encoder = make_swin(options, 2);
    load_pretrained(*encoder, options, file("ours.safetensors"));
    expect_same_tokens(encoder->forward_features(images, runner), result("features"));
  }
}

TEST_F(TimmInterop, TimmLoadsOurSwinClassifiers) {
  UnitRunner runner;
  const at::NoGradGuard no_grad;
  const ModelOptions options = swin([](ModelOptions&) {});
  ClassifierOptions classes;
  classes.num_classes = 21;
  const auto classifier = make_classifier(options, classes, 1);
  const at::Tensor images = write_images(classifier->spec());
  export_encoder(classifier->module(), options, file("ours.safetensors"));
  ASSERT_EQ(
      run({"load", file("ours.safetensors"), file("images.safetensors"), file("out.safetensors")}),
      0);
  expect_same(classifier->logits(images, runner), result("logits"));
}

TEST_F(TimmInterop, WeLoadTimmsSwins) {
  UnitRunner runner;
  const at::NoGradGuard no_grad;
  const ModelOptions options = swin([](ModelOptions&) {});
  const auto encoder = make_swin(options, 1);
  const at::Tensor images = write_images(encoder->spec());
  ASSERT_EQ(run({"save", file("theirs.safetensors"), "swinv2_tiny_window8_256",
                 file("images.safetensors"), file("out.safetensors"), "{\"img_size\": 64}"}),
            0);
  const Json report = load_pretrained(*encoder, options, file("theirs.safetensors"));
  EXPECT_EQ(report["unmatched"], Json::array({"head.fc.bias", "head.fc.weight"}));
  EXPECT_TRUE(report["missing"].empty());
  expect_same_tokens(encoder->forward_features(images, runner), result("features"));
}

TEST_F(TimmInterop, PositionTableIsResampledByMaesRule) {
  ModelOptions options;
  options.name = "vit_pico";
  const auto small = make_vit(options, 1);
  export_encoder(*small, small->dimensions(), file("small.safetensors"));
  options.image_size = 56;
  const auto large = make_vit(options, 1);
  load_pretrained(*large, large->dimensions(), file("small.safetensors"));
  ASSERT_EQ(
      run({"resample", file("small.safetensors"), "pos_embed", "14", file("out.safetensors")}), 0);
  expect_same(large->named_parameters()["pos_embed"].detach(), result("pos_embed"));
}

}  // namespace
}  // namespace swath::models
