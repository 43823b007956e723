# cmake -DOUTPUT=FILE -DSCENARIOS=FOLDER -P embed_scenarios.cmake: the JSON files of a folder as a C++ table.
file(GLOB files "${SCENARIOS}/*.json")
list(SORT files)
set(table "")
foreach(file IN LISTS files)
  get_filename_component(name "${file}" NAME_WE)
  file(READ "${file}" json)
  string(APPEND table "      {\"${name}\", R\"scenario(${json})scenario\"},\n")
endforeach()
file(WRITE "${OUTPUT}.new" "#include \"simulator/scenario.h\"

namespace caiexport::simulator {

const std::vector<BuiltinScenario>& builtinScenarios() {
  static const std::vector<BuiltinScenario> table = {
${table}  };
  return table;
}

}  // namespace caiexport::simulator
")
file(RENAME "${OUTPUT}.new" "${OUTPUT}")
