# Finds the HDF4 library of either Debian build: libhdf4-alt-dev, whose names end in "alt" (the one
# that goes with GDAL), or libhdf4-dev.
#
# Targets: HDF4::mfhdf
find_path(HDF4_INCLUDE_DIR NAMES hdf/mfhdf.h)
find_library(HDF4_MFHDF_LIBRARY NAMES mfhdfalt mfhdf)
find_library(HDF4_DF_LIBRARY NAMES dfalt df)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(HDF4 REQUIRED_VARS HDF4_MFHDF_LIBRARY HDF4_DF_LIBRARY
                                  HDF4_INCLUDE_DIR)
if(HDF4_FOUND AND NOT TARGET HDF4::mfhdf)
  add_library(HDF4::mfhdf UNKNOWN IMPORTED)
  set_target_properties(HDF4::mfhdf PROPERTIES
    IMPORTED_LOCATION "${HDF4_MFHDF_LIBRARY}"
    INTERFACE_INCLUDE_DIRECTORIES "${HDF4_INCLUDE_DIR}"
    INTERFACE_LINK_LIBRARIES "${HDF4_DF_LIBRARY}")
endif()
mark_as_advanced(HDF4_INCLUDE_DIR HDF4_MFHDF_LIBRARY HDF4_DF_LIBRARY)
