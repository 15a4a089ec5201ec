#include "ops/linear.h"

#include <atomic>
#include <chrono>
#include <csignal>
#include <thread>

#include "core/interrupt.h"
#include "ops/gradient_check.h"

namespace swath::ops {
namespace {

// Before any other thread is started.
[[maybe_unused]] const bool kIsWatching = (watch_for_interrupts(), true);

using Inputs = std::vector<at::Tensor>;

TEST(Linear, AgreesInBothVersions) {
  expect_versions_agree(
      [](const Inputs& in) { return linear(in[0], in[1], in[2]); },
      {random_tensor({2, 3, 7}, 1), random_tensor({5, 7}, 2), random_tensor({5}, 3)});
}

// Rows and columns that fill no vector register, and enough of them for several threads.
TEST(Linear, LargeOddSizesAgree) {
  const Inputs inputs = {random_tensor({3, 131, 97}, 1).to(at::kFloat),
                         random_tensor({61, 97}, 2).to(at::kFloat),
                         random_tensor({61}, 3).to(at::kFloat)};
  const auto function = [](const Inputs& in) { return gelu_linear(in[0], in[1], in[2]); };
  set_backend("reference");
  const Evaluation expected = evaluate(function, inputs);
  set_backend("fused");
  const Evaluation found = evaluate(function, inputs);
  expect_close(found.value, expected.value, 2e-6, "value");
  for (size_t i = 0; i < 3; ++i) {
    expect_close(found.gradients[i], expected.gradients[i], 5e-6, "gradient");
  }
}

TEST(Linear, TakesStridedInput) {
  expect_versions_agree(
      [](const Inputs& in) { return linear(in[0].slice(1, 1, 4), in[1], in[2]); },
      {random_tensor({2, 5, 7}, 1), random_tensor({3, 7}, 2), random_tensor({3}, 3)});
}

TEST(Linear, GeluLinearAgreesInBothVersions) {
  expect_versions_agree(
      [](const Inputs& in) { return gelu_linear(in[0], in[1], in[2]); },
      {random_tensor({2, 3, 19}, 1) * 2, random_tensor({5, 19}, 2), random_tensor({5}, 3)});
}

TEST(Linear, GatedGeluLinearAgreesInBothVersions) {
  expect_versions_agree(
      [](const Inputs& in) { return gated_gelu_linear(in[0], in[1], in[2], in[3]); },
      {random_tensor({6, 17}, 1) * 2, random_tensor({6, 17}, 2), random_tensor({5, 17}, 3),
       random_tensor({5}, 4)});
}

// The same closure may run twice over one graph: what backward reuses must still be whole.
TEST(Linear, BackwardLeavesItsInputsAlone) {
  set_backend("fused");
  const at::Tensor x = random_tensor({4, 8}, 1).requires_grad_();
  const at::Tensor weight = random_tensor({3, 8}, 2).requires_grad_();
  const at::Tensor bias = random_tensor({3}, 3).requires_grad_();
  const at::Tensor y = gelu_linear(x, weight, bias);
  y.sum().backward({}, /*retain_graph=*/true);
  const at::Tensor first = x.grad().clone();
  y.sum().backward();
  expect_close(x.grad(), first * 2, 1e-15, "second backward");
}

TEST(Linear, UnneededGradientsAreLeftOut) {
  set_backend("fused");
  const at::Tensor x = random_tensor({4, 8}, 1);
  const at::Tensor weight = random_tensor({3, 8}, 2).requires_grad_();
  const at::Tensor bias = random_tensor({3}, 3);
  linear(x, weight, bias).sum().backward();
  EXPECT_TRUE(weight.grad().defined());
  EXPECT_FALSE(x.grad().defined());
  EXPECT_FALSE(bias.grad().defined());
}

// No handler may run on a thread that computes: see core/interrupt.h. Threads of the pool inherit
// the mask of the thread that started them.
TEST(Linear, EveryComputingThreadHasTheSignalsBlocked) {
  const int64_t threads = at::get_num_threads();
  std::atomic<int64_t> open{0};
  at::parallel_for(0, threads, 1, [&](int64_t begin, int64_t end) {
    sigset_t blocked;
    pthread_sigmask(SIG_BLOCK, nullptr, &blocked);
    for (const int number : {SIGTERM, SIGINT, SIGUSR1}) {
      if (sigismember(&blocked, number) != 1) open += end - begin;
    }
  });
  EXPECT_EQ(open, 0);
}

// What such a handler would do to oneDNN's products. One thread computes: with more, each product
// waits for threads that the sender and other programs hold up, for minutes on a busy machine.
TEST(Linear, ProductsSurviveSignals) {
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  set_product_library("onednn");
  struct Case {
    Inputs inputs;
    Evaluation expected;
  };
  const auto function = [](const Inputs& in) { return linear(in[0], in[1], in[2]); };
  std::vector<Case> cases;
  for (const int64_t rows : {40, 136}) {
    for (const auto& [in, out] : std::vector<std::pair<int64_t, int64_t>>{
             {32, 96}, {32, 32}, {32, 128}, {128, 32}, {16, 48}, {64, 16}, {33, 31}}) {
      const Inputs inputs = {random_tensor({rows, in}, 1).to(at::kFloat),
                             random_tensor({out, in}, 2).to(at::kFloat),
                             random_tensor({out}, 3).to(at::kFloat)};
      cases.push_back({inputs, evaluate(function, inputs)});
    }
  }
  std::atomic<bool> is_done{false};
  std::atomic<int64_t> signals{0};
  std::thread sender([&] {
    while (!is_done) {
      send_interrupt(SIGUSR1);
      clear_interrupt();
      ++signals;
      std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
  });
  int64_t wrong = 0;
  for (size_t i = 0; i < 100 * cases.size() || signals < 500; ++i) {
    const Case& one = cases[i % cases.size()];
    const Evaluation found = evaluate(function, one.inputs);
    wrong += !at::equal(found.value, one.expected.value);
    for (size_t k = 0; k < 3; ++k) {
      wrong += !at::equal(found.gradients[k], one.expected.gradients[k]);
    }
  }
  is_done = true;
  sender.join();
  clear_interrupt();
  set_product_library("auto");
  at::set_num_threads(threads);
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace swath::ops
