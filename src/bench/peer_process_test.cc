#include "bench/peer_process.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "core/error.h"
#include "core/files.h"

namespace swath::bench {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

class PeerProcessTest : public testing::Test {
 protected:
  PeerProcessTest()
      : directory_(fs::temp_directory_path() / ("swath_peer_process_" + std::to_string(getpid()))) {
    alarm(60);  // a deadlock ends the test instead of hanging
  }
  ~PeerProcessTest() override {
    alarm(0);
    fs::remove_all(directory_);
  }

  std::vector<std::string> command(const std::string& script) const {
    const fs::path path = directory_ / "stub.sh";
    write_file_atomically(path, script);
    return {"sh", path.string(), "first"};
  }
  static std::string message_of(const std::function<void()>& action) {
    try {
      action();
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  }

  fs::path directory_;
};

constexpr const char* kObedient = R"(
echo "{\"argument\": \"$1\"}"
while read verb count; do
  case $verb in
    run) echo "{\"steps\": $count}" ;;
    chat) echo "not JSON" ;;
    die) echo "no memory left" >&2; exit 3 ;;
    quit) exit 0 ;;
  esac
done
)";

TEST_F(PeerProcessTest, ExchangesLines) {
  PeerProcess peer(command(kObedient));
  EXPECT_EQ(peer.read_json().at("argument"), "first");
  for (const int steps : {1, 20}) {
    peer.write_line("run " + std::to_string(steps));
    EXPECT_EQ(peer.read_json().at("steps"), steps);
  }
}

TEST_F(PeerProcessTest, DyingPeerIsNamedWithItsMessage) {
  PeerProcess peer(command(kObedient));
  peer.read_json();
  peer.write_line("die");
  EXPECT_THAT(message_of([&] { peer.read_json(); }),
              AllOf(HasSubstr("stub.sh"), HasSubstr("status 3"), HasSubstr("no memory left")));
}

TEST_F(PeerProcessTest, AnswerThatIsNoJsonIsShown) {
  PeerProcess peer(command(kObedient));
  peer.read_json();
  peer.write_line("chat");
  EXPECT_THAT(message_of([&] { peer.read_json(); }), HasSubstr("`not JSON`"));
}

TEST_F(PeerProcessTest, MissingInterpreterIsNamed) {
  EXPECT_THAT(message_of([] { PeerProcess peer({"/nowhere/python", "script.py"}); }),
              AllOf(HasSubstr("/nowhere/python"), HasSubstr("No such file")));
}

// Each ends only when its stdin is closed everywhere: the second must not hold the first's open.
TEST_F(PeerProcessTest, TwoPeersEndOneAfterTheOther) {
  const auto reads_to_the_end = command("echo 1; cat >/dev/null");
  auto first = std::make_unique<PeerProcess>(reads_to_the_end);
  auto second = std::make_unique<PeerProcess>(reads_to_the_end);
  first->read_json();
  second->read_json();
  first.reset();
  second.reset();
}

// More on stderr than a pipe holds must not stop a peer.
TEST_F(PeerProcessTest, TalkativePeerIsNotBlocked) {
  PeerProcess peer(
      command("i=0; while [ $i -lt 3000 ]; do "
              "echo 'a warning of sixty-four letters, as libraries like to write them' "
              ">&2; i=$((i+1)); done; echo '{}'"));
  EXPECT_EQ(peer.read_json(), Json::object());
}

}  // namespace
}  // namespace swath::bench
