#include "sharding/options.h"

namespace swath::sharding {

void ShardingOptions::describe(FieldTable& fields) {
  strategy.describe(fields);
  fields.add("reduce_precision", &reduce_precision, "of gradients while ranks sum them")
      .one_of({"fp32", "bf16"});
  fields.add("reduce_every_micro_batch", &reduce_every_micro_batch,
             "false: gradients are kept whole and summed over ranks once per step");
  fields
      .add("unit_mib", &unit_mib,
           "blocks are joined until a unit has this size in fp32; 0: one block each")
      .at_least(0);
  fields.add("timeout_minutes", &timeout_minutes, "a collective that takes longer ends the run")
      .at_least(0.01);
  fields.add("check_ranks", &check_ranks, "compare settings and weights over ranks at the start");
  fields.add("trace", &trace,
             "CPU: folder for each rank's spans of computation and collectives, in Chrome's "
             "trace-event format; empty: none");
  fields.section("emulate", emulate);
}

}  // namespace swath::sharding
