// Groups of processes with a GPU each: NCCL on NVIDIA's, RCCL on AMD's. Only calls that both have.
//
// A collective is enqueued on the current stream and the host goes on, so an error on the device
// shows up later: the backend's watchdog ends the process when a collective does not finish within
// the timeout, and names it. The launcher then ends the other ranks.
#pragma once

#include <c10/core/Device.h>

#include <functional>
#include <memory>

#include "sharding/communicator.h"
#include "sharding/rendezvous.h"

namespace c10d {
class Backend;
}

namespace swath::sharding {

// Makes the backend of one group. The CUDA plugin's is NCCL; any other must obey asyncOp = false,
// or block.
using BackendMaker = std::function<c10::intrusive_ptr<c10d::Backend>(
    const c10::intrusive_ptr<c10d::Store>& store, int64_t rank, int64_t size, c10::Device device,
    std::chrono::milliseconds timeout)>;

// Waits until all ranks are there; throws what Rendezvous does. Tensors are on `device`.
std::unique_ptr<ProcessGroups> make_nccl_groups(const LaunchEnvironment& environment,
                                                const RendezvousOptions& options,
                                                c10::Device device, const BackendMaker& maker);

}  // namespace swath::sharding
