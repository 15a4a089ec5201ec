#!/usr/bin/env python3
"""Writes the run directories sample_run and sample_killed, which the report is tested with.

    .deps/peer/bin/python testdata/bench/make_sample_runs.py

Everything is generated: curves are formulas with seeded noise, pictures are fractal noise coloured
as land and sea. sample_run has all that a report can show; sample_killed is a run that was resumed
once and then killed in the middle of a line, without probe and pictures.
"""
import json
import math
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

HERE = Path(__file__).resolve().parent
CLASSES = ["Evergreen needleleaf forest", "Evergreen broadleaf forest", "Open shrublands",
           "Woody savannas", "Savannas", "Grasslands", "Croplands", "Barren", "Water"]


def write_log(path, records, broken_tail=""):
    path.write_text("".join(json.dumps(r) + "\n" for r in records) + broken_tail, encoding="utf-8")


def run_record(time, command, name, width, depth, parameters):
    return {"kind": "run", "time": time, "command": command, "commit": "a722911",
            "machine": "2 x AVX2 cores, 8 GiB", "device": "cpu", "precision": "float32",
            "model": {"name": name, "width": width, "depth": depth, "parameters": parameters,
                      "patch": 4, "image_size": 32, "mask_ratio": 0.75},
            "data": {"description": "chips of Blue Marble", "samples": 18432}, "batch_size": 256, "seed": 0,
            "peak_flops": 1.9e11, "peak_flops_are": "measured"}


def step_record(random, step, time, total, batch=256, speed=620.0, floor=0.34):
    progress = step / total
    loss = floor + 0.62 * math.exp(-7 * progress) + 0.1 * (1 - progress)
    lr = 1.2e-3 * (progress / 0.05 if progress < 0.05 else 0.5 * (1 + math.cos(math.pi * progress)))
    rate = speed * (1 + 0.03 * random.standard_normal()) * (0.7 if step <= 10 else 1.0)
    peak = 412e6 + min(step, 60) * 1.4e5
    return {"kind": "step", "time": round(time, 3), "step": step,
            "epoch": round(step * batch / 18432, 4),
            "loss": round(loss * (1 + 0.02 * random.standard_normal()), 6), "lr": round(lr, 9),
            "grad_norm": round(0.3 + 1.8 * math.exp(-5 * progress) + 0.08 * abs(random.standard_normal()), 5),
            "images_per_second": round(rate, 2), "step_seconds": round(batch / rate, 5),
            "data_wait": round(0.004 + 0.004 * abs(random.standard_normal()), 5),
            "mfu": round(0.61 * rate / speed, 4),
            "allocated_bytes": int(118e6 + 2e6 * random.random()), "peak_bytes": int(peak)}


def sample_steps(random, first, last, stride, start, **options):
    time = start
    for step in range(first, last + 1, stride):
        time += stride * 256 / 620
        yield step_record(random, step, time, **options)


def probe(random):
    history = []
    for epoch in range(1, 51):
        top1 = 0.793 - 0.19 * math.exp(-epoch / 7) + 0.004 * random.standard_normal()
        history.append({"epoch": epoch, "train_loss": round(0.61 + 0.9 * math.exp(-epoch / 6), 5),
                        "test_loss": round(0.66 + 0.85 * math.exp(-epoch / 6) + 0.0006 * epoch, 5),
                        "lr": round(0.05 * (1 + math.cos(math.pi * epoch / 50)), 6),
                        "top1": round(top1, 5), "top5": round(min(0.999, top1 + 0.19), 5)})
    top1 = history[-1]["top1"]
    confusion = confusion_matrix(random)
    best = max(history, key=lambda row: row["top1"])
    few_shot = {name: few_shot_table(ceiling, speed) for name, ceiling, speed in
                (("own", 0.79, 0.55), ("untrained", 0.70, 0.46), ("bands", 0.65, 0.6))}
    return {"top1": top1, "top5": history[-1]["top5"], "best_top1": best["top1"],
            "best_epoch": best["epoch"], "interval": [top1 - 0.021, top1 + 0.021],
            "balanced_accuracy": 0.7842, "macro_f1": 0.7811, "history": history,
            "confusion": confusion.tolist(),
            "logistic": {"raw": {"c": 0.316, "top1": 0.8021, "top5": 0.985, "balanced_accuracy": 0.7955,
                                 "interval": [0.7811, 0.8224]}},
            "knn": {"weighted": [{"k": 20, "top1": 0.7583, "top5": 0.962, "interval": [0.7361, 0.7812]}]},
            "few_shot": few_shot["own"], "method": "linear", "train_images": 4590,
            "test_images": int(confusion.sum()), "classes": len(CLASSES), "class_names": CLASSES,
            "baselines": {
                "untrained": {"method": "linear", "top1": 0.7214, "top5": 0.961, "interval": [0.6983, 0.7446],
                              "balanced_accuracy": 0.7087, "few_shot": few_shot["untrained"],
                              "logistic": {"raw": {"top1": 0.7302, "top5": 0.963}}},
                "majority_class": 0.1659,
                "band_statistics": {"method": "logistic", "top1": 0.6432, "top5": 0.938,
                                    "balanced_accuracy": 0.6251, "interval": [0.6178, 0.6691],
                                    "few_shot": few_shot["bands"]}},
            "versus": {"untrained": {"difference": top1 - 0.7214, "interval": [top1 - 0.7214 - 0.019, top1 - 0.7214 + 0.02]},
                       "band_statistics": {"difference": top1 - 0.6432, "interval": [0.121, 0.172]}},
            "pixels": {"mean_iou": 0.412, "pixel_accuracy": 0.683,
                       "iou": {name: round(0.25 + 0.06 * i, 3) for i, name in enumerate(CLASSES)},
                       "baselines": {"untrained": {"mean_iou": 0.331, "pixel_accuracy": 0.602},
                                     "band_statistics": {"mean_iou": 0.287, "pixel_accuracy": 0.561}}},
            "dataset": "demo-data/chips/train"}


def few_shot_table(ceiling, speed):
    rows = []
    for shots in (1, 2, 5, 10, 20, 50):
        mean = round(ceiling * (1 - math.exp(-speed * (1 + math.log(shots)))) + 0.02, 4)
        interval = [round(mean - 0.06 / math.sqrt(shots), 4), round(mean + 0.05 / math.sqrt(shots), 4)]
        rows.append({"shots": shots, "logistic": {"mean": mean, "interval": interval}})
    return {"shots": rows}


def confusion_matrix(random):
    size = len(CLASSES)
    images = random.integers(90, 260, size)
    matrix = np.zeros((size, size), dtype=int)
    for truth in range(size):
        distance = np.abs(np.arange(size) - truth)
        weight = np.where(distance == 0, 14.0 + 4 * random.random(), np.exp(-1.1 * distance) * 6)
        if truth in (size - 1, size - 2):  # water and barren land are easy
            weight = np.where(distance == 0, 60.0, np.exp(-2.0 * distance))
        matrix[truth] = random.multinomial(images[truth], weight / weight.sum())
    return matrix


def terrain(random, size):
    """Fractal noise of 0..1."""
    field = np.zeros((size, size))
    for octave in range(2, 6):
        cells = 2 ** octave
        layer = Image.fromarray(random.random((cells, cells)).astype(np.float32))
        field += np.asarray(layer.resize((size, size), Image.BICUBIC)) / 1.7 ** octave
    return (field - field.min()) / (field.max() - field.min())


def chip(random, size=32):
    stops = np.array([0, 0.38, 0.45, 0.55, 0.75, 1.0])
    palettes = [[(8, 26, 58), (18, 62, 96), (196, 178, 130), (70, 104, 52), (44, 74, 38), (120, 104, 84)],
                [(92, 70, 48), (150, 118, 76), (188, 156, 104), (206, 176, 124), (170, 140, 96), (226, 206, 168)],
                [(24, 52, 30), (38, 74, 40), (58, 96, 48), (104, 122, 62), (140, 132, 84), (70, 96, 50)]]
    palette = np.array(palettes[random.integers(len(palettes))], dtype=float)
    height = terrain(random, size)
    return np.stack([np.interp(height, stops, palette[:, band]) for band in range(3)], -1).astype(np.uint8)


def reconstruction_grid(random, rows=3, columns=4, size=32, patch=4, gap=2):
    """Cells of original, masked, reconstruction."""
    cell = 3 * size + 2 * gap
    grid = np.full((rows * (size + 3 * gap) - 3 * gap, columns * (cell + 4 * gap) - 4 * gap, 3), 255, np.uint8)
    for row in range(rows):
        for column in range(columns):
            original = chip(random, size)
            keep = random.permutation((size // patch) ** 2).reshape(size // patch, -1) < (size // patch) ** 2 // 4
            keep = np.kron(keep, np.ones((patch, patch), bool))[..., None]
            blurred = np.asarray(Image.fromarray(original).filter(ImageFilter.GaussianBlur(1.6)))
            y, x = row * (size + 3 * gap), column * (cell + 4 * gap)
            for i, panel in enumerate((original, np.where(keep, original, 128), np.where(keep, original, blurred))):
                grid[y:y + size, x + i * (size + gap):x + i * (size + gap) + size] = panel
    return Image.fromarray(grid)


def main():
    random = np.random.default_rng(20250131)
    run = HERE / "sample_run"
    run.mkdir(exist_ok=True)
    start = 1738324800.0
    steps = list(sample_steps(random, 10, 2400, 20, start, total=2400))
    write_log(run / "log.jsonl", [
        run_record(start, "swath demo", "vit_pico", 192, 6, 3_412_224), *steps[:60],
        {"kind": "checkpoint", "time": steps[59]["time"], "step": 1200, "path": "checkpoints/step_00001200"},
        *steps[60:],
        {"kind": "event", "time": steps[-1]["time"], "message": "2 files were skipped: see skipped.txt"},
        {"kind": "checkpoint", "time": steps[-1]["time"], "step": 2400, "path": "checkpoints/step_00002400"},
        {"kind": "end", "time": steps[-1]["time"] + 2, "steps": 2400, "loss": 0.341, "seconds": 993.2,
         "images_per_second": 618.6, "peak_memory_bytes": 420400000, "skipped_steps": 0,
         "skipped_samples": 2, "reason": "epochs"}])
    (run / "config.toml").write_text(
        '# swath demo\nseed = 0\n\n[model]\nname = "vit_pico"\npatch = 4\nmask_ratio = 0.75\n\n'
        '[train]\nbatch_size = 256\nepochs = 33.0\n\n[optim]\nbase_lr = 0.00015\nweight_decay = 0.05\n',
        encoding="utf-8")
    (run / "probe.json").write_text(json.dumps(probe(random), indent=1) + "\n", encoding="utf-8")
    reconstruction_grid(random).save(run / "reconstruct.png", optimize=True)
    (run / "pictures.json").write_text(json.dumps([
        {"file": "reconstruct.png",
         "caption": "Chips never trained on. Left to right: original, what the encoder saw (25 %), reconstruction."}]) + "\n",
        encoding="utf-8")

    killed = HERE / "sample_killed"
    killed.mkdir(exist_ok=True)
    options = dict(total=2400, speed=540.0, floor=0.37)
    first = run_record(start + 5000, "swath pretrain demo --set model.depth=4", "vit_pico_4", 192, 4, 2_523_648)
    again = {**first, "time": start + 9000}
    write_log(killed / "log.jsonl",
              [first, *sample_steps(random, 10, 900, 30, start + 5000, **options),
               again, *sample_steps(random, 610, 1500, 30, start + 9000, **options)],
              '{"kind": "step", "step": 1530, "lo')
    for path in sorted(HERE.glob("sample_*/*")):
        print(f"{path.relative_to(HERE)}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
