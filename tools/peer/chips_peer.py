#!/usr/bin/env python3
"""The Python peers of `swath bench chips`: a granule to calibrated chips with satpy, or with pyhdf.

    .deps/peer-modis/bin/python tools/peer/chips_peer.py pyhdf FILE --size 128 --bands 6 7 20 28 29 31

Reads lines from stdin. `check PATH` writes the accepted chips as float32 (chip, band, row, column) to
PATH; `run` does the same work without writing. Both answer with one line of JSON: {"chips",
"seconds", "versions"}. The file is opened anew each time, by one thread. Chips do not overlap, begin
at the first pixel, and are dropped where any band lacks a value.
"""
import argparse
import json
import os
import sys
import time

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import numpy as np

ARRAYS = ("EV_250_Aggr1km_RefSB", "EV_500_Aggr1km_RefSB", "EV_1KM_RefSB", "EV_1KM_Emissive")
LARGEST_COUNT = 32767


def with_pyhdf(path, bands):
    """The bands as float32 radiances, NaN where there is none: whole slabs, then NumPy."""
    from pyhdf.SD import SD, SDC
    file = SD(path, SDC.READ)
    planes = {}
    for name in ARRAYS:
        array = file.select(name)
        attributes = array.attributes()
        names = [band.strip() for band in attributes["band_names"].split(",")]
        wanted = [band for band in bands if band in names]
        if wanted:
            slab = array.get()
            for band in wanted:
                index = names.index(band)
                scale = np.float32(attributes["radiance_scales"][index])
                offset = np.float32(attributes["radiance_offsets"][index])
                counts = slab[index]
                radiance = (counts.astype(np.float32) - offset) * scale
                radiance[counts > LARGEST_COUNT] = np.nan
                planes[band] = radiance
        array.endaccess()
    file.end()
    return [planes[band] for band in bands]


def with_satpy(path, bands):
    """The same from satpy's reader for this product."""
    import dask
    from satpy import Scene
    with dask.config.set(scheduler="single-threaded"):
        scene = Scene(reader="modis_l1b", filenames=[path])
        scene.load(bands, calibration="radiance", resolution=1000)
        computed = dask.compute(*[scene[band].data for band in bands])
    return [np.asarray(band, dtype=np.float32) for band in computed]


def chips_of(planes, size):
    rows, columns = (length // size for length in planes[0].shape)
    stack = np.stack([plane[:rows * size, :columns * size] for plane in planes])
    chips = stack.reshape(len(planes), rows, size, columns, size).transpose(1, 3, 0, 2, 4)
    chips = chips.reshape(rows * columns, len(planes), size, size)
    return chips[np.isfinite(chips).all(axis=(1, 2, 3))]


def versions(method):
    import importlib.metadata
    names = ["numpy", "pyhdf"] + (["satpy", "dask"] if method == "satpy" else [])
    return {name: importlib.metadata.version(name) for name in names}


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("method", choices=("satpy", "pyhdf"))
    parser.add_argument("file")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--bands", nargs="+", required=True)
    options = parser.parse_args()
    read = with_satpy if options.method == "satpy" else with_pyhdf
    for line in sys.stdin:
        words = line.split()
        if not words or words[0] == "quit":
            break
        started = time.perf_counter()
        chips = chips_of(read(options.file, options.bands), options.size)
        seconds = time.perf_counter() - started
        if words[0] == "check":
            np.ascontiguousarray(chips, dtype=np.float32).tofile(words[1])
        print(json.dumps({"chips": len(chips), "seconds": seconds,
                          "versions": versions(options.method)}), flush=True)


if __name__ == "__main__":
    main()
