#include "apps/commands.h"

namespace swath::apps {

const std::vector<Command>& commands() {
  static const std::vector<Command> table = {
      {{"models", "list the architectures with their sizes", "swath models --json", {}},
       run_models},
      {{"recipes", "list the named recipes, or print one", "swath recipes demo", {"NAME"}},
       run_recipes},
      {{"data", "split, pack, inspect or verify a dataset (data ACTION --help)",
        "swath data inspect --root images/", {"ACTION"}},
       run_data},
      {{"pretrain", "pretrain a masked autoencoder from a recipe",
        "swath pretrain ucm_vit_tiny --set data.root=images/ --minutes 10", {"RECIPE"}},
       run_pretrain},
      {{"report", "one HTML page from one or several runs",
        "swath report runs/pretrain-1 runs/probe-1", {"RUN..."}},
       run_report},
      {{"doctor", "what is installed, found and missing", "swath doctor", {}}, run_doctor},
  };
  return table;
}

}  // namespace swath::apps
