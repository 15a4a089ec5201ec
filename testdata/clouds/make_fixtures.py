#!/usr/bin/env python3
"""Writes label files in the layout of AICCA's production code with netCDF4-python, so that our reader
is checked against files that our writer did not make. Needs netCDF4 (1.7) and numpy.

    python3 testdata/clouds/make_fixtures.py

The values are made up; the layout is that of AICCA's files: classes in `labels_nc-42`, a `labels`
that was created and never set, pixels in `coords`, properties below /statistics, a 1-degree grid.
"""
from pathlib import Path

import numpy as np
from netCDF4 import Dataset

HERE = Path(__file__).resolve().parent
PRODUCT = "MYD021KM.A2012123.1320.061.2018046032403"


def write(name, product=PRODUCT, without=(), label_type="i4"):
    patches = 3
    with Dataset(HERE / name, "w", format="NETCDF4") as file:
        file.hdfname = product + ".hdf"
        file.instrument = "MODIS"
        file.expname = "made-up values"
        file.layer_name = "leaky_re_lu_23"
        for dimension, size in [("npatches", patches), ("patchsize", 128), ("channels", 6),
                                ("coordinate", 2), ("latlon", 2), ("Latitude", 181),
                                ("Longitude", 360)]:
            file.createDimension(dimension, size)
        file.createVariable("labels", "i4", ("npatches",))
        if "labels_nc-42" not in without:
            file.createVariable("labels_nc-42", label_type, ("npatches",))[:] = [7, 0, 41]
        if "coords" not in without:
            file.createVariable("coords", "f4", ("npatches", "coordinate"))[:] = [
                [0, 128], [256, 0], [1792, 1152]]
        grid = file.createVariable("nc-42-label_1deg_aggregation", "f4", ("Latitude", "Longitude"),
                                   zlib=True)
        grid[:] = 9
        mean = file.createGroup("/statistics/mean")
        values = mean.createVariable("Cloud_Optical_Thickness", "f4", ("npatches",))
        values[:] = np.ma.masked_invalid([12.5, np.nan, 3.25])
        deviation = file.createGroup("/statistics/std")
        deviation.createVariable("Cloud_Optical_Thickness", "f8", ("npatches",))[:] = [1, 2, 3]
        category = file.createGroup("/statistics/category")
        ice = category.createVariable("ice", "i4", ("npatches",))
        ice[0], ice[2] = 100, 16384  # that of the second was never set
        water = category.createVariable("water", "i4", ("npatches",), fill_value=-999)
        water[:] = [16384, -999, 0]


write(f"CMPST_{PRODUCT}.nc")
write("no_labels.nc", without=["labels_nc-42"])
write("no_coords.nc", without=["coords"])
write("wrong_granule_MYD021KM.A2012123.1325.nc")  # hdfname is of 13:20
write("float_labels.nc", label_type="f4")
