// One thread at a time in the HDF4 library.
#pragma once

#include <mutex>

namespace swath::data::modis {

std::mutex& hdf4_mutex();

}  // namespace swath::data::modis
