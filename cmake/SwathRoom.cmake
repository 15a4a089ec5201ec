# Rooms are static libraries; every source is named, so a stray file is never built by accident.
#
# swath_room(NAME SOURCES file ... [DEPENDS target ...] [TORCH] [NO_LOOPS])
#   TORCH     the sources use LibTorch and share the precompiled header.
#   NO_LOOPS  the sources call what is fast elsewhere: they are compiled with less optimization, in
#             four fifths of the time.
#
# swath_tests(ROOM SOURCES file_test.cc ... [LONG_SOURCES file_test.cc ...] [DEPENDS ...] [TORCH])
#   One test program per room; ctest gets one entry per file, labelled quick or long.

# Settings for our own code: warnings are errors.
function(swath_own_code target)
  target_compile_features(${target} PUBLIC cxx_std_20)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wpedantic -Wno-unused-parameter -Werror)
  if(CMAKE_CXX_COMPILER_ID STREQUAL GNU AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    # GCC 12 sees overflows in `"text" + std::string` that are not there (GCC bug 105329, 105651).
    target_compile_options(${target} PRIVATE -Wno-restrict -Wno-stringop-overflow -Wno-array-bounds)
  endif()
  target_include_directories(${target} PUBLIC ${PROJECT_SOURCE_DIR}/src)
endfunction()

function(swath_compile_quickly target)
  # GCC takes the precompiled header at any level of optimization.
  if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
    target_compile_options(${target} PRIVATE $<$<CONFIG:Release>:-O1>)
  endif()
endfunction()

function(swath_use_torch target)
  target_link_libraries(${target} PUBLIC LibTorch::cpu)
  if(NOT "${target}" STREQUAL "swath_precompiled")
    target_precompile_headers(${target} REUSE_FROM swath_precompiled)
  endif()
endfunction()

function(swath_room name)
  cmake_parse_arguments(ROOM "TORCH;NO_LOOPS" "" "SOURCES;DEPENDS" ${ARGN})
  add_library(swath_${name} STATIC ${ROOM_SOURCES})
  swath_own_code(swath_${name})
  target_link_libraries(swath_${name} PUBLIC ${ROOM_DEPENDS})
  if(ROOM_TORCH)
    swath_use_torch(swath_${name})
  endif()
  if(ROOM_NO_LOOPS)
    swath_compile_quickly(swath_${name})
  endif()
endfunction()

function(swath_tests room)
  cmake_parse_arguments(TESTS "TORCH" "" "SOURCES;LONG_SOURCES;DEPENDS" ${ARGN})
  if(NOT SWATH_BUILD_TESTS)
    return()
  endif()
  set(program swath_${room}_test)
  add_executable(${program} ${TESTS_SOURCES} ${TESTS_LONG_SOURCES})
  swath_own_code(${program})
  target_link_libraries(${program} PRIVATE swath_${room} ${TESTS_DEPENDS} GTest::gtest_main)
  target_compile_definitions(${program} PRIVATE
    SWATH_TESTDATA="${PROJECT_SOURCE_DIR}/testdata"
    SWATH_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  if(TESTS_TORCH)
    swath_use_torch(${program})
  endif()
  swath_compile_quickly(${program})
  foreach(label quick long)
    if(label STREQUAL quick)
      set(files ${TESTS_SOURCES})
    else()
      set(files ${TESTS_LONG_SOURCES})
    endif()
    foreach(file IN LISTS files)
      # Test suites are named after their file: resample_test.cc holds TEST(Resample, ...) and
      # TEST(ResampleXyz, ...), so that ctest can run one file alone.
      get_filename_component(stem ${file} NAME_WE)
      string(REGEX REPLACE "_test$" "" stem ${stem})
      string(REPLACE "_" ";" words ${stem})
      set(suite "")
      foreach(word IN LISTS words)
        string(SUBSTRING ${word} 0 1 first)
        string(TOUPPER ${first} first)
        string(SUBSTRING ${word} 1 -1 rest)
        string(APPEND suite "${first}${rest}")
      endforeach()
      add_test(NAME ${room}.${stem} COMMAND ${program} "--gtest_filter=${suite}*:*/${suite}*" --gtest_brief=1)
      set_tests_properties(${room}.${stem} PROPERTIES LABELS ${label}
        # Tests share the cores: a thread that spins while it waits for another holds that one up,
        # and seconds become minutes.
        ENVIRONMENT "SWATH_HOME=${PROJECT_SOURCE_DIR};SWATH_PROGRAM=${PROJECT_BINARY_DIR}/bin/swath;OMP_WAIT_POLICY=passive"
        FAIL_REGULAR_EXPRESSION "0 tests from 0 test suites ran")
    endforeach()
  endforeach()
endfunction()
