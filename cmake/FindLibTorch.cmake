# Finds LibTorch by its files alone.
#
# The package file that ships with LibTorch calls find_package(CUDA), which stops a build on a
# machine without a CUDA toolkit even for a program that never touches a GPU. This module needs
# include/ and lib/ only, so one rule serves the wheels, a cluster's module and a ROCm build.
#
# Input:   SWATH_TORCH_DIR   directory that holds include/ and lib/
# Targets: LibTorch::cpu     libtorch_cpu + libc10
#          LibTorch::cuda    adds libtorch_cuda + libc10_cuda, for the CUDA plugin only
# Output:  LibTorch_VERSION, LibTorch_HAS_CUDA

find_path(LibTorch_INCLUDE_DIR NAMES torch/csrc/api/include/torch/torch.h
          PATHS "${SWATH_TORCH_DIR}/include" NO_DEFAULT_PATH)
find_library(LibTorch_CPU_LIBRARY NAMES torch_cpu PATHS "${SWATH_TORCH_DIR}/lib" NO_DEFAULT_PATH)
find_library(LibTorch_C10_LIBRARY NAMES c10 PATHS "${SWATH_TORCH_DIR}/lib" NO_DEFAULT_PATH)
find_library(LibTorch_CUDA_LIBRARY NAMES torch_cuda PATHS "${SWATH_TORCH_DIR}/lib" NO_DEFAULT_PATH)
find_library(LibTorch_C10_CUDA_LIBRARY NAMES c10_cuda PATHS "${SWATH_TORCH_DIR}/lib" NO_DEFAULT_PATH)

# Releases too old for us keep their version in the second file: the error names it.
foreach(file torch/headeronly/version.h torch/csrc/api/include/torch/version.h)
  if(LibTorch_INCLUDE_DIR AND NOT LibTorch_VERSION AND EXISTS "${LibTorch_INCLUDE_DIR}/${file}")
    foreach(part MAJOR MINOR PATCH)
      file(STRINGS "${LibTorch_INCLUDE_DIR}/${file}" version_line
           REGEX "#define TORCH_VERSION_${part} ")
      string(REGEX REPLACE "[^0-9]" "" version_${part} "${version_line}")
    endforeach()
    set(LibTorch_VERSION "${version_MAJOR}.${version_MINOR}.${version_PATCH}")
  endif()
endforeach()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(LibTorch
  REQUIRED_VARS LibTorch_INCLUDE_DIR LibTorch_CPU_LIBRARY LibTorch_C10_LIBRARY
  VERSION_VAR LibTorch_VERSION
  REASON_FAILURE_MESSAGE "SWATH_TORCH_DIR is '${SWATH_TORCH_DIR}'. HINT: `./swath build` installs LibTorch and passes its path.")

if(LibTorch_FOUND AND NOT TARGET LibTorch::cpu)
  get_filename_component(library_dir "${LibTorch_CPU_LIBRARY}" DIRECTORY)
  # The wheel's CUDA runtime lies beside torch/; libtorch_cpu needs it even without a GPU.
  file(GLOB runtime_dirs "${library_dir}/../../nvidia/*/lib")

  add_library(LibTorch::cpu INTERFACE IMPORTED)
  set_target_properties(LibTorch::cpu PROPERTIES
    INTERFACE_INCLUDE_DIRECTORIES
      "${LibTorch_INCLUDE_DIR};${LibTorch_INCLUDE_DIR}/torch/csrc/api/include"
    INTERFACE_COMPILE_DEFINITIONS "USE_DISTRIBUTED;USE_C10D_GLOO;USE_RPC"
    INTERFACE_LINK_LIBRARIES "${LibTorch_CPU_LIBRARY};${LibTorch_C10_LIBRARY}")
  set(link_options "")
  foreach(runtime_dir IN LISTS runtime_dirs)
    list(APPEND link_options "LINKER:-rpath-link,${runtime_dir}")
  endforeach()
  set_target_properties(LibTorch::cpu PROPERTIES INTERFACE_LINK_OPTIONS "${link_options}")

  set(LibTorch_HAS_CUDA OFF)
  if(LibTorch_CUDA_LIBRARY AND LibTorch_C10_CUDA_LIBRARY)
    set(LibTorch_HAS_CUDA ON)
    add_library(LibTorch::cuda INTERFACE IMPORTED)
    # libtorch_cuda registers its kernels in static initialisers: --as-needed would drop it.
    # Its own dependencies (cuBLAS, cuDNN ...) need not be there when the plugin is linked.
    set_target_properties(LibTorch::cuda PROPERTIES
      INTERFACE_LINK_LIBRARIES "LibTorch::cpu"
      INTERFACE_LINK_OPTIONS
        "LINKER:--no-as-needed;${LibTorch_CUDA_LIBRARY};${LibTorch_C10_CUDA_LIBRARY};LINKER:--allow-shlib-undefined")
  endif()
endif()
mark_as_advanced(LibTorch_INCLUDE_DIR LibTorch_CPU_LIBRARY LibTorch_C10_LIBRARY
                 LibTorch_CUDA_LIBRARY LibTorch_C10_CUDA_LIBRARY)
