#!/usr/bin/env python3
"""The MAE training step of `swath bench peer` in Python: torch and timm, as a user would write it.

    .deps/peer/bin/python tools/peer/mae_peer.py START.safetensors [--mode eager|compile]
        [--dtype float32|bfloat16|float64] [--device cpu|cuda] [--threads 2]
        [--wrapper ddp|fsdp|fsdp-keep --rank 0 --ranks 2 --meet FILE]

START holds the initial weights under "weight.NAME" (MAE's names), a batch "images" (B, C, H, W), the
mask noise "noise" (B, N), and in its metadata the key "config": JSON with width, depth, heads, mlp,
patch, image_size, channels, decoder_width, decoder_depth, decoder_heads, mask_ratio, norm_pix_loss,
lr, weight_decay.

It writes one JSON line when it is ready, then obeys lines on its standard input and answers each
with one JSON line, so that a driver can take turns between it and another program:

    gradients FILE  one forward and backward pass without an update; the gradients, whole, go into
                    FILE (safetensors, the parameters' dtype) under the parameters' names:
                    {"gradients": FILE}
    run N           N training steps on the same batch: {"loss": of the last step's forward pass,
                    "losses": [...], "seconds_per_step": median, "seconds": [...],
                    "peak_rss_bytes": ...}
    quit

The model is the public one: every patch is embedded, every patch predicted, timm's blocks, fused
AdamW. bfloat16 is autocast over float32 weights; float64 is everything in float64.

With a wrapper, processes that share the new file FILE train as ranks over Gloo (NCCL on GPUs), each
on its own START, and all obey the same lines; losses and gradients are means over them. ddp is
DistributedDataParallel, its gradients being views of its buckets; fsdp is FSDP2, fully_shard of each
block and of the whole; fsdp-keep leaves blocks gathered after forward.
"""

import argparse
import datetime
import json
import statistics
import sys
import time
from functools import partial
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors import safe_open
from timm.models.vision_transformer import Block
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

norm_layer = partial(torch.nn.LayerNorm, eps=1e-6)


def peak_resident_bytes():
    """VmHWM, as `swath bench` reads its own; getrusage's peak includes the parent before exec."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


class Mae(torch.nn.Module):
    random_input = "noise"

    def __init__(self, c):
        super().__init__()
        self.patch = c["patch"]
        self.norm_pix_loss = c["norm_pix_loss"]
        self.patches = (c["image_size"] // c["patch"]) ** 2
        self.kept = int(self.patches * (1 - c["mask_ratio"]))
        width, decoder = c["width"], c["decoder_width"]
        self.cls_token = torch.nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = torch.nn.Parameter(torch.zeros(1, self.patches + 1, width), False)
        self.mask_token = torch.nn.Parameter(torch.zeros(1, 1, decoder))
        self.decoder_pos_embed = torch.nn.Parameter(
            torch.zeros(1, self.patches + 1, decoder), False)
        self.patch_embed = torch.nn.Module()
        self.patch_embed.proj = torch.nn.Conv2d(c["channels"], width, self.patch, self.patch)
        self.blocks = torch.nn.ModuleList(
            Block(width, c["heads"], c["mlp"] / width, qkv_bias=True, norm_layer=norm_layer)
            for _ in range(c["depth"]))
        self.norm = norm_layer(width)
        self.decoder_embed = torch.nn.Linear(width, decoder)
        self.decoder_blocks = torch.nn.ModuleList(
            Block(decoder, c["decoder_heads"], 4, qkv_bias=True, norm_layer=norm_layer)
            for _ in range(c["decoder_depth"]))
        self.decoder_norm = norm_layer(decoder)
        self.decoder_pred = torch.nn.Linear(decoder, self.patch ** 2 * c["channels"])

    def units(self):
        """What FSDP wraps."""
        return [*self.blocks, *self.decoder_blocks]

    @staticmethod
    def public_name(name):
        """Under which START has a parameter and a gradients' file its gradient."""
        return name

    @staticmethod
    def is_spared(name):
        """Not decayed although it is no vector and no bias."""
        return False

    def patchify(self, images):
        batch, channels, height, _ = images.shape
        side = height // self.patch
        x = images.reshape(batch, channels, side, self.patch, side, self.patch)
        return x.permute(0, 2, 4, 3, 5, 1).reshape(batch, side * side, -1)

    def forward(self, images, noise):
        x = self.patch_embed.proj(images).flatten(2).transpose(1, 2) + self.pos_embed[:, 1:]
        ids_shuffle = torch.argsort(noise, dim=1)
        ids_restore = torch.argsort(ids_shuffle, dim=1)
        ids_keep = ids_shuffle[:, :self.kept]
        x = torch.gather(x, 1, ids_keep.unsqueeze(-1).expand(-1, -1, x.shape[2]))
        mask = torch.ones_like(noise)
        mask[:, :self.kept] = 0
        mask = torch.gather(mask, 1, ids_restore)

        cls = (self.cls_token + self.pos_embed[:, :1]).expand(len(x), -1, -1)
        x = torch.cat([cls, x], 1)
        for block in self.blocks:
            x = block(x)
        x = self.decoder_embed(self.norm(x))

        tokens = self.mask_token.expand(len(x), self.patches - self.kept, -1).to(x.dtype)
        patches = torch.cat([x[:, 1:], tokens], 1)
        patches = torch.gather(patches, 1, ids_restore.unsqueeze(-1).expand(-1, -1, x.shape[2]))
        x = torch.cat([x[:, :1], patches], 1) + self.decoder_pos_embed
        for block in self.decoder_blocks:
            x = block(x)
        pred = self.decoder_pred(self.decoder_norm(x))[:, 1:]

        target = self.patchify(images)
        if self.norm_pix_loss:
            mean = target.mean(-1, keepdim=True)
            var = target.var(-1, keepdim=True)
            target = (target - mean) / (var + 1e-6) ** 0.5
        loss = ((pred.to(target.dtype) - target) ** 2).mean(-1)
        return (loss * mask).sum() / mask.sum()


def meet(arguments, device):
    """Joins the other ranks; without a wrapper there are none."""
    if arguments.wrapper != "none":
        dist.init_process_group("gloo" if device.type == "cpu" else "nccl",
                                init_method=f"file://{arguments.meet}", rank=arguments.rank,
                                world_size=arguments.ranks, timeout=datetime.timedelta(minutes=10))


def wrap(model, arguments, device):
    """What the training step calls instead of the model, as a user would write it."""
    if arguments.wrapper in ("fsdp", "fsdp-keep"):
        mesh = dist.init_device_mesh(device.type, (arguments.ranks,))
        is_freed = arguments.wrapper == "fsdp"
        for block in model.units():
            if arguments.mode == "compile":
                block.compile()
            fully_shard(block, mesh=mesh, reshard_after_forward=is_freed)
        return fully_shard(model, mesh=mesh)
    if arguments.wrapper == "ddp":
        model = DistributedDataParallel(model, gradient_as_bucket_view=True)
    return torch.compile(model) if arguments.mode == "compile" else model


def write_gradients(model, path):
    """One at a time, so that this needs no memory to speak of."""
    parameters = [(model.public_name(n), p) for n, p in model.named_parameters()
                  if p.requires_grad]
    header, end = {}, 0
    for name, parameter in parameters:
        begin, end = end, end + parameter.itemsize * parameter.numel()
        header[name] = {"dtype": f"F{8 * parameter.itemsize}", "shape": list(parameter.shape),
                        "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _, parameter in parameters:
            gradient = parameter.grad
            if isinstance(gradient, DTensor):
                gradient = gradient.full_tensor()
            file.write(gradient.cpu().contiguous().numpy())


def main(make_model=Mae):
    parser = argparse.ArgumentParser()
    parser.add_argument("start")
    parser.add_argument("--mode", choices=["eager", "compile"], default="eager")
    parser.add_argument("--dtype", choices=["float32", "bfloat16", "float64"], default="float32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--wrapper", choices=["none", "ddp", "fsdp", "fsdp-keep"], default="none")
    parser.add_argument("--rank", type=int, default=0)
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--meet")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    meet(arguments, device)

    with safe_open(arguments.start, "pt") as file:
        config = json.loads(file.metadata()["config"])
        model = make_model(config)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(file.get_tensor("weight." + model.public_name(name)))
        weights = torch.float64 if arguments.dtype == "float64" else torch.float32
        images = file.get_tensor("images").to(device, weights)
        noise = file.get_tensor(model.random_input).to(device)
    model.to(device, weights)
    forward = wrap(model, arguments, device)

    decay, no_decay = [], []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            is_plain = (parameter.ndim == 1 or name.endswith(".bias")
                        or model.is_spared(name))
            (no_decay if is_plain else decay).append(parameter)
    optimizer = torch.optim.AdamW(
        [{"params": no_decay, "weight_decay": 0.0},
         {"params": decay, "weight_decay": config.get("weight_decay", 0.05)}],
        lr=config.get("lr", 1.5e-4), betas=(0.9, 0.95), fused=True)

    def compute_gradients():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16,
                            enabled=arguments.dtype == "bfloat16"):
            loss = forward(images, noise)
        loss.backward()
        return loss

    def step():
        loss = compute_gradients()
        optimizer.step()
        # Reading the loss waits for the device: the end of the step.
        return loss.item() if device.type == "cpu" else loss.detach()

    print(json.dumps({"ready": True, "mode": arguments.mode, "dtype": arguments.dtype,
                      "wrapper": arguments.wrapper,
                      "torch": torch.__version__, "threads": torch.get_num_threads()}),
          flush=True)
    for line in sys.stdin:
        words = line.split()
        if not words or words[0] == "quit":
            break
        if words[0] == "gradients":
            compute_gradients()
            write_gradients(model, words[1])
            print(json.dumps({"gradients": words[1]}), flush=True)
            continue
        if dist.is_initialized():
            dist.barrier()
        losses, seconds = [], []
        for _ in range(int(words[1])):
            begin = time.perf_counter()
            loss = step()
            if device.type == "cuda":
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - begin)
            losses.append(float(loss))
        if dist.is_initialized():
            mean = torch.tensor(losses, device=device)
            dist.all_reduce(mean)
            losses = (mean / arguments.ranks).tolist()
        answer = {"loss": losses[-1], "losses": losses,
                  "seconds_per_step": statistics.median(seconds), "seconds": seconds,
                  "peak_rss_bytes": peak_resident_bytes()}
        if device.type == "cuda":
            answer["peak_device_bytes"] = torch.cuda.max_memory_allocated()
        print(json.dumps(answer), flush=True)
    if dist.is_initialized():
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
