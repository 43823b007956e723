/// A manifest.json that others may have written.

#include "caiexport/engine/manifest.h"

#include "fuzz/target.h"

using namespace caiexport;

CAIEXPORT_FUZZ_TARGET(manifest) {
  fuzz::mayRefuse([&] {
    const engine::Manifest read = engine::parseManifest(std::string(input), "folder/manifest.json");
    for (const engine::ManifestFile& file : read.files) {
      const std::filesystem::path path(file.path);
      fuzz::require(path.is_relative() && !path.empty(), "a manifest names a file outside of its folder");
      for (const auto& part : path) fuzz::require(part != "..", "a manifest names a file outside of its folder");
      fuzz::require(file.path.find('\0') == std::string::npos, "a name holds a NUL");
    }
  });
}
