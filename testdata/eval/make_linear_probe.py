"""Writes linear_probe.safetensors: a short linear probe in PyTorch.

    python make_linear_probe.py

Needs torch, safetensors. The head is main_linprobe.py's, BatchNorm1d(D, affine=False, eps=1e-6) and
Linear(D, K); the update is LARS as described in reference/linear_probe.md, written down here anew.
Batches are taken in the order of the features.
"""
import math
from pathlib import Path

import torch
from safetensors.torch import save_file

torch.manual_seed(11)
classes, width, batch, steps_per_epoch, epochs, warmup, base_lr = 3, 6, 16, 4, 10, 2, 5.0
labels = torch.arange(batch * steps_per_epoch) % classes
features = torch.randn(len(labels), width) * torch.logspace(-1, 1, width) + 2
features[:, 0] += labels * 0.3
test = torch.randn(10, width) * torch.logspace(-1, 1, width) + 2

norm = torch.nn.BatchNorm1d(width, affine=False, eps=1e-6)
linear = torch.nn.Linear(width, classes)
torch.nn.init.normal_(linear.weight, std=0.01)
torch.nn.init.zeros_(linear.bias)
head = torch.nn.Sequential(norm, linear)
initial = linear.weight.detach().clone()
momenta = {name: torch.zeros_like(p) for name, p in linear.named_parameters()}
losses, rates = [], []
for epoch in range(epochs):
    for step in range(steps_per_epoch):
        e = epoch + step / steps_per_epoch
        peak = base_lr * batch / 256
        if e < warmup:
            lr = peak * e / warmup
        else:
            lr = peak / 2 * (1 + math.cos(math.pi * (e - warmup) / (epochs - warmup)))
        part = slice(step * batch, (step + 1) * batch)
        head.zero_grad()
        loss = torch.nn.functional.cross_entropy(head(features[part]), labels[part])
        loss.backward()
        with torch.no_grad():
            for name, p in linear.named_parameters():
                g = p.grad
                if p.ndim > 1:
                    p_norm, g_norm = p.norm(), g.norm()
                    if p_norm > 0 and g_norm > 0:
                        g = g * (0.001 * p_norm / g_norm)
                momenta[name].mul_(0.9).add_(g)
                p.sub_(momenta[name], alpha=lr)
        losses.append(loss.item())
        rates.append(lr)
head.eval()
save_file({"features": features, "labels": labels, "test": test, "initial_weight": initial,
           "weight": linear.weight.detach().clone(), "bias": linear.bias.detach().clone(),
           "running_mean": norm.running_mean, "running_var": norm.running_var,
           "losses": torch.tensor(losses), "rates": torch.tensor(rates, dtype=torch.double),
           "test_logits": head(test).detach()},
          Path(__file__).with_name("linear_probe.safetensors"))
print(losses[0], losses[-1], rates[:10])
