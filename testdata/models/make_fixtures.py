"""Writes the model fixtures: python make_fixtures.py (needs torch, timm, safetensors).

An independent MAE and ViT in Python, from timm's blocks and the paper, in float64. Each file holds
inputs, mask noise, weights, results and the gradient of every trainable parameter. Weights and
inputs are float32 values, so that they are exact in both precisions; results are float64.
"""

import json
import pathlib

import numpy as np
import torch
from functools import partial
from safetensors.torch import save_file
from timm.layers import SwiGLU
from timm.models.swin_transformer_v2 import (
    PatchMerging, SwinTransformerV2, SwinTransformerV2Block)
from timm.models.vision_transformer import Block, VisionTransformer

HERE = pathlib.Path(__file__).parent
norm_layer = partial(torch.nn.LayerNorm, eps=1e-6)


def position_table(width, side):
    quarter = width // 4
    omega = 10000.0 ** (-np.arange(quarter, dtype=np.float64) / quarter)
    rows = [np.zeros(width)]
    for row in range(side):
        for column in range(side):
            x, y = column * omega, row * omega
            rows.append(np.concatenate([np.sin(x), np.cos(x), np.sin(y), np.cos(y)]))
    return torch.tensor(np.stack(rows)).float().double()[None]


class Mae(torch.nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        side = c["used_size"] // c["patch"]
        width, decoder = c["width"], c["decoder_width"]
        values = c["channels"] * c["patch"] ** 2
        self.cls_token = torch.nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = torch.nn.Parameter(position_table(width, side), requires_grad=False)
        self.mask_token = torch.nn.Parameter(torch.zeros(1, 1, decoder))
        self.decoder_pos_embed = torch.nn.Parameter(position_table(decoder, side), False)
        self.patch_embed = torch.nn.Module()
        self.patch_embed.proj = torch.nn.Conv2d(c["channels"], width, c["patch"], c["patch"])
        mlp = dict(mlp_layer=SwiGLU) if c["gated"] else {}
        self.blocks = torch.nn.ModuleList(
            Block(width, c["heads"], c["mlp"] / width, qkv_bias=True, norm_layer=norm_layer, **mlp)
            for _ in range(c["depth"]))
        self.norm = norm_layer(width)
        self.decoder_embed = torch.nn.Linear(width, decoder)
        self.decoder_blocks = torch.nn.ModuleList(
            Block(decoder, c["decoder_heads"], 4, qkv_bias=True, norm_layer=norm_layer)
            for _ in range(c["decoder_depth"]))
        self.decoder_norm = norm_layer(decoder)
        self.decoder_pred = torch.nn.Linear(decoder, values)
        if c["gated"]:
            for block in self.blocks:
                block.mlp.act = torch.nn.GELU()

    def target(self, images):
        c = self.c
        p, channels, side = c["patch"], c["channels"], c["used_size"] // c["patch"]
        x = images.reshape(-1, channels, side, p, side, p)
        x = torch.einsum("bchpwq->bhwpqc", x).reshape(images.shape[0], side * side, p * p, channels)
        if c["norm_pix"]:
            over = (2,) if c["per_band"] else (2, 3)
            count = p * p * (1 if c["per_band"] else channels)
            mean = x.mean(over, keepdim=True)
            var = ((x - mean) ** 2).sum(over, keepdim=True) / (count - 1)
            x = (x - mean) / (var + 1e-6) ** 0.5
        return x.reshape(images.shape[0], side * side, -1)

    def encode(self, images, keep=None):
        x = self.patch_embed.proj(images).flatten(2).transpose(1, 2) + self.pos_embed[:, 1:]
        if keep is not None:
            x = torch.stack([sample[ids] for sample, ids in zip(x, keep)])
        cls = (self.cls_token + self.pos_embed[:, :1]).expand(len(x), -1, -1)
        x = torch.cat([cls, x], 1)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)

    def forward(self, images, noise):
        c = self.c
        images = images[:, :, :c["used_size"], :c["used_size"]]
        patches = noise.shape[1]
        order = torch.argsort(noise, dim=1, stable=True)
        keep = order[:, :int(patches * (1 - c["mask_ratio"]))]
        mask = torch.ones_like(noise).scatter(1, keep, 0.0)
        latent = self.decoder_embed(self.encode(images, keep))
        # Every place gets the mask token, then the kept ones their latent.
        x = self.mask_token.expand(len(images), patches, -1).clone()
        x = torch.stack([row.index_copy(0, ids, kept) for row, ids, kept
                         in zip(x, keep, latent[:, 1:])])
        x = torch.cat([latent[:, :1], x], 1) + self.decoder_pos_embed
        for block in self.decoder_blocks:
            x = block(x)
        pred = self.decoder_pred(self.decoder_norm(x))[:, 1:]
        error = ((pred - self.target(images)) ** 2)
        loss = (error.mean(-1) * mask).sum() / mask.sum()
        bands = (error.reshape(len(images), patches, -1, c["channels"]).mean(2)
                 * mask[..., None]).sum((0, 1)) / mask.sum()
        return loss, pred, mask, bands


def randomize(module, generator):
    """Weights large enough that every part matters; biases and norms away from 0 and 1."""
    for name, parameter in module.named_parameters():
        if "pos_embed" in name:
            continue
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.ndim > 1 and "token" not in name:
            noise = noise / parameter[0].numel() ** 0.5
        else:
            noise = noise * 0.3
        if "norm" in name and name.endswith("weight"):
            noise = noise + 1
        parameter.data.copy_(noise.float())


def weights_and_gradients(module):
    tensors = {}
    for name, parameter in module.named_parameters():
        tensors["weight." + name] = parameter.detach().float()
        if parameter.requires_grad:
            tensors["grad." + name] = parameter.grad
    return tensors


def write(name, config, tensors):
    tensors = {key: value.contiguous() for key, value in tensors.items()}
    save_file(tensors, str(HERE / f"{name}.safetensors"), metadata={"config": json.dumps(config)})


def mae(name, seed, **changes):
    config = dict(width=24, depth=2, heads=3, mlp=96, gated=False, patch=8, image_size=32,
                  used_size=32, channels=1, decoder_width=16, decoder_depth=2, decoder_heads=2,
                  mask_ratio=0.75, norm_pix=True, per_band=False)
    config.update(changes)
    generator = torch.Generator().manual_seed(seed)
    torch.set_default_dtype(torch.float64)
    model = Mae(config)
    randomize(model, generator)
    images = torch.randn(3, config["channels"], config["image_size"], config["image_size"],
                         generator=generator).float().double()
    side = config["used_size"] // config["patch"]
    noise = torch.rand(3, side * side, generator=generator).float().double()
    noise[0, 3] = noise[0, 7]  # a tie
    loss, pred, mask, bands = model(images, noise)
    loss.backward()
    with torch.no_grad():
        features = model.encode(images[:, :, :config["used_size"], :config["used_size"]])
    write(name, config, {
        "images": images.float(), "noise": noise.float(), "loss": loss.detach()[None],
        "pred": pred.detach(), "mask": mask, "bands": bands.detach(), "features": features,
        **weights_and_gradients(model)})


def classifier(name, seed, pool, channels):
    config = dict(width=24, depth=2, heads=3, mlp=48, gated=False, patch=8, image_size=24,
                  used_size=24, channels=channels, classes=5, pool=pool)
    generator = torch.Generator().manual_seed(seed)
    torch.set_default_dtype(torch.float64)
    model = VisionTransformer(
        img_size=24, patch_size=8, in_chans=channels, num_classes=5, embed_dim=24, depth=2,
        num_heads=3, mlp_ratio=2, global_pool=pool, norm_layer=norm_layer)
    model.pos_embed.data.copy_(position_table(24, 3))
    model.pos_embed.requires_grad = False
    randomize(model, generator)
    images = torch.randn(4, channels, 24, 24, generator=generator).float().double()
    labels = torch.tensor([0, 3, 4, 1])
    logits = model(images)
    targets = torch.nn.functional.one_hot(labels, 5) * 0.9 + 0.1 / 5
    loss = -(targets * torch.log_softmax(logits, -1)).sum(-1).mean()
    loss.backward()
    write(name, config, {
        "images": images.float(), "labels": labels, "logits": logits.detach(),
        "loss": loss.detach()[None], **weights_and_gradients(model)})


class Stage(torch.nn.Module):
    def __init__(self, rows, columns, width, heads, depth, window, pretrained, has_next):
        super().__init__()
        self.blocks = torch.nn.ModuleList()
        for i in range(depth):
            shift = [w // 2 if i % 2 else 0 for w in window]
            block = SwinTransformerV2Block(width, (rows, columns), heads, tuple(window),
                                           tuple(shift), pretrained_window_size=tuple(pretrained))
            block.attn.relative_coords_table.data = log_offsets(window, pretrained)
            self.blocks.append(block)
        self.downsample = PatchMerging(width, 2 * width) if has_next else None

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x if self.downsample is None else self.downsample(x)


def log_offsets(window, pretrained):
    """The coordinates of the position bias in float64, from the paper's formula."""
    axes = []
    for w, trained in zip(window, pretrained):
        t = torch.arange(1 - w, w, dtype=torch.float64)
        u = 8 * t / (trained - 1) if trained > 1 else 0 * t
        axes.append(torch.sign(u) * torch.log2(u.abs() + 1) / 3)
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)[None]


class SimMim(torch.nn.Module):
    """SimMIM around timm's SwinV2 blocks; `c` as the C++ options name things."""

    def __init__(self, c):
        super().__init__()
        self.c = c
        self.tiles = c["tiles"]  # rows, columns of the mosaic; 1 x 1 without
        grid = c["image_size"] // c["patch"]
        width, stages = c["width"], len(c["depths"])
        own = 1 if c["per_band"] else c["channels"]
        self.patch_embed = torch.nn.Module()
        self.patch_embed.proj = torch.nn.Conv2d(own, width, c["patch"], c["patch"])
        self.patch_embed.norm = torch.nn.LayerNorm(width)
        if c["per_band"]:
            self.band_embed = torch.nn.Parameter(torch.zeros(c["channels"], width))
        self.layers = torch.nn.ModuleList()
        for s, depth in enumerate(c["depths"]):
            window = c["windows"][s]
            pretrained = c["pretrained_windows"][2 * s:2 * s + 2] or window
            self.layers.append(Stage(
                self.tiles[0] * grid >> s, self.tiles[1] * grid >> s, width << s, c["heads"] << s,
                depth, window, pretrained, s + 1 < stages))
        self.norm = torch.nn.LayerNorm(width << (stages - 1))
        self.mask_token = torch.nn.Parameter(torch.zeros(1, 1, width))
        self.stride = c["patch"] << (stages - 1)
        out = 16 if c["loss"] == "cross_entropy" else own
        self.decoder = torch.nn.Sequential(
            torch.nn.Conv2d(width << (stages - 1), self.stride ** 2 * out, 1),
            torch.nn.PixelShuffle(self.stride))
        if c["loss"] == "cross_entropy":
            self.bins = torch.nn.Linear(16, 32 * own)

    def to_tiles(self, x):
        """(B, K, H, W) -> (B, 1, rows H, columns W), bands row by row."""
        rows, columns = self.tiles
        return torch.cat([torch.cat([x[:, r * columns + k] for k in range(columns)], -1)
                          for r in range(rows)], -2)[:, None]

    def from_tiles(self, x):
        side = self.c["image_size"]
        rows, columns = self.tiles
        return torch.cat([x[:, :, r * side:(r + 1) * side, k * side:(k + 1) * side]
                          for r in range(rows) for k in range(columns)], 1)

    def encode(self, images, mask=None):
        """`mask` (B, maps, grid, grid), 1 masked."""
        c = self.c
        x = self.patch_embed.proj(self.to_tiles(images) if c["per_band"] else images)
        x = self.patch_embed.norm(x.permute(0, 2, 3, 1))
        if mask is not None:
            if c["per_band"]:
                mask = self.to_tiles(mask.expand(-1, c["channels"], -1, -1))
            mask = mask.permute(0, 2, 3, 1)
            x = x * (1 - mask) + self.mask_token.view(1, 1, 1, -1) * mask
        if c["per_band"]:
            grid = c["image_size"] // c["patch"]
            embed = self.band_embed.t()[None, :, :, None, None].expand(-1, -1, -1, grid, grid)
            x = x + torch.stack([self.to_tiles(e[None])[0, 0] for e in embed[0]], -1)[None]
        for layer in self.layers:
            x = layer(x)
        return self.norm(x)

    def target(self, images, valid):
        w = self.c["target_window"]
        if w == 0:
            return images
        # Pixel by pixel, from the definition.
        padded = torch.nn.functional.pad(images * valid, [w // 2] * 4)
        inside = torch.nn.functional.pad(valid, [w // 2] * 4)
        pixels = padded.unfold(2, w, 1).unfold(3, w, 1).flatten(-2)
        counted = inside.unfold(2, w, 1).unfold(3, w, 1).flatten(-2)
        n = counted.sum(-1).clamp_min(1)
        mean = pixels.sum(-1) / n
        square = (pixels ** 2).sum(-1) / n
        var = ((square - mean ** 2) * n / (n - 1).clamp_min(1)).clamp_min(0)
        return (images - mean) / (var + 1e-6) ** 0.5

    def forward(self, images, units, valid):
        c = self.c
        big = torch.repeat_interleave(torch.repeat_interleave(
            units, c["mask_unit"] // c["patch"], -2), c["mask_unit"] // c["patch"], -1)
        pixels = torch.repeat_interleave(torch.repeat_interleave(big, c["patch"], -2), c["patch"], -1)
        z = self.decoder(self.encode(images, big).permute(0, 3, 1, 2))
        if c["loss"] == "cross_entropy":
            logits = self.bins(z.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            if c["per_band"]:
                logits = torch.stack([self.from_tiles(logits[:, i:i + 1]) for i in range(32)], 2)
            else:
                logits = logits.unflatten(1, (c["channels"], 32))
            label = ((images + 3) / 6 * 32).floor().clamp(0, 31).long()
            error = torch.nn.functional.cross_entropy(
                logits.transpose(1, 2), label, reduction="none")
            pred = logits
        else:
            pred = self.from_tiles(z) if c["per_band"] else z
            error = (pred - self.target(images, valid)).abs()
        counted = (pixels * valid).expand_as(error)
        loss = (error * counted).sum() / (counted.sum() / c["channels"] + 1e-5) / c["channels"]
        bands = (error * counted).sum((0, 2, 3)) / (counted.sum((0, 2, 3)) + 1e-5)
        share = counted.sum() / pixels.expand_as(error).sum()
        return loss, pred, bands, share


def simmim(name, seed, **changes):
    config = dict(width=8, heads=1, depths=[2, 2], patch=2, image_size=16, channels=2, per_band=False,
                  tiles=[1, 1], window=4, windows=[[4, 4], [4, 4]], pretrained_windows=[],
                  mask_unit=4, mask_ratio=0.6, masks_per_band=False, loss="l1", target_window=0,
                  valid="all")
    config.update(changes)
    generator = torch.Generator().manual_seed(seed)
    torch.set_default_dtype(torch.float64)
    model = SimMim(config)
    randomize(model, generator)
    for parameter_name, parameter in model.named_parameters():
        if parameter_name.endswith("logit_scale"):
            parameter.data += 1
            parameter.data.copy_(parameter.data.float())
    channels, side = config["channels"], config["image_size"]
    images = (torch.randn(2, channels, side, side, generator=generator) * 1.5).float().double()
    maps = channels if config["masks_per_band"] else 1
    count = (side // config["mask_unit"]) ** 2
    units = torch.zeros(2, maps, count)
    for row in units.view(-1, count):
        row[torch.randperm(count, generator=generator)[:int(np.ceil(count * 0.6))]] = 1
    valid = torch.ones(2, 1, side, side)
    if config["valid"] != "all":
        of = 1 if config["valid"] == "shared" else channels
        valid = (torch.rand(2, of, side, side, generator=generator) > 0.3).double()
        images = images * valid
    loss, pred, bands, share = model(images, units.view(2, maps, *[side // config["mask_unit"]] * 2),
                                     valid)
    loss.backward()
    with torch.no_grad():
        features = model.encode(images).flatten(1, 2)
    tensors = {"images": images.float(), "units": units.to(torch.uint8), "loss": loss.detach()[None],
               "pred": pred.detach(), "bands": bands.detach(), "features": features,
               **weights_and_gradients(model)}
    if config["valid"] != "all":
        tensors.update(valid=valid.to(torch.uint8), share=share[None])
    write(name, config, tensors)


def classifier_swin(name, seed):
    """timm's whole model; its merging layers stand at the start of the next stage."""
    config = dict(width=8, heads=2, depths=[2, 2, 1], patch=2, image_size=16, channels=3,
                  per_band=False, window=4, pretrained_windows=[4, 4, 3, 3, 2, 2], mask_unit=4)
    generator = torch.Generator().manual_seed(seed)
    torch.set_default_dtype(torch.float64)
    model = SwinTransformerV2(
        img_size=16, patch_size=2, in_chans=3, num_classes=5, embed_dim=8, depths=(2, 2, 1),
        num_heads=(2, 4, 8), window_size=4, pretrained_window_sizes=(4, 3, 2), drop_path_rate=0.0)
    randomize(model, generator)
    for stage in model.layers:
        for block in stage.blocks:
            block.attn.relative_coords_table.data = log_offsets(
                block.window_size, [block.attn.pretrained_window_size[0]] * 2)
    images = torch.randn(3, 3, 16, 16, generator=generator).float().double()
    labels = torch.tensor([0, 3, 4])
    logits = model(images)
    loss = torch.nn.functional.cross_entropy(logits, labels, label_smoothing=0.1)
    loss.backward()
    tensors = {}
    for key, value in weights_and_gradients(model).items():
        kind, parameter = key.split(".", 1)
        parts = parameter.split(".")
        if "downsample" in parts:
            parts[1] = str(int(parts[1]) - 1)
        tensors[kind + "." + ".".join(parts).replace("head.fc.", "head.")] = value
    write(name, config, {"images": images.float(), "labels": labels, "logits": logits.detach(),
                         "loss": loss.detach()[None], **tensors})


if __name__ == "__main__":
    mae("mae_1_channel", 1)
    mae("mae_3_channels", 2, channels=3, width=32, heads=4, mlp=64, norm_pix=False)
    mae("mae_6_channels", 3, channels=6, heads=2, per_band=True, patch=4, image_size=16,
        used_size=16)
    mae("mae_gated", 4, channels=2, gated=True, mlp=40, image_size=27, used_size=24,
        mask_ratio=0.6, decoder_depth=1)
    classifier("classifier_token", 5, "token", 3)
    classifier("classifier_avg", 6, "avg", 4)
    # Windows of 4 shifted, 4, 2 and 1 tokens a side.
    simmim("simmim_joint", 20, depths=[2, 1, 1, 1], windows=[[4, 4], [4, 4], [2, 2], [1, 1]])
    # A mosaic of 2 x 3 bands: rectangular windows, shifted along the columns.
    simmim("simmim_mosaic", 8, channels=6, per_band=True, tiles=[2, 3], image_size=8, window=8,
           windows=[[8, 6], [4, 6]], masks_per_band=True, heads=2, valid="by_band")
    simmim("simmim_local_targets", 9, channels=3, target_window=5, valid="shared",
           pretrained_windows=[3, 5, 2, 4])
    simmim("simmim_bins", 55, heads=2, loss="cross_entropy", valid="by_band")
    simmim("simmim_bins_mosaic", 11, channels=2, per_band=True, tiles=[1, 2], image_size=8,
           window=4, windows=[[4, 4], [2, 4]], loss="cross_entropy")
    classifier_swin("classifier_swin", 12)
