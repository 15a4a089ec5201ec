#!/usr/bin/env python3
"""Checks the rule by which Pillow 13 chooses the first pass of Image.resize.

    .deps/peer/bin/python testdata/data/find_pillow_pass_order.py

Resizes noise of random sizes in one call and in two (columns then rows, rows then columns), sees
which of the two the one call equals, and compares with the rule. Exits 1 on a disagreement.
"""
import sys

import numpy
from PIL import Image

FILTER = Image.Resampling.BICUBIC


def rows_come_first(width, height, new_width, new_height):
    return new_height < height and height - new_height > 2 * (width - new_width)


def main():
    random = numpy.random.default_rng(5)
    agree = differ = undecided = 0
    for _ in range(3000):
        width, height, new_width, new_height = (int(size) for size in random.integers(2, 70, 4))
        if random.random() < 0.5:  # near the border of the rule
            new_width = max(1, width - (height - new_height) // 2 + int(random.integers(-2, 3)))
        image = Image.fromarray(random.integers(0, 256, (height, width), dtype=numpy.uint8))
        once = image.resize((new_width, new_height), FILTER).tobytes()
        columns = image.resize((new_width, height), FILTER).resize((new_width, new_height), FILTER)
        rows = image.resize((width, new_height), FILTER).resize((new_width, new_height), FILTER)
        if columns.tobytes() == rows.tobytes():
            undecided += 1
            continue
        expected = rows if rows_come_first(width, height, new_width, new_height) else columns
        if once == expected.tobytes():
            agree += 1
        else:
            differ += 1
            print(f"{width} x {height} to {new_width} x {new_height} disagrees")
    print(f"{agree} agree, {differ} disagree, {undecided} tell nothing")
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
