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


if __name__ == "__main__":
    mae("mae_1_channel", 1)
    mae("mae_3_channels", 2, channels=3, width=32, heads=4, mlp=64, norm_pix=False)
    mae("mae_6_channels", 3, channels=6, heads=2, per_band=True, patch=4, image_size=16,
        used_size=16)
    mae("mae_gated", 4, channels=2, gated=True, mlp=40, image_size=27, used_size=24,
        mask_ratio=0.6, decoder_depth=1)
    classifier("classifier_token", 5, "token", 3)
    classifier("classifier_avg", 6, "avg", 4)
