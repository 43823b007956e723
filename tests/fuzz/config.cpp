/// A config file.

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>

#include "cli/config/config.h"
#include "fuzz/target.h"

using namespace caiexport;

namespace {

/// A file in memory with the input in it, for its owner alone.
class MemoryFile {
 public:
  explicit MemoryFile(std::string_view content) : descriptor_(::memfd_create("config", MFD_CLOEXEC)) {
    fuzz::require(descriptor_ >= 0 && ::fchmod(descriptor_, 0600) == 0, "no file in memory");
    fuzz::require(::write(descriptor_, content.data(), content.size()) == static_cast<ssize_t>(content.size()),
                  "no room in memory");
  }
  ~MemoryFile() { ::close(descriptor_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  std::string path() const { return "/proc/self/fd/" + std::to_string(descriptor_); }

 private:
  int descriptor_;
};

}  // namespace

CAIEXPORT_FUZZ_TARGET(config) {
  static constexpr std::array<std::string_view, 3> kKeys{"client_id", "client_secret", "org_id"};
  static constexpr std::array<std::string_view, 1> kSecrets{"client_secret"};
  const MemoryFile file(input);
  fuzz::mayRefuse([&] {
    for (const auto& [name, profile] : cli::readIniFile(file.path(), {.keys = kKeys, .secrets = kSecrets})) {
      fuzz::require(!name.empty(), "a profile without a name");
      for (const auto& [key, value] : profile) {
        fuzz::require(std::find(kKeys.begin(), kKeys.end(), key) != kKeys.end(), "an unknown key");
        fuzz::require(value.find('\n') == std::string::npos, "a value of several lines");
      }
    }
  });
}
