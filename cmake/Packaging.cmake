# cpack: caiexport_VERSION_ARCH.deb and a .tar.gz whose folder can be put anywhere. scripts/package runs it.
set(CPACK_GENERATOR DEB TGZ)
set(CPACK_VERBATIM_VARIABLES ON)
set(CPACK_PACKAGE_NAME caiexport)
set(CPACK_PACKAGE_CONTACT "The caiexport project <caiexport@example.org>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "Export Customer AI scores from Adobe Experience Platform")
set(CPACK_PACKAGE_DESCRIPTION "Downloads the newest batch of a score dataset, or the members of a
segment, whole and verified. Every job is recorded before, during and
after, so that a run that was killed goes on where it stopped.

With a simulator of the platform, to try and test it without an account.")
set(CPACK_RESOURCE_FILE_LICENSE "${PROJECT_SOURCE_DIR}/LICENSE")
set(CPACK_STRIP_FILES ON)
set(CPACK_PACKAGE_CHECKSUM SHA256)
set(CPACK_PACKAGE_FILE_NAME "caiexport-${PROJECT_VERSION}-${CMAKE_SYSTEM_NAME}-${CMAKE_SYSTEM_PROCESSOR}")

set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION utils)
set(CPACK_DEBIAN_COMPRESSION_TYPE xz)
# Poco, OpenSSL, SQLite and the rest as the linker found them; DuckDB is in the package.
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
get_target_property(duckdb_library DuckDB::duckdb IMPORTED_LOCATION)
if(duckdb_library)
  get_filename_component(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS "${duckdb_library}" DIRECTORY)
endif()
# Without it no server of the platform is trusted.
set(CPACK_DEBIAN_PACKAGE_DEPENDS ca-certificates)
# Opened where the record is on a PostgreSQL server (src/store/libpq.h).
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS libpq5)
# Whatever the umask.
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE
  WORLD_READ WORLD_EXECUTE)
set(CPACK_PRE_BUILD_SCRIPTS "${PROJECT_SOURCE_DIR}/cmake/PackageTree.cmake")
include(CPack)
