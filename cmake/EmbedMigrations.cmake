# caiexport_embed_migrations(TARGET DIR): the scripts DIR/0001_name.sql, DIR/0002_name.sql, ... become part of TARGET.
# As a script (cmake -DMIGRATIONS=DIR -DOUTPUT=FILE -P EmbedMigrations.cmake) it writes the .cpp. A gap, a number given
# twice or a name out of the pattern is an error: a database would otherwise skip that step for good.

function(caiexport_embed_migrations target directory)
  set(script "${CMAKE_CURRENT_FUNCTION_LIST_FILE}")
  set(output "${CMAKE_CURRENT_BINARY_DIR}/${target}_migrations.cpp")
  file(GLOB scripts CONFIGURE_DEPENDS "${directory}/*.sql")
  add_custom_command(OUTPUT "${output}"
    COMMAND "${CMAKE_COMMAND}" "-DMIGRATIONS=${directory}" "-DOUTPUT=${output}" -P "${script}"
    DEPENDS ${scripts} "${script}"
    COMMENT "Embedding migrations"
    VERBATIM)
  target_sources(${target} PRIVATE "${output}")
endfunction()

function(caiexport_write_migrations directory output)
  file(GLOB scripts RELATIVE "${directory}" "${directory}/*.sql")
  list(SORT scripts)
  if(NOT scripts)
    message(FATAL_ERROR "no migration in ${directory}")
  endif()
  set(rows "")
  set(expected 1)
  set(previous "none")
  foreach(script IN LISTS scripts)
    if(NOT script MATCHES "^([0-9][0-9][0-9][0-9])_[a-z0-9_]+\\.sql$")
      message(FATAL_ERROR "the migration ${script} is not named like 0001_some_words.sql")
    endif()
    set(digits "${CMAKE_MATCH_1}")
    string(REGEX REPLACE "^0+" "" number "${digits}")
    if(number STREQUAL previous)
      message(FATAL_ERROR "two migrations bear the number ${digits}; the second is ${script}")
    endif()
    if(NOT number STREQUAL expected)
      message(FATAL_ERROR "migration number ${expected} is missing: ${script} comes next")
    endif()
    file(READ "${directory}/${script}" sql)
    string(FIND "${sql}" ")migration\"" delimiter)
    if(NOT delimiter EQUAL -1)
      message(FATAL_ERROR "the migration ${script} holds the text that ends it in C++, )migration\"")
    endif()
    string(APPEND rows "    {${number}, \"${script}\", R\"migration(${sql})migration\"},\n")
    set(previous "${number}")
    math(EXPR expected "${expected} + 1")
  endforeach()
  file(WRITE "${output}" "#include \"caiexport/store/database.h\"

namespace caiexport::store {
namespace {
constexpr Migration kMigrations[] = {
${rows}};
}  // namespace

std::span<const Migration> migrations() {
  return kMigrations;
}
}  // namespace caiexport::store
")
endfunction()

if(CMAKE_SCRIPT_MODE_FILE STREQUAL CMAKE_CURRENT_LIST_FILE)
  cmake_policy(VERSION 3.22)
  caiexport_write_migrations("${MIGRATIONS}" "${OUTPUT}")
endif()
