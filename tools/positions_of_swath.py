#!/usr/bin/env python3
"""Writes the positions of a real swath for `swath data synthesize --positions`.

usage: positions_of_swath.py SWATH.nc[.bz2] POSITIONS.npy

SWATH is a classic NetCDF file (version 1) with float variables `lat` and `lon` of rows and columns,
such as the GHRSST L2P files of MODIS; POSITIONS gets float32 of (rows, columns, 2): latitude and
longitude in degrees.
"""
import array
import bz2
import struct
import sys

TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 4, 6: 8}
FLOAT = 5


class Header:
    """The variables of a classic NetCDF file: name -> (shape, type, first byte)."""

    def __init__(self, data):
        if data[:4] != b"CDF\x01":
            sys.exit("the swath is no classic NetCDF file of version 1")
        self.data, self.place = data, 4
        self.number()  # records
        self.number()
        dimensions = [(self.name(), self.number())[1] for _ in range(self.number())]
        self.skip_attributes()
        self.number()
        self.variables = {}
        for _ in range(self.number()):
            name = self.name()
            shape = [dimensions[self.number()] for _ in range(self.number())]
            self.skip_attributes()
            kind = self.number()
            self.number()  # bytes
            self.variables[name] = (shape, kind, self.number())

    def number(self):
        self.place += 4
        return struct.unpack(">i", self.data[self.place - 4:self.place])[0]

    def name(self):
        length = self.number()
        text = self.data[self.place:self.place + length].decode()
        self.place += (length + 3) // 4 * 4
        return text

    def skip_attributes(self):
        self.number()
        for _ in range(self.number()):
            self.name()
            kind, count = self.number(), self.number()
            self.place += (count * TYPE_BYTES[kind] + 3) // 4 * 4


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    opener = bz2.open if sys.argv[1].endswith(".bz2") else open
    with opener(sys.argv[1], "rb") as file:
        data = file.read()
    header = Header(data)
    shape, both = None, []
    for name in ("lat", "lon"):
        if name not in header.variables:
            sys.exit(f"{sys.argv[1]}: has no variable `{name}`")
        shape, kind, begin = header.variables[name]
        if kind != FLOAT or len(shape) != 2:
            sys.exit(f"{sys.argv[1]}: `{name}` is not float of rows and columns")
        values = array.array("f")
        values.frombytes(data[begin:begin + 4 * shape[0] * shape[1]])
        if sys.byteorder == "little":
            values.byteswap()
        both.append(values)
    pairs = array.array("f", bytes(8 * shape[0] * shape[1]))
    pairs[0::2], pairs[1::2] = both
    if sys.byteorder == "big":
        pairs.byteswap()
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({shape[0]}, {shape[1]}, 2), }}"
    text += " " * (63 - (10 + len(text)) % 64) + "\n"
    with open(sys.argv[2], "wb") as file:
        file.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode())
        pairs.tofile(file)


main()
