#include "bench/peer_gradients.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <string>

#include "core/error.h"
#include "core/tensor/tensor_io.h"

namespace swath::bench {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

constexpr double kTolerance = 1e-5;

class PeerGradients : public testing::Test {
 protected:
  PeerGradients()
      : file_(fs::temp_directory_path() / ("swath_peer_gradients_" + std::to_string(getpid()))) {
    write_tensors(file_,
                  {{"weight", whole_weight()}, {"bias", at::tensor({0.5, 0.25}, at::kDouble)}});
  }
  ~PeerGradients() override { fs::remove(file_); }

  static at::Tensor whole_weight() {
    return at::tensor({1., -4., 2., 0., 3., 1.}, at::kDouble).view({2, 3});
  }
  // The last four elements of the weight and the whole bias, as a rank holds them.
  static ParamView view_of(float last_of_weight) {
    ParamView view;
    view.grad = at::tensor({2.F, 0.F, 3.F, last_of_weight, 0.5F, 0.25F});
    view.segments.resize(2);
    view.segments[0].name = "weight";
    view.segments[0].shape = {2, 3};
    view.segments[0].start = 2;
    view.segments[0].length = 4;
    view.segments[1].name = "bias";
    view.segments[1].shape = {2};
    view.segments[1].offset = 4;
    view.segments[1].length = 2;
    return view;
  }
  std::string message_of(const ParamView& view) const {
    try {
      check_our_gradients({view}, file_, kTolerance);
    } catch (const Error& error) {
      return error.what();
    }
    return "(no error)";
  }

  fs::path file_;
};

TEST_F(PeerGradients, PartsAreComparedWithTheSamePartOfTheWhole) {
  EXPECT_EQ(check_our_gradients({view_of(1)}, file_, kTolerance), 0);
  // By the largest element of the whole weight, which this rank does not hold: 4.
  EXPECT_NEAR(check_our_gradients({view_of(1 + 2e-5F)}, file_, kTolerance), 5e-6, 1e-7);
}

TEST_F(PeerGradients, OtherGradientsAreNamed) {
  EXPECT_THAT(message_of(view_of(1 + 8e-5F)), AllOf(HasSubstr("weight"), HasSubstr("2e-05")));
  EXPECT_THAT(message_of(view_of(std::nanf(""))), HasSubstr("weight"));
  ParamView shape = view_of(1);
  shape.segments[1].shape = {1, 2};
  EXPECT_THAT(message_of(shape), AllOf(HasSubstr("bias"), HasSubstr("[1, 2]"), HasSubstr("[2]")));
  ParamView name = view_of(1);
  name.segments[1].name = "scale";
  EXPECT_THAT(message_of(name), HasSubstr("scale"));
  EXPECT_THROW(check_our_gradients({}, file_, kTolerance), Error);
}

TEST_F(PeerGradients, WholeFilesAreCompared) {
  const fs::path peer = file_.string() + ".peer";
  const auto difference_of = [&](const at::Tensor& weight) {
    write_tensors(peer, {{"weight", weight}, {"bias", at::tensor({0.5F, 0.25F})}});
    return check_peer_gradients(peer, file_, kTolerance);
  };
  EXPECT_EQ(difference_of(whole_weight().to(at::kFloat)), 0);
  EXPECT_NEAR(difference_of(whole_weight() + 2e-5), 5e-6, 1e-7);
  EXPECT_THROW(difference_of(whole_weight() + 8e-5), Error);
  EXPECT_THROW(difference_of(whole_weight().view({3, 2})), Error);
  write_tensors(peer, {{"bias", at::tensor({0.5F, 0.25F})}});
  EXPECT_THROW(check_peer_gradients(peer, file_, kTolerance), Error);
  fs::remove(peer);
}

}  // namespace
}  // namespace swath::bench
