# What holds for every target of the project: language level, warnings, sanitizers, a build type, a compiler cache.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
# Floors end up in a loadable module too (reader), so all of them are position independent.
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE RelWithDebInfo CACHE STRING "Build type" FORCE)
endif()

find_program(CAIEXPORT_CCACHE ccache)
# A precompiled header saves a quarter of the processor time where everything is compiled. A compiler cache saves more,
# and shares what it has between trees only without one.
set(pch_pays ON)
if(CAIEXPORT_CCACHE OR CMAKE_CXX_COMPILER_LAUNCHER)
  set(pch_pays OFF)
endif()
option(CAIEXPORT_PCH "Precompile the headers that nearly every source includes" ${pch_pays})
if(CAIEXPORT_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER "${CAIEXPORT_CCACHE}")
  if(CAIEXPORT_PCH)
    # ccache's manual: without this it refuses what is compiled with a precompiled header.
    set(CMAKE_CXX_COMPILER_LAUNCHER env CCACHE_SLOPPINESS=pch_defines,time_macros "${CAIEXPORT_CCACHE}")
  endif()
endif()

# For those who work on the project: scripts/build and continuous integration turn it on. Another compiler's new warning
# must not keep anybody from building.
option(CAIEXPORT_WERROR "Treat warnings as errors" OFF)
set(CAIEXPORT_SANITIZE "" CACHE STRING "Sanitizers, e.g. address,undefined or thread")

option(CAIEXPORT_FUZZ "Build only the fuzz programs and what they need (clang)" OFF)

add_library(caiexport_warnings INTERFACE)
add_library(caiexport::project_warnings ALIAS caiexport_warnings)
target_compile_options(caiexport_warnings INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion
  -Wnon-virtual-dtor -Woverloaded-virtual -Wcast-qual -Wformat=2)
# g++ 12 takes std::string's own copying for overlapping when it optimises (GCC bug 105651). With -Os it believes that the
# constructor of std::stop_source reads itself, which it only passes on.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  target_compile_options(caiexport_warnings INTERFACE $<$<NOT:$<CONFIG:Debug>>:-Wno-restrict>
    $<$<CONFIG:MinSizeRel>:-Wno-maybe-uninitialized>)
  if(CAIEXPORT_PCH)
    # Behind a precompiled header it loses track of where code of the library comes from.
    target_compile_options(caiexport_warnings INTERFACE -Wno-array-bounds -Wno-stringop-overflow -Wno-stringop-overread
      -Wno-maybe-uninitialized)
  endif()
endif()
if(CAIEXPORT_WERROR)
  target_compile_options(caiexport_warnings INTERFACE -Werror)
endif()
if(CAIEXPORT_SANITIZE)
  add_compile_options(-fsanitize=${CAIEXPORT_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${CAIEXPORT_SANITIZE})
endif()
if(CAIEXPORT_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
