/// Run by the build: writes manual pages into a folder.

#include <exception>
#include <filesystem>
#include <iostream>

#include "caiexport/core/file_system.h"
#include "manual.h"

using namespace caiexport;
using namespace caiexport::tools;

int main(int count, char** words) {
  if (count != 3) {
    std::cerr << "usage: caiexport-document FOLDER YYYY-MM-DD\n";
    return 2;
  }
  try {
    const std::filesystem::path folder = words[1];
    std::filesystem::create_directories(folder);
    core::FileSystem& files = core::diskFileSystem();
    core::writeFileAtomically(files, folder / "caiexport.1", caiexportManual(words[2]));
    core::writeFileAtomically(files, folder / "caiexport-simulator.1", simulatorManual(words[2]));
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "caiexport-document: " << error.what() << '\n';
    return 1;
  }
}
