# XlsxWriter::xlsxwriter from libxlsxwriter, which brings no CMake package of its own in Debian (libxlsxwriter-dev).
include(FindPackageHandleStandardArgs)
find_path(XlsxWriter_INCLUDE_DIR xlsxwriter.h)
find_library(XlsxWriter_LIBRARY NAMES xlsxwriter)
find_package_handle_standard_args(XlsxWriter REQUIRED_VARS XlsxWriter_LIBRARY XlsxWriter_INCLUDE_DIR
  REASON_FAILURE_MESSAGE "run scripts/setup, or install libxlsxwriter with its headers")
if(XlsxWriter_FOUND AND NOT TARGET XlsxWriter::xlsxwriter)
  add_library(XlsxWriter::xlsxwriter SHARED IMPORTED)
  set_target_properties(XlsxWriter::xlsxwriter PROPERTIES IMPORTED_LOCATION "${XlsxWriter_LIBRARY}"
    INTERFACE_INCLUDE_DIRECTORIES "${XlsxWriter_INCLUDE_DIR}")
endif()
mark_as_advanced(XlsxWriter_INCLUDE_DIR XlsxWriter_LIBRARY)
