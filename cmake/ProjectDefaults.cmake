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
if(CAIEXPORT_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER "${CAIEXPORT_CCACHE}")
endif()

option(CAIEXPORT_WERROR "Treat warnings as errors" ${PROJECT_IS_TOP_LEVEL})
set(CAIEXPORT_SANITIZE "" CACHE STRING "Sanitizers, e.g. address,undefined or thread")

option(CAIEXPORT_FUZZ "Build only the fuzz programs and what they need (clang)" OFF)

add_library(caiexport_warnings INTERFACE)
add_library(caiexport::project_warnings ALIAS caiexport_warnings)
target_compile_options(caiexport_warnings INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion
  -Wnon-virtual-dtor -Woverloaded-virtual -Wcast-qual -Wformat=2)
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
