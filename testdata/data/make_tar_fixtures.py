#!/usr/bin/env python3
"""Writes testdata/data/tar: WebDataset archives as other tools write them (Python's tarfile in its
three formats), with names too long for a plain header.

    python3 testdata/data/make_tar_fixtures.py
"""
import io
import json
import tarfile
from pathlib import Path

FOLDER = Path(__file__).parent / "tar"
LONG = "a_folder_with_a_name_of_fifty_characters_more_or_less_" * 3 + "end"


def npy(value):
    """A 2 x 2 x 3 uint8 array filled with `value`."""
    text = "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 2, 3), }"
    text += " " * ((64 - (10 + len(text) + 1) % 64) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + bytes([value]) * 12


def add(archive, name, contents):
    member = tarfile.TarInfo(name)
    member.size = len(contents)
    archive.addfile(member, io.BytesIO(contents))


FOLDER.mkdir(exist_ok=True)
for label, tar_format in {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT,
                          "pax": tarfile.PAX_FORMAT}.items():
    with tarfile.open(FOLDER / f"{label}.tar", "w", format=tar_format) as archive:
        add(archive, "./chips/0001.npy", npy(1))
        add(archive, "./chips/0001.cls", b"1\n")
        # A path of some 160 characters: prefix field, LongLink or pax record.
        add(archive, f"{LONG[:100]}/0002.npy", npy(2))
        add(archive, f"{LONG[:100]}/0002.cls", b"0")
        folder = tarfile.TarInfo("chips")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        add(archive, "chips/0003.npy", npy(3))
        add(archive, "chips/0003.json",
            json.dumps({"label": 1, "class": "river", "longitude": 7.5, "latitude": -2.25}).encode())
