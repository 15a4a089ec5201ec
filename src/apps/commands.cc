#include "apps/commands.h"

namespace swath::apps {

const std::vector<Command>& commands() {
  static const std::vector<Command> table = {
      {{"demo", "pretrain and probe a small model on Blue Marble imagery, end with a report page",
        "swath demo", {}},
       run_demo},
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
      {{"probe", "measure frozen features: LARS linear probe, kNN, logistic regression, few-shot",
        "swath probe runs/pretrain-1 --root images/ --split splits/ucm --repeats 5",
        {"CHECKPOINT"}},
       run_probe},
      {{"finetune", "train all or the last blocks of a pretrained model with labels",
        "swath finetune runs/pretrain-1 --root images/", {"CHECKPOINT"}},
       run_finetune},
      {{"embed", "write features of a dataset to .npy and safetensors",
        "swath embed runs/pretrain-1 --root images/", {"CHECKPOINT"}},
       run_embed},
      {{"reconstruct", "pictures: original, masked, reconstruction",
        "swath reconstruct runs/pretrain-1 --root images/", {"CHECKPOINT"}},
       run_reconstruct},
      {{"import", "bring a MAE or timm checkpoint (safetensors) into swath's layout",
        "swath import model.safetensors --model.name vit_base", {"FILE"}},
       run_import},
      {{"export", "write a checkpoint as timm safetensors, with a model card",
        "swath export runs/pretrain-1", {"CHECKPOINT"}},
       run_export},
      {{"report", "one HTML page from one or several runs",
        "swath report runs/pretrain-1 runs/probe-1", {"RUN..."}},
       run_report},
      {{"doctor", "what is installed, found and missing", "swath doctor", {}}, run_doctor},
  };
  return table;
}

}  // namespace swath::apps
