#include "sharding/point_to_point.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>
#include <tuple>

namespace swath::sharding {
namespace {

// Messages through memory, matched by sender, receiver and tag.
struct Mailbox {
  std::mutex mutex;
  std::condition_variable changed;
  std::map<std::tuple<int64_t, int64_t, int64_t>, at::Tensor> letters;
  int64_t bytes = 0;
};

class MailLinks final : public PointToPoint {
 public:
  MailLinks(Mailbox& box, int64_t rank) : box_(box), rank_(rank) {}
  Completion send(const at::Tensor& values, int64_t to, int64_t tag) override {
    std::lock_guard lock(box_.mutex);
    at::Tensor& letter = box_.letters[{rank_, to, tag}];
    EXPECT_FALSE(letter.defined()) << "tag " << tag << " is used twice";
    letter = values.clone();
    box_.bytes += static_cast<int64_t>(values.nbytes());
    box_.changed.notify_all();
    return [] {};
  }
  Completion receive(const at::Tensor& values, int64_t from, int64_t tag) override {
    return [this, values, key = std::tuple{from, rank_, tag}] {
      std::unique_lock lock(box_.mutex);
      box_.changed.wait(lock, [&] { return box_.letters.contains(key); });
      values.copy_(box_.letters.at(key));
      box_.letters.erase(key);
    };
  }

 private:
  Mailbox& box_;
  int64_t rank_;
};

using Body = std::function<void(PointToPoint& links, int64_t rank)>;

int64_t run(int64_t size, const Body& body) {
  Mailbox box;
  std::vector<std::thread> threads;
  for (int64_t rank = 0; rank < size; ++rank) {
    threads.emplace_back([&, rank] {
      MailLinks links(box, rank);
      body(links, rank);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(box.letters.empty());
  return box.bytes;
}

at::Tensor values_of(int64_t rank, int64_t numel) {
  return at::arange(numel, at::kFloat).remainder(7) + 100 * (rank + 1);
}

// Sizes around the number of ranks and around a segment.
constexpr int64_t kSegment = 1 << 18;
const std::vector<int64_t> kNumels = {1, 2, 5, 12, 1000, 2 * kSegment, 3 * kSegment + 17};

TEST(PointToPoint, ReduceScatterLeavesTheSumInTheOwnChunk) {
  for (const int64_t size : {1, 2, 3, 4, 7}) {
    for (const int64_t numel : kNumels) {
      at::Tensor sum = at::zeros({numel});
      for (int64_t rank = 0; rank < size; ++rank) sum += values_of(rank, numel);
      const int64_t bytes = run(size, [&](PointToPoint& links, int64_t rank) {
        const at::Tensor values = values_of(rank, numel);
        ring_reduce_scatter(links, values, rank, size, 0);
        const int64_t begin = numel * rank / size;
        const int64_t end = numel * (rank + 1) / size;
        EXPECT_TRUE(values.slice(0, begin, end).equal(sum.slice(0, begin, end)))
            << "rank " << rank << " of " << size << ", " << numel;
      });
      EXPECT_EQ(bytes, (size - 1) * numel * 4);  // (p - 1) / p of the bytes, per rank
    }
  }
}

TEST(PointToPoint, AllGatherBringsEveryChunkToEveryone) {
  for (const int64_t size : {1, 2, 3, 4, 7}) {
    for (const int64_t numel : kNumels) {
      at::Tensor expected = at::empty({numel});
      for (int64_t rank = 0; rank < size; ++rank) {
        const int64_t begin = numel * rank / size;
        const int64_t end = numel * (rank + 1) / size;
        expected.slice(0, begin, end).copy_(values_of(rank, numel).slice(0, begin, end));
      }
      const int64_t bytes = run(size, [&](PointToPoint& links, int64_t rank) {
        const at::Tensor values = values_of(rank, numel);
        ring_all_gather(links, values, rank, size, 5);
        EXPECT_TRUE(values.equal(expected)) << "rank " << rank << " of " << size << ", " << numel;
      });
      EXPECT_EQ(bytes, (size - 1) * numel * 4);
    }
  }
}

// A pair never has two messages of one tag under way when calls follow each other.
TEST(PointToPoint, CallsAfterEachOtherDoNotMix) {
  constexpr int64_t kNumel = 3 * kSegment + 5;
  run(3, [&](PointToPoint& links, int64_t rank) {
    int64_t tag = 0;
    for (int i = 0; i < 4; ++i) {
      const at::Tensor values = at::full({kNumel}, static_cast<float>(rank + i));
      ring_reduce_scatter(links, values, rank, 3, tag);
      tag += tags_used(kNumel, 4, 3);
      ring_all_gather(links, values, rank, 3, tag);
      tag += tags_used(kNumel, 4, 3);
      EXPECT_EQ(values.min().item<float>(), static_cast<float>(3 + 3 * i));
      EXPECT_EQ(values.max().item<float>(), static_cast<float>(3 + 3 * i));
    }
  });
}

}  // namespace
}  // namespace swath::sharding
