# Run by cpack on what goes into a package.

# CPACK_STRIP_FILES is for what was linked here.
file(GLOB_RECURSE libraries "${CPACK_TEMPORARY_DIRECTORY}/*/libduckdb.so")
if(libraries)
  execute_process(COMMAND strip --strip-unneeded ${libraries} COMMAND_ERROR_IS_FATAL ANY)
endif()

# The rest makes of it what Debian's policy asks for.
if(NOT CPACK_GENERATOR STREQUAL DEB)
  return()
endif()
set(share "${CPACK_TEMPORARY_DIRECTORY}/usr/share")

# Debian's zsh does not look into /usr/share/zsh/site-functions.
file(RENAME "${share}/zsh/site-functions" "${share}/zsh/vendor-completions")

# -n: no times, so that the same build makes the same package.
file(GLOB pages "${share}/man/man1/*.1")
execute_process(COMMAND gzip -9nf ${pages} COMMAND_ERROR_IS_FATAL ANY)

file(REMOVE "${share}/doc/caiexport/LICENSE")
file(READ "${share}/doc/caiexport/LICENSE.duckdb" duckdb)
string(REGEX REPLACE "\n\n" "\n.\n" duckdb "${duckdb}")
string(REGEX REPLACE "\n([^\n])" "\n \\1" duckdb " ${duckdb}")
file(REMOVE "${share}/doc/caiexport/LICENSE.duckdb")
file(WRITE "${share}/doc/caiexport/copyright"
"Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: caiexport

Files: *
Copyright: the caiexport project
License: Apache-2.0
 On Debian systems the full text is in /usr/share/common-licenses/Apache-2.0.

Files: usr/lib/caiexport/libduckdb.so
Copyright: Stichting DuckDB Foundation
License: Expat
${duckdb}")
