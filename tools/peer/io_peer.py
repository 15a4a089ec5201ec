#!/usr/bin/env python3
"""The Python peer of `swath bench io`: torchvision + Pillow DataLoader over a folder of images.

    .deps/peer/bin/python tools/peer/io_peer.py ROOT --workers 1

Decodes every image below ROOT (all extensions that torchvision knows) the way MAE pretrains on it:
RandomResizedCrop(size, scale 0.2 to 1, bicubic), horizontal flip, to tensor, normalise. Prints one
line of JSON: {"images_per_second": ..., "images": ..., "seconds": ..., and the settings}.

Workers are started and the first batch of every worker is taken before the clock starts, so that
imports and the start of processes are not measured. With --workers 0 the images are decoded in this
process.
"""
import argparse
import json
import os
import time
from pathlib import Path

import PIL
import torch
import torchvision
from PIL import Image
from torch.utils.data import DataLoader, Dataset, Subset
from torchvision import transforms
from torchvision.datasets.folder import IMG_EXTENSIONS

MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)


class ImageFiles(Dataset):
    def __init__(self, paths, transform):
        self.paths = paths
        self.transform = transform

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        with open(self.paths[index], "rb") as file:
            return self.transform(Image.open(file).convert("RGB"))


def one_thread(_):
    torch.set_num_threads(1)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--images", type=int, default=0, help="at most so many; 0: all")
    parser.add_argument("--passes", type=int, default=1, help="times over the images")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    paths = sorted(path for path in options.root.rglob("*")
                   if path.suffix.lower() in IMG_EXTENSIONS)
    if not paths:
        raise SystemExit(f"no images below {options.root}")
    if options.images:
        # Spread over all classes.
        step = max(1, len(paths) // options.images)
        paths = paths[::step][:options.images]

    torch.manual_seed(options.seed)
    torch.set_num_threads(1)
    transform = transforms.Compose([
        transforms.RandomResizedCrop(options.size, scale=(0.2, 1.0),
                                     interpolation=transforms.InterpolationMode.BICUBIC),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize(MEAN, DEVIATION),
    ])
    images = ImageFiles(paths, transform)
    # The warm-up's images come before the measured ones in one and the same epoch.
    warm_batches = max(1, options.workers)
    order = [i % len(paths) for i in range(warm_batches * options.batch)]
    for _ in range(options.passes):
        order += torch.randperm(len(paths)).tolist()
    loader = DataLoader(Subset(images, order), batch_size=options.batch,
                        num_workers=options.workers, worker_init_fn=one_thread,
                        prefetch_factor=2 if options.workers else None)
    count = 0
    batches = iter(loader)
    for _ in range(warm_batches):
        next(batches)
    # Workers already hold batches decoded ahead: they are part of the measured images but not of
    # the measured time, so the measured part must be long against workers * prefetch_factor batches.
    started = time.perf_counter()
    for batch in batches:
        count += len(batch)
    seconds = time.perf_counter() - started
    print(json.dumps({
        "images_per_second": count / seconds, "images": count, "seconds": seconds,
        "workers": options.workers, "batch": options.batch, "size": options.size,
        "cores": os.cpu_count(), "pillow": PIL.__version__, "torch": torch.__version__,
        "torchvision": torchvision.__version__}))


if __name__ == "__main__":
    main()
