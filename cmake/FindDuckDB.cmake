# DuckDB::duckdb from DuckDB's own CMake package (Homebrew, vcpkg, source installs), else from the official release
# layout: libduckdb.so and duckdb.h side by side under DuckDB_ROOT, or where scripts/setup put them.
include(FindPackageHandleStandardArgs)
find_package(DuckDB CONFIG QUIET)
if(TARGET duckdb AND NOT TARGET DuckDB::duckdb)
  add_library(DuckDB::duckdb INTERFACE IMPORTED)
  target_link_libraries(DuckDB::duckdb INTERFACE duckdb)
  set(DuckDB_FOUND TRUE)
  return()
endif()

# The same place as in scripts/setup.
if(NOT "$ENV{XDG_CACHE_HOME}" STREQUAL "")
  set(caiexport_cache "$ENV{XDG_CACHE_HOME}/caiexport")
else()
  set(caiexport_cache "$ENV{HOME}/.cache/caiexport")
endif()
find_path(DuckDB_INCLUDE_DIR duckdb.h HINTS ${DuckDB_ROOT} ENV DuckDB_ROOT PATHS "${caiexport_cache}/duckdb-1.4.4"
  PATH_SUFFIXES include)
find_library(DuckDB_LIBRARY NAMES duckdb HINTS ${DuckDB_ROOT} ENV DuckDB_ROOT PATHS "${caiexport_cache}/duckdb-1.4.4"
  PATH_SUFFIXES lib)
find_package_handle_standard_args(DuckDB REQUIRED_VARS DuckDB_LIBRARY DuckDB_INCLUDE_DIR
  REASON_FAILURE_MESSAGE "run scripts/setup, or set DuckDB_ROOT to a folder that holds libduckdb.so and duckdb.h")
if(DuckDB_FOUND AND NOT TARGET DuckDB::duckdb)
  add_library(DuckDB::duckdb SHARED IMPORTED)
  set_target_properties(DuckDB::duckdb PROPERTIES IMPORTED_LOCATION "${DuckDB_LIBRARY}"
    INTERFACE_INCLUDE_DIRECTORIES "${DuckDB_INCLUDE_DIR}")
endif()
mark_as_advanced(DuckDB_INCLUDE_DIR DuckDB_LIBRARY)
