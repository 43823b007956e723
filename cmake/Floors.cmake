# caiexport_add_floor(NAME DEPENDS ...): one static library per floor, from src/NAME/*.cpp, with its public headers in
# include/caiexport/NAME. Private headers lie beside the sources. A floor may have rooms, folders of their own: ROOMS.
function(caiexport_add_floor name)
  cmake_parse_arguments(FLOOR "" "" "DEPENDS;ROOMS" ${ARGN})
  set(patterns "${PROJECT_SOURCE_DIR}/src/${name}/*.cpp")
  foreach(room IN LISTS FLOOR_ROOMS)
    list(APPEND patterns "${PROJECT_SOURCE_DIR}/src/${name}/${room}/*.cpp")
  endforeach()
  file(GLOB sources CONFIGURE_DEPENDS ${patterns})
  add_library(caiexport_${name} STATIC ${sources})
  add_library(caiexport::${name} ALIAS caiexport_${name})
  target_include_directories(caiexport_${name} PUBLIC "${PROJECT_SOURCE_DIR}/include"
                                               PRIVATE "${PROJECT_SOURCE_DIR}/src/${name}")
  target_link_libraries(caiexport_${name} ${FLOOR_DEPENDS} PRIVATE caiexport::project_warnings)
  caiexport_precompile(caiexport_${name})
endfunction()

# What most sources include, and the further headers that are named, precompiled for the target.
function(caiexport_precompile target)
  if(CAIEXPORT_PCH)
    target_precompile_headers(${target} PRIVATE <algorithm> <chrono> <filesystem> <functional> <map> <memory> <mutex>
      <optional> <span> <stop_token> <string> <string_view> <thread> <utility> <vector> ${ARGN})
  endif()
endfunction()

# caiexport_add_tests(NAME [LIBRARIES ...]): tests/NAME/*_test.cpp as one GoogleTest program, one ctest entry a test.
function(caiexport_add_tests name)
  cmake_parse_arguments(SUITE "" "TIMEOUT" "LIBRARIES" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/tests/${name}/*_test.cpp")
  if(NOT sources)
    message(FATAL_ERROR "tests/${name} holds no *_test.cpp")
  endif()
  if(NOT SUITE_TIMEOUT)
    set(SUITE_TIMEOUT 120)
  endif()
  add_executable(${name}_tests ${sources})
  target_include_directories(${name}_tests PRIVATE "${PROJECT_SOURCE_DIR}/tests" "${PROJECT_SOURCE_DIR}/src")
  # Tests are compiled more often than they run; the code under test keeps the build's own options.
  target_compile_options(${name}_tests PRIVATE -O0 -g1)
  target_link_libraries(${name}_tests PRIVATE ${SUITE_LIBRARIES} caiexport::project_warnings GTest::gmock_main)
  caiexport_precompile(${name}_tests <gmock/gmock.h> <gtest/gtest.h>)
  set_target_properties(${name}_tests PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/tests")
  gtest_discover_tests(${name}_tests TEST_PREFIX "${name}." DISCOVERY_TIMEOUT 60 PROPERTIES TIMEOUT ${SUITE_TIMEOUT})
endfunction()
