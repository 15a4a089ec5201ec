// Errors that reach a user: what is wrong with which values, and what to do about it.
//
//   throw Error(fmt::format("shards: {} is truncated: header says {} samples, index ends at {}.",
//                           path, expected, found),
//               "list every bad shard with `swath data verify`, then pack again.");
//
// Error ends a command with exit code 1, UsageError with 2.
#pragma once

#include <stdexcept>
#include <string>

namespace swath {

class Error : public std::runtime_error {
 public:
  // `hint` says what to do next; it may be empty. what() holds both: "message\nHINT: hint".
  explicit Error(const std::string& message, const std::string& hint = {});

  const std::string& message() const { return message_; }
  const std::string& hint() const { return hint_; }

 private:
  std::string message_;
  std::string hint_;
};

// A wrong command line, configuration file or combination of settings.
class UsageError : public Error {
 public:
  using Error::Error;
};

// A record or file that cannot be used: `--skip-bad` may count it and go on.
class BadSample : public Error {
 public:
  using Error::Error;
};

}  // namespace swath
