#include "models/checkpoint_import.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "core/error.h"
#include "core/tensor/tensor_io.h"
#include "core/tensor/torch.h"
#include "models/registry.h"
#include "ops/patches.h"

namespace swath::models {
namespace {

ModelOptions small_model() {
  ModelOptions options;
  options.name = "vit_pico";
  options.width = 32;
  options.depth = 2;
  options.decoder_width = 16;
  options.decoder_depth = 1;
  return options;
}

class CheckpointImport : public testing::Test {
 protected:
  CheckpointImport()
      : directory_(std::filesystem::temp_directory_path() /
                   ("swath_import_" + std::to_string(::getpid()))) {
    std::filesystem::create_directories(directory_);
  }
  ~CheckpointImport() override { std::filesystem::remove_all(directory_); }
  std::filesystem::path file(const std::string& name) const { return directory_ / name; }

  std::filesystem::path directory_;
};

void expect_equal_where_both(torch::nn::Module& a, torch::nn::Module& b, size_t at_least) {
  const auto others = b.named_parameters();
  size_t count = 0;
  for (const auto& parameter : a.named_parameters()) {
    if (const at::Tensor* other = others.find(parameter.key())) {
      EXPECT_TRUE(at::equal(parameter.value(), *other)) << parameter.key();
      ++count;
    }
  }
  EXPECT_GE(count, at_least);
}

TEST_F(CheckpointImport, FullFileFillsMaeAndEncoder) {
  const auto trained = make_mae(small_model(), 1);
  const Json written = export_full(*trained, trained->dimensions(), file("full.safetensors"));
  EXPECT_EQ(written["tensors"], trained->named_parameters().size());

  const auto mae = make_mae(small_model(), 2);
  const Json whole = load_pretrained(*mae, mae->dimensions(), file("full.safetensors"));
  EXPECT_EQ(whole["tensors"], written["tensors"]);
  EXPECT_TRUE(whole["unmatched"].empty());
  EXPECT_TRUE(whole["missing"].empty());
  expect_equal_where_both(*mae, *trained, trained->named_parameters().size());

  const auto encoder = make_vit(small_model(), 3);
  const Json part = load_pretrained(*encoder, encoder->dimensions(), file("full.safetensors"));
  EXPECT_EQ(part["tensors"], encoder->named_parameters().size());
  EXPECT_FALSE(part["unmatched"].empty());  // the decoder, named
  expect_equal_where_both(*encoder, *trained, encoder->named_parameters().size());
}

TEST_F(CheckpointImport, EncoderFileLeavesTheDecoderAsItWas) {
  const auto trained = make_mae(small_model(), 1);
  ExportOptions options;
  options.metadata = {{"bands", "red,green,blue"}};
  export_encoder(*trained, trained->dimensions(), file("encoder.safetensors"), options);
  const SafetensorsFile written(file("encoder.safetensors"));
  EXPECT_EQ(written.find("mask_token"), nullptr);
  EXPECT_EQ(written.find("head.weight"), nullptr);
  EXPECT_EQ(written.metadata().at("bands"), "red,green,blue");
  EXPECT_EQ(Json::parse(written.metadata().at("timm"))["embed_dim"], 32);

  const auto mae = make_mae(small_model(), 2);
  const auto untouched = make_mae(small_model(), 2);
  const Json report = load_pretrained(*mae, mae->dimensions(), file("encoder.safetensors"));
  EXPECT_FALSE(report["missing"].empty());
  const auto parameters = mae->named_parameters();
  EXPECT_TRUE(at::equal(parameters["blocks.1.mlp.fc2.weight"],
                        trained->named_parameters()["blocks.1.mlp.fc2.weight"]));
  EXPECT_TRUE(at::equal(parameters["decoder_embed.weight"],
                        untouched->named_parameters()["decoder_embed.weight"]));
}

TEST_F(CheckpointImport, TimmComputesTheSameHiddenWidth) {
  // int(width * ratio), as timm computes it, is 433 for 434 / 216.
  for (const auto& [width, mlp] : {std::pair{216, 434}, std::pair{32, 128}}) {
    ModelOptions options = small_model();
    options.width = width;
    options.mlp = mlp;
    const auto encoder = make_vit(options, 1);
    export_encoder(*encoder, encoder->dimensions(), file("timm.safetensors"));
    const SafetensorsFile written(file("timm.safetensors"));
    const double ratio = Json::parse(written.metadata().at("timm"))["mlp_ratio"];
    EXPECT_EQ(static_cast<int64_t>(width * ratio), mlp);
  }
}

TEST_F(CheckpointImport, PrefixesAndDtypesAreUnderstood) {
  const auto trained = make_vit(small_model(), 1);
  NamedTensors tensors;
  for (const auto& parameter : trained->named_parameters()) {
    tensors.emplace_back("model." + parameter.key(), parameter.value().detach().to(at::kBFloat16));
  }
  tensors.emplace_back("head.weight", at::zeros({1000, 32}));
  write_tensors(file("prefixed.safetensors"), tensors);
  const auto encoder = make_vit(small_model(), 2);
  const Json report =
      load_pretrained(*encoder, encoder->dimensions(), file("prefixed.safetensors"));
  EXPECT_EQ(report["unmatched"], Json::array({"head.weight"}));
  EXPECT_TRUE(at::equal(encoder->named_parameters()["blocks.0.attn.qkv.weight"],
                        trained->named_parameters()["blocks.0.attn.qkv.weight"]
                            .detach()
                            .to(at::kBFloat16)
                            .to(at::kFloat)));
}

TEST_F(CheckpointImport, ClassifierTakesAnEncoderAndAnotherHead) {
  ClassifierOptions classes;
  classes.num_classes = 7;
  const auto source = make_classifier(small_model(), classes, 1);
  export_encoder(source->module(), small_model(), file("seven.safetensors"));
  EXPECT_NE(SafetensorsFile(file("seven.safetensors")).find("fc_norm.weight"), nullptr);
  classes.num_classes = 4;
  const auto target = make_classifier(small_model(), classes, 2);
  const Json report = load_pretrained(target->module(), small_model(), file("seven.safetensors"));
  EXPECT_EQ(report["missing"], Json::array({"head.weight", "head.bias"}));
  EXPECT_EQ(report["unmatched"].size(), 2);
  // And the other way: an average-pooled file in an encoder with a norm of its own.
  const auto encoder = make_vit(small_model(), 3);
  const Json other = load_pretrained(*encoder, encoder->dimensions(), file("seven.safetensors"));
  EXPECT_EQ(other["missing"], Json::array({"norm.weight", "norm.bias"}));
}

TEST_F(CheckpointImport, PositionTableIsResampled) {
  const auto trained = make_mae(small_model(), 1);
  export_full(*trained, trained->dimensions(), file("8x8.safetensors"));
  ModelOptions larger = small_model();
  larger.image_size = 48;  // 12 x 12 instead of 8 x 8
  const auto mae = make_mae(larger, 1);
  const Json report = load_pretrained(*mae, mae->dimensions(), file("8x8.safetensors"));
  EXPECT_EQ(report["resampled"], Json::array({"pos_embed", "decoder_pos_embed"}));
  const at::Tensor old_table = trained->named_parameters()["pos_embed"];
  const at::Tensor table = mae->named_parameters()["pos_embed"];
  EXPECT_EQ(table.size(1), 145);
  EXPECT_TRUE(at::equal(table[0][0], old_table[0][0]));
  // Bicubic weights sum to 1 and the rows are smooth: pixel centres of the new grid lie at
  // (i + 0.5) 8/12 - 0.5, so position 6 of 12 is 3.83 of 8; its slowest sine tells.
  const double x = 6.5 * 8 / 12 - 0.5;
  const double slowest = std::pow(10000.0, -7.0 / 8);
  EXPECT_NEAR(table[0][1 + 6][7].item<double>(), std::sin(x * slowest), 5e-5);
  EXPECT_TRUE(at::equal(mae->named_parameters()["decoder_pos_embed"],
                        ops::sincos_position_table(16, 12, 12)));

  ImportOptions recompute;
  recompute.position = "recompute";
  load_pretrained(*mae, mae->dimensions(), file("8x8.safetensors"), recompute);
  EXPECT_TRUE(
      at::equal(mae->named_parameters()["pos_embed"], ops::sincos_position_table(32, 12, 12)));
}

std::string failure(torch::nn::Module& module, const VitDimensions& dimensions,
                    const std::filesystem::path& path) {
  try {
    load_pretrained(module, dimensions, path);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST_F(CheckpointImport, PickleSaysHowToConvertIt) {
  std::ofstream(file("mae_pretrain_vit_base.pth")) << "PK\003\004";
  const auto encoder = make_vit(small_model(), 1);
  const std::string message =
      failure(*encoder, encoder->dimensions(), file("mae_pretrain_vit_base.pth"));
  EXPECT_NE(message.find("torch.load"), std::string::npos) << message;
  EXPECT_NE(message.find("mae_pretrain_vit_base.safetensors"), std::string::npos) << message;
}

TEST_F(CheckpointImport, WrongModelNamesTensorAndShapes) {
  const auto trained = make_mae(small_model(), 1);
  export_full(*trained, trained->dimensions(), file("full.safetensors"));
  ModelOptions other = small_model();
  other.channels = 6;
  const auto six = make_vit(other, 1);
  const std::string shapes = failure(*six, six->dimensions(), file("full.safetensors"));
  EXPECT_NE(shapes.find("patch_embed.proj.weight"), std::string::npos) << shapes;
  EXPECT_NE(shapes.find("(32, 3, 4, 4)"), std::string::npos) << shapes;
  EXPECT_NE(shapes.find("(32, 6, 4, 4)"), std::string::npos) << shapes;
  other = small_model();
  other.depth = 3;
  const auto deep = make_vit(other, 1);
  EXPECT_NE(failure(*deep, deep->dimensions(), file("full.safetensors")).find("blocks.2."),
            std::string::npos);
}

TEST_F(CheckpointImport, HeadOfZerosOnRequest) {
  const auto encoder = make_vit(small_model(), 1);
  ExportOptions options;
  options.head_classes = 1000;
  export_encoder(*encoder, encoder->dimensions(), file("headed.safetensors"), options);
  const SafetensorsFile written(file("headed.safetensors"));
  EXPECT_EQ(read_tensor(written, "head.weight").sizes(), at::IntArrayRef({1000, 32}));
  EXPECT_EQ(read_tensor(written, "head.weight").abs().max().item<float>(), 0);
}

ModelOptions small_swin() {
  ModelOptions options;
  options.name = "swin_v2_micro";
  return options;
}

// Encoder and decoder under SimMIM's names, and back.
TEST_F(CheckpointImport, SimmimFileRoundTrips) {
  const auto trained = make_simmim(small_swin(), 1);
  export_full(*trained, small_swin(), file("simmim.safetensors"));
  const SafetensorsFile written(file("simmim.safetensors"));
  EXPECT_NE(written.find("encoder.mask_token"), nullptr);
  EXPECT_NE(written.find("encoder.layers.0.downsample.reduction.weight"), nullptr);
  EXPECT_NE(written.find("decoder.0.weight"), nullptr);
  const auto simmim = make_simmim(small_swin(), 2);
  const Json report = load_pretrained(*simmim, small_swin(), file("simmim.safetensors"));
  EXPECT_TRUE(report["unmatched"].empty());
  EXPECT_TRUE(report["missing"].empty());
  for (const auto& parameter : trained->named_parameters()) {
    EXPECT_TRUE(at::equal(simmim->named_parameters()[parameter.key()], parameter.value()))
        << parameter.key();
  }
}

TEST_F(CheckpointImport, SwinHasTimmsAndMicrosoftsNames) {
  const auto trained = make_simmim(small_swin(), 1);
  for (const bool microsoft : {false, true}) {
    SCOPED_TRACE(microsoft);
    ExportOptions options;
    options.microsoft_names = microsoft;
    options.head_classes = 3;
    export_encoder(*trained, small_swin(), file("encoder.safetensors"), options);
    const SafetensorsFile written(file("encoder.safetensors"));
    EXPECT_EQ(written.find("layers.0.downsample.norm.weight") != nullptr, microsoft);
    EXPECT_EQ(written.find("layers.2.downsample.norm.weight") != nullptr, !microsoft);
    EXPECT_EQ(written.find("head.fc.weight") != nullptr, !microsoft);
    EXPECT_EQ(written.metadata().contains("timm"), !microsoft);
    EXPECT_EQ(written.find("decoder.0.weight"), nullptr);
    const auto encoder = make_swin(small_swin(), 2);
    const Json report = load_pretrained(*encoder, small_swin(), file("encoder.safetensors"));
    EXPECT_EQ(report["unmatched"].size(), 2);  // the head
    for (const auto& parameter : encoder->named_parameters()) {
      EXPECT_TRUE(at::equal(trained->named_parameters()[parameter.key()], parameter.value()))
          << parameter.key();
    }
  }
}

// Tables depend on the window; the first SimMIM files call the bias's MLP rpe_mlp.
TEST_F(CheckpointImport, SwinTablesAreNotReadAndOldNamesAre) {
  const auto trained = make_swin(small_swin(), 1);
  NamedTensors tensors;
  for (const auto& parameter : trained->named_parameters()) {
    std::string name = "model.encoder." + parameter.key();
    const size_t at = name.find("cpb_mlp");
    if (at != std::string::npos) name.replace(at, 7, "rpe_mlp");
    tensors.emplace_back(name, parameter.value());
  }
  tensors.emplace_back("encoder.layers.0.blocks.1.attn_mask", at::zeros({4, 9, 9}));
  tensors.emplace_back("encoder.layers.0.blocks.0.attn.relative_coords_table",
                       at::zeros({1, 9, 9, 2}));
  tensors.emplace_back("encoder.layers.0.blocks.0.attn.relative_position_index", at::zeros({9, 9}));
  const auto encoder = make_swin(small_swin(), 2);
  const Json report = load_pretrained(*encoder, small_swin(), "memory", tensors);
  EXPECT_TRUE(report["unmatched"].empty()) << report;
  EXPECT_TRUE(report["missing"].empty());
}

// A window of 4 whose bias was trained with windows of 12, by the formula of Microsoft's table.
TEST_F(CheckpointImport, SwinOfAnotherWindowIsRefusedByItsTable) {
  const auto trained = make_swin(small_swin(), 1);
  at::Tensor t = at::arange(-3, 4, at::kDouble) * 8 / 11;
  t = t.sign() * at::log2(t.abs() + 1) / 3;
  NamedTensors tensors = {{"encoder.layers.0.blocks.0.attn.relative_coords_table",
                           at::stack(at::meshgrid({t, t}, "ij"), -1).unsqueeze(0).to(at::kFloat)}};
  ModelOptions options = small_swin();
  options.swin.window = 4;
  const auto encoder = make_swin(options, 1);
  try {
    load_pretrained(*encoder, options, "memory", tensors);
    FAIL();
  } catch (const UsageError& error) {
    EXPECT_NE(error.hint().find("'[12,12,"), std::string::npos) << error.hint();
  }
}

TEST_F(CheckpointImport, SwinOfOtherSizesIsRefused) {
  const auto trained = make_swin(small_swin(), 1);
  export_encoder(*trained, small_swin(), file("three.safetensors"));
  ModelOptions six = small_swin();
  six.channels = 6;
  const auto encoder = make_swin(six, 1);
  try {
    load_pretrained(*encoder, six, file("three.safetensors"));
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(error.message().find("patch_embed.proj.weight has the shape (64, 3, 4, 4)"),
              std::string::npos)
        << error.what();
  }
}

}  // namespace
}  // namespace swath::models
