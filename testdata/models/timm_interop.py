"""The other side of timm_interop_test: real timm reads our files and writes files for us.

    python timm_interop.py load FILE IMAGES FEATURES   timm loads our export FILE (every key must
        match, none may be left over) and writes its features of IMAGES
    python timm_interop.py save FILE NAME IMAGES FEATURES [KEYWORDS]   timm makes NAME, saves it as
        FILE, and writes its features of IMAGES
    python timm_interop.py resample FILE KEY SIDE OUT   a position table by MAE's own rule
"""

import json
import sys

import timm
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file


def features(model, images):
    with torch.no_grad():
        return {"features": model.eval().forward_features(load_file(images)["images"])}


def load(file, images, out):
    with safe_open(file, "pt") as opened:
        metadata = opened.metadata()
    keywords = json.loads(metadata["timm"])
    if "timm_mlp_layer" in metadata:
        keywords["mlp_layer"] = timm.layers.SwiGLU
    # create_model loads strictly: a missing or unexpected key raises.
    model = timm.create_model(metadata["timm_name"], checkpoint_path=file, **keywords)
    result = model.load_state_dict(load_file(file), strict=False)
    assert not result.missing_keys and not result.unexpected_keys, result
    tensors = features(model, images)
    if keywords["num_classes"] > 0:
        with torch.no_grad():
            tensors["logits"] = model(load_file(images)["images"])
    save_file(tensors, out)


def save(file, name, images, out, keywords="{}"):
    torch.manual_seed(1)
    model = timm.create_model(name, **json.loads(keywords))
    for parameter in model.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.02)
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, file)
    save_file(features(model, images), out)


def resample(file, key, side, out):
    # util/pos_embed.py of facebookresearch/mae, as it is described in its paper's fine-tuning.
    table = load_file(file)[key]
    old = int((table.shape[1] - 1) ** 0.5)
    grid = table[:, 1:].reshape(1, old, old, -1).permute(0, 3, 1, 2)
    grid = torch.nn.functional.interpolate(
        grid, size=(int(side), int(side)), mode="bicubic", align_corners=False)
    grid = grid.permute(0, 2, 3, 1).flatten(1, 2)
    save_file({key: torch.cat([table[:, :1], grid], 1).contiguous()}, out)


if __name__ == "__main__":
    {"load": load, "save": save, "resample": resample}[sys.argv[1]](*sys.argv[2:])
