#!/usr/bin/env python3
"""The SimMIM training step of `swath bench peer` in Python: timm's SwinV2, as a user would wrap it.

    .deps/peer/bin/python tools/peer/simmim_peer.py START.safetensors [as mae_peer.py]

START is as mae_peer.py describes it, except that "units" (B, U), float, 1 for a masked square of the
image, stands for the noise, that names are Microsoft's, and that "config" has width, depths, heads,
window, pretrained_windows, patch, image_size, channels, mask_unit, lr, weight_decay. It obeys the same
lines.
"""

import torch
from timm.models.swin_transformer_v2 import SwinTransformerV2

import mae_peer


class SimMim(torch.nn.Module):
    random_input = "units"

    def __init__(self, c):
        super().__init__()
        self.patch = c["patch"]
        self.unit = c["mask_unit"] // c["patch"]  # in tokens
        self.channels = c["channels"]
        stages = len(c["depths"])
        self.encoder = SwinTransformerV2(
            img_size=c["image_size"], patch_size=c["patch"], in_chans=c["channels"], num_classes=0,
            global_pool="", embed_dim=c["width"], depths=tuple(c["depths"]),
            num_heads=tuple(c["heads"] * 2 ** s for s in range(stages)), window_size=c["window"],
            pretrained_window_sizes=tuple(c["pretrained_windows"]), drop_path_rate=0.0)
        self.mask_token = torch.nn.Parameter(torch.zeros(1, 1, c["width"]))
        stride = c["patch"] * 2 ** (stages - 1)
        self.decoder = torch.nn.Sequential(
            torch.nn.Conv2d(c["width"] * 2 ** (stages - 1), stride ** 2 * c["channels"], 1),
            torch.nn.PixelShuffle(stride))

    def units(self):
        return [block for stage in self.encoder.layers for block in stage.blocks]

    @staticmethod
    def public_name(name):
        """Ours are Microsoft's: merging at the end of a stage."""
        parts = name.removeprefix("encoder.").split(".")
        if "downsample" in parts:
            parts[1] = str(int(parts[1]) - 1)
        return ".".join(parts)

    @staticmethod
    def is_spared(name):
        return name == "mask_token" or "cpb_mlp" in name or "logit_scale" in name

    def forward(self, images, units):
        side = round(units.shape[1] ** 0.5)
        mask = units.view(-1, side, side)
        mask = mask.repeat_interleave(self.unit, 1).repeat_interleave(self.unit, 2)
        x = self.encoder.patch_embed(images)
        tokens = mask.unsqueeze(-1)
        x = x * (1.0 - tokens) + self.mask_token * tokens
        x = self.encoder.norm(self.encoder.layers(x))
        restored = self.decoder(x.permute(0, 3, 1, 2))
        pixels = mask.repeat_interleave(self.patch, 1).repeat_interleave(self.patch, 2).unsqueeze(1)
        error = (images - restored.to(images.dtype)).abs()
        return (error * pixels).sum() / (pixels.sum() + 1e-5) / self.channels


if __name__ == "__main__":
    mae_peer.main(SimMim)
