// LibTorch's ProcessGroupGloo.hpp includes Gloo's headers, which its wheel does not ship. These
// stand-ins declare just what that header names; the definitions are inside libtorch_cpu.
#pragma once
#include <memory>

namespace gloo {
class Context;
namespace transport {
class Device;
class UnboundBuffer {
 public:
  virtual ~UnboundBuffer();
};
}  // namespace transport
}  // namespace gloo
