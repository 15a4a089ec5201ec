// The ranks of a job as a command sees them: alone, or one of many that were started together.
#pragma once

#include <c10/core/Device.h>

#include <memory>
#include <string>

#include "core/launch_environment.h"
#include "sharding/communicator.h"
#include "sharding/options.h"
#include "sharding/rendezvous.h"

namespace swath::apps {

class Ranks {
 public:
  // Reads who started this process and meets the others. Ranks but the first keep to warnings.
  // Throws UsageError for a contradicting environment, and for devices that cannot communicate.
  Ranks(c10::Device device, const sharding::ShardingOptions& options);
  ~Ranks();

  bool is_lead() const { return environment_.rank == 0; }
  int64_t rank() const { return environment_.rank; }
  int64_t world_size() const { return environment_.world_size; }
  sharding::ProcessGroups* groups() { return groups_.get(); }  // null: alone
  // The same ranks with Gloo's own algorithms, for comparisons; null where Gloo is not used.
  std::unique_ptr<sharding::ProcessGroups> library_groups();
  // "4 ranks over gloo, started by torchrun"
  std::string description() const;

  // The lead's text on every rank.
  std::string from_lead(const std::string& text, const std::string& what);
  // Throws UsageError on all ranks when their texts differ, naming the ranks.
  void demand_equal(const std::string& text, const std::string& what);
  // Runs `work` on the lead while the others wait. When it throws, they throw too.
  void on_lead(const std::string& what, const std::function<void()>& work);

 private:
  LaunchEnvironment environment_;
  c10::Device device_;
  std::shared_ptr<sharding::Rendezvous> met_over_gloo_;
  std::unique_ptr<sharding::ProcessGroups> groups_;
  std::unique_ptr<sharding::Communicator> everyone_;
};

}  // namespace swath::apps
