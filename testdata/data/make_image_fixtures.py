#!/usr/bin/env python3
"""Makes the fixtures of the image tests: what Pillow and torchvision say, small TIFF and .npy files.

    .deps/peer/bin/python testdata/data/make_image_fixtures.py

Writes beside itself:
  image_pixels.json          size and SHA-256 of the RGB pixels of ucm/*.jpg as Pillow decodes them
  resample.safetensors       inputs and Pillow's Image.resize of them
  transform.safetensors      torchvision's transforms of ucm/*.jpg
  tiff/*.tif, npy/*.npy      files of a few hundred bytes; their pixels follow pattern()
"""
import hashlib
import json
import struct
from pathlib import Path

import numpy
import PIL
import torch
import torchvision
from PIL import Image
from safetensors.numpy import save_file
from torchvision.transforms import functional

HERE = Path(__file__).resolve().parent
VERSIONS = {"pillow": PIL.__version__, "numpy": numpy.__version__,
            "torchvision": torchvision.__version__.split("+")[0]}
FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)


def jpeg_files():
    return sorted((HERE / "ucm").glob("*.jpg"))


def pattern(height, width, bands):
    """The test's pattern: every value tells its place."""
    row, column, band = numpy.meshgrid(numpy.arange(height), numpy.arange(width),
                                       numpy.arange(bands), indexing="ij")
    return row * 31 + column * 7 + band * 3


def image_pixels():
    found = {"versions": VERSIONS}
    for path in jpeg_files():
        image = Image.open(path).convert("RGB")
        found[path.name] = {"width": image.width, "height": image.height,
                            "sha256": hashlib.sha256(image.tobytes()).hexdigest()}
    (HERE / "image_pixels.json").write_text(json.dumps(found, indent=2) + "\n")


def resized(pixels, size, kind, box=None):
    """Every band on its own, in the mode that fits its type."""
    bands = []
    for band in range(pixels.shape[2]):
        plane = numpy.ascontiguousarray(pixels[:, :, band])
        if plane.dtype != numpy.uint8:
            plane = plane.astype(numpy.float32)
        bands.append(numpy.asarray(Image.fromarray(plane).resize(size, FILTERS[kind], box)))
    return numpy.ascontiguousarray(numpy.stack(bands, axis=2))


def resample():
    random = numpy.random.default_rng(20260701)
    inputs = {
        "rgb": random.integers(0, 256, (29, 37, 3), dtype=numpy.uint8),
        "gray": random.integers(0, 256, (31, 22, 1), dtype=numpy.uint8),
        "five": random.integers(0, 256, (17, 19, 5), dtype=numpy.uint8),
        # Edges of full contrast: the overshoot must be clipped between the passes as well.
        "steps": (random.integers(0, 2, (40, 33, 3)) * 255).astype(numpy.uint8),
        "thirteen": random.normal(0, 300, (21, 18, 13)).astype(numpy.float32),
        "single": random.normal(5, 2, (27, 20, 1)).astype(numpy.float32),
        "reflectance": random.integers(0, 12000, (16, 24, 4)).astype(numpy.uint16),
        "signed": random.integers(-3000, 3000, (15, 11, 2)).astype(numpy.int16),
    }
    sizes = [(64, 50), (16, 12), (13, 31), (7, 5), (1, 1), (37, 29), (90, 3)]
    tensors = {f"in.{name}": pixels for name, pixels in inputs.items()}
    for name, pixels in inputs.items():
        for size in sizes if name in ("rgb", "steps") else sizes[:4]:
            for kind in FILTERS if name in ("rgb", "single") else ["bicubic"]:
                tensors[f"{kind}.{size[0]}x{size[1]}.{name}"] = resized(pixels, size, kind)
    tensors["box.20x14.rgb"] = resized(inputs["rgb"], (20, 14), "bicubic", (3.25, 2.5, 30.75, 20.125))
    tensors["box.20x14.single"] = resized(inputs["single"], (20, 14), "bicubic",
                                          (3.25, 2.5, 18.75, 20.125))
    save_file(tensors, HERE / "resample.safetensors", {"made_with": json.dumps(VERSIONS)})


def transform():
    def normalized(image):
        tensor = functional.to_tensor(image)
        return functional.normalize(tensor, MEAN, DEVIATION).numpy()

    bicubic = torchvision.transforms.InterpolationMode.BICUBIC
    tensors = {}
    for path in jpeg_files():
        image = Image.open(path).convert("RGB")
        for size in (21, 28):
            short = int(size / 0.875)
            tensors[f"center.{size}.{path.stem}"] = normalized(functional.center_crop(
                functional.resize(image, short, bicubic), [size, size]))
        for left, top, width, height in ((0, 0, image.width, image.height), (31, 17, 150, 120),
                                         (200, 100, 25, 33), (5, 60, 90, 96)):
            crop = functional.resized_crop(image, top, left, height, width, [24, 24], bicubic)
            key = f"crop.{left}.{top}.{width}.{height}.{path.stem}"
            tensors[key] = normalized(crop)
            tensors["flip." + key] = normalized(functional.hflip(crop))
    save_file(tensors, HERE / "transform.safetensors", {"made_with": json.dumps(VERSIONS)})


def write_tiff(path, pixels, geographic=False):
    """A little-endian, uncompressed TIFF in one strip, bands interleaved."""
    height, width, bands = pixels.shape
    kind = {"u": 1, "i": 2, "f": 3}[pixels.dtype.kind]
    bits = pixels.dtype.itemsize * 8
    data = pixels.tobytes()
    entries = [  # tag, type (3 short, 4 long, 12 double), values
        (256, 4, [width]), (257, 4, [height]), (258, 3, [bits] * bands), (259, 3, [1]),
        (262, 3, [2 if bands == 3 else 1]), (273, 4, [8]), (277, 3, [bands]), (278, 4, [height]),
        (279, 4, [len(data)]), (284, 3, [1])]
    if bands > 1 and bands != 3:
        entries.append((338, 3, [0] * (bands - 1)))
    entries.append((339, 3, [kind] * bands))
    if geographic:
        entries += [(33550, 12, [0.25, 0.5, 0.0]), (33922, 12, [0, 0, 0, 10.0, 50.0, 0]),
                    (34735, 3, [1, 1, 0, 3, 1024, 0, 1, 2, 1025, 0, 1, 1, 2048, 0, 1, 4326])]
    letter = {3: "H", 4: "I", 12: "d"}
    directory = 8 + len(data) + len(data) % 2
    extra_at = directory + 2 + 12 * len(entries) + 4
    table, extra = b"", b""
    for tag, type_, values in entries:
        packed = struct.pack(f"<{len(values)}{letter[type_]}", *values)
        if len(packed) > 4:
            field = struct.pack("<I", extra_at + len(extra))
            extra += packed + b"\0" * (len(packed) % 2)
        else:
            field = packed.ljust(4, b"\0")
        table += struct.pack("<HHI", tag, type_, len(values)) + field
    path.write_bytes(b"II*\0" + struct.pack("<I", directory) + data + b"\0" * (len(data) % 2) +
                     struct.pack("<H", len(entries)) + table + b"\0" * 4 + extra)


def tiff():
    folder = HERE / "tiff"
    folder.mkdir(exist_ok=True)
    write_tiff(folder / "rgb_uint8.tif", pattern(9, 11, 3).astype(numpy.uint8))
    write_tiff(folder / "thirteen_uint16.tif", pattern(6, 5, 13).astype(numpy.uint16), True)
    write_tiff(folder / "two_int16.tif", (-pattern(4, 7, 2)).astype(numpy.int16))
    write_tiff(folder / "one_float32.tif", (pattern(5, 6, 1) * 0.5).astype(numpy.float32))


def npy():
    folder = HERE / "npy"
    folder.mkdir(exist_ok=True)

    def save(name, array, version=None):
        with open(folder / name, "wb") as file:
            numpy.lib.format.write_array(file, array, version)

    save("last_uint8.npy", pattern(5, 7, 3).astype(numpy.uint8))
    save("last_uint16_v2.npy", pattern(6, 6, 12).astype("<u2"), (2, 0))
    save("first_int16.npy", numpy.ascontiguousarray(
        (-pattern(8, 8, 4)).transpose(2, 0, 1)).astype("<i2"))
    save("plane_double_v3.npy", (pattern(4, 9, 1)[:, :, 0] * 0.25).astype("<f8"), (3, 0))
    save("last_float32.npy", (pattern(3, 4, 2) * 0.5).astype("<f4"))
    save("fortran.npy", numpy.asfortranarray(pattern(4, 3, 2).astype("<f4")))
    save("big_endian.npy", pattern(4, 3, 2).astype(">u2"))
    save("int64.npy", pattern(4, 3, 2))
    save("four_dimensions.npy", numpy.zeros((2, 2, 2, 2), numpy.uint8))


def main():
    torch.set_num_threads(1)
    image_pixels()
    resample()
    transform()
    tiff()
    npy()
    for path in HERE.glob("*.safetensors"):
        path.chmod(0o644)


if __name__ == "__main__":
    main()
