# Installs BUILD_DIR into a temporary folder and runs the program there, away from the checkout and
# without any of its variables.
#
# cmake -DBUILD_DIR=build/cpu -DPLOTLY=plotly.min.js -DPLUGIN=ON|OFF -DLIBDIR=lib -P InstallTest.cmake
string(RANDOM LENGTH 8 suffix)
set(prefix "${BUILD_DIR}/install_test_${suffix}")

# run(WORD ... EXPECT text): the command succeeds and prints the text.
function(run)
  cmake_parse_arguments(PARSE_ARGV 0 RUN "" "EXPECT" "")
  execute_process(COMMAND ${CMAKE_COMMAND} -E env --unset=SWATH_HOME --unset=LD_LIBRARY_PATH
                          ${RUN_UNPARSED_ARGUMENTS}
                  WORKING_DIRECTORY "${prefix}" RESULT_VARIABLE status
                  OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT status EQUAL 0 OR NOT output MATCHES "${RUN_EXPECT}")
    file(REMOVE_RECURSE "${prefix}")
    string(JOIN " " command ${RUN_UNPARSED_ARGUMENTS})
    message(FATAL_ERROR "${command}: status ${status}, expected '${RUN_EXPECT}' in\n${output}")
  endif()
endfunction()

file(MAKE_DIRECTORY "${prefix}")
run(${CMAKE_COMMAND} --install "${BUILD_DIR}" --prefix "${prefix}" EXPECT "bin/swath")
run(bin/swath --version EXPECT "swath [0-9]")
run(bin/swath recipes EXPECT "mae_vit_base_224")
set(files "")
if(EXISTS "${PLOTLY}")
  list(APPEND files share/swath/plotly.min.js)
endif()
if(PLUGIN)
  list(APPEND files ${LIBDIR}/libswath_cuda.so)
endif()
foreach(file IN LISTS files)
  if(NOT EXISTS "${prefix}/${file}")
    file(REMOVE_RECURSE "${prefix}")
    message(FATAL_ERROR "not installed: ${file}")
  endif()
endforeach()
file(REMOVE_RECURSE "${prefix}")
