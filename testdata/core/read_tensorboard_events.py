#!/usr/bin/env python3
"""Prints what TensorBoard reads in a run directory, for tensorboard_peer_test.cc:

    .deps/peer/bin/python testdata/core/read_tensorboard_events.py DIRECTORY

One JSON object: {"scalars": {tag: [[step, wall_time, value], ...]}, "texts": {tag: text},
"images": {tag: [width, height, SHA-256 of the PNG]}}; values that JSON lacks are null.
"""
import hashlib
import json
import math
import sys

from tensorboard.backend.event_processing import event_accumulator


def main():
    accumulator = event_accumulator.EventAccumulator(sys.argv[1], purge_orphaned_data=True)
    accumulator.Reload()
    tags = accumulator.Tags()
    scalars, texts, images = {}, {}, {}
    for tag in tags["scalars"]:
        scalars[tag] = [[e.step, e.wall_time, e.value if math.isfinite(e.value) else None]
                        for e in accumulator.Scalars(tag)]
    for tag in tags["tensors"]:
        texts[tag] = accumulator.Tensors(tag)[-1].tensor_proto.string_val[0].decode()
    for tag in tags["images"]:
        image = accumulator.Images(tag)[-1]
        digest = hashlib.sha256(image.encoded_image_string).hexdigest()
        images[tag] = [image.width, image.height, digest]
    print(json.dumps({"scalars": scalars, "texts": texts, "images": images}))


if __name__ == "__main__":
    main()
