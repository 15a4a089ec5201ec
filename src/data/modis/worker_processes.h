// Processes that share a list of tasks, since the HDF4 library lets one thread at a time into a
// process: what one of them reads may end it, and the others go on.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace swath::data::modis {

// What a task says of the items that it works on (granules), so that the parent knows which one
// ended its process. In memory that parent and children share.
class ItemLog {
 public:
  virtual ~ItemLog() = default;
  // The signal that ended a process which worked on `item`; 0: none did.
  virtual int signal_of(int64_t item) const = 0;
  virtual void begin(int64_t item) = 0;
  virtual void end() = 0;
};

using Task = std::function<void(int64_t task, ItemLog& log)>;

struct WorkerPlan {
  std::string name;       // begins messages: "chips"
  std::string task_name;  // "shard"
  int64_t tasks = 0;
  int64_t items = 0;
  int64_t processes = 1;
  // A crash on an item does not end the work: its task runs again in a new process and finds the
  // signal in the log. Else it is an error.
  bool goes_on_after_crash = false;
  std::string crash_hint;                            // where it is one
  std::function<Task()> make_task;                   // called in each process
  std::function<std::string(int64_t)> name_of_item;  // for messages
};

// Runs all tasks, each in one of the processes. Throws what the first failing task threw
// (BadGranule or Error), and Error when a process was ended by a signal; the other processes are
// ended then. Call it before the process has threads that hold locks: it forks.
void run_in_processes(const WorkerPlan& plan);

}  // namespace swath::data::modis
