/// Run by the build: writes manual pages and completions into a folder.

#include <exception>
#include <filesystem>
#include <iostream>

#include "caiexport/core/file_system.h"
#include "completion.h"
#include "manual.h"

namespace {

using namespace caiexport;
using namespace caiexport::tools;

void writeAll(const std::filesystem::path& folder, const Program& program, const std::string& manual) {
  const std::string name(program.name);
  core::FileSystem& files = core::diskFileSystem();
  core::writeFileAtomically(files, folder / (name + ".1"), manual);
  core::writeFileAtomically(files, folder / (name + ".bash"), bashCompletion(program));
  core::writeFileAtomically(files, folder / ("_" + name), zshCompletion(program));
  core::writeFileAtomically(files, folder / (name + ".fish"), fishCompletion(program));
}

}  // namespace

int main(int count, char** words) {
  if (count != 3) {
    std::cerr << "usage: caiexport-document FOLDER YYYY-MM-DD\n";
    return 2;
  }
  try {
    const std::filesystem::path folder = words[1];
    std::filesystem::create_directories(folder);
    writeAll(folder, caiexportProgram(), caiexportManual(words[2]));
    writeAll(folder, simulatorProgram(), simulatorManual(words[2]));
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "caiexport-document: " << error.what() << '\n';
    return 1;
  }
}
