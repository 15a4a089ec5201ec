#!/usr/bin/env python3
"""The Python peer of `swath bench io`: torchvision + Pillow DataLoader over image files.

    .deps/peer/bin/python tools/peer/io_peer.py LIST --workers 1

LIST is a file with the path of one image per line. They are decoded the way MAE pretrains on them:
RandomResizedCrop (bicubic), horizontal flip, to tensor, normalise. Prints one line of JSON:
{"images_per_second": ..., "images": ..., "seconds": ..., and the settings}.

Batches come without end, so that the loader is as far ahead when the clock stops as when it starts:
workers are started, and have delivered a batch each and half a second of work, before that.
"""
import argparse
import json
import time
from pathlib import Path

import PIL
import torch
import torchvision
from PIL import Image
from torch.utils.data import DataLoader, Dataset, Sampler
from torchvision import transforms

MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)
WARM_UP_SECONDS = 0.5


class ImageFiles(Dataset):
    def __init__(self, paths, transform):
        self.paths = paths
        self.transform = transform

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        with open(self.paths[index], "rb") as file:
            return self.transform(Image.open(file).convert("RGB"))


class EndlessOrder(Sampler):
    def __init__(self, size):
        self.size = size

    def __iter__(self):
        while True:
            yield from torch.randperm(self.size).tolist()


def one_thread(_):
    torch.set_num_threads(1)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("list", type=Path)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--scale", type=float, nargs=2, default=(0.2, 1.0))
    parser.add_argument("--ratio", type=float, nargs=2, default=(3 / 4, 4 / 3))
    parser.add_argument("--flip", type=float, default=0.5, help="probability")
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    torch.manual_seed(options.seed)
    torch.set_num_threads(1)
    transform = transforms.Compose([
        transforms.RandomResizedCrop(options.size, scale=options.scale, ratio=options.ratio,
                                     interpolation=transforms.InterpolationMode.BICUBIC),
        transforms.RandomHorizontalFlip(options.flip),
        transforms.ToTensor(),
        transforms.Normalize(MEAN, DEVIATION),
    ])
    images = ImageFiles(options.list.read_text().splitlines(), transform)
    batches = iter(DataLoader(images, batch_size=options.batch, sampler=EndlessOrder(len(images)),
                              num_workers=options.workers, worker_init_fn=one_thread))
    for _ in range(max(1, options.workers)):
        next(batches)
    count, seconds = take(batches, WARM_UP_SECONDS)
    count, seconds = take(batches, options.seconds)
    print(json.dumps({
        "images_per_second": count / seconds, "images": count, "seconds": seconds,
        "workers": options.workers, "batch": options.batch, "size": options.size,
        "pillow": PIL.__version__, "torch": torch.__version__,
        "torchvision": torchvision.__version__}), flush=True)


def take(batches, least_seconds):
    """Images and seconds of whole batches until that time is over."""
    count = 0
    started = time.perf_counter()
    while (seconds := time.perf_counter() - started) < least_seconds:
        count += len(next(batches))
    return count, seconds


if __name__ == "__main__":
    main()
