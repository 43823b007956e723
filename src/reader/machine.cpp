#include "machine.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <optional>
#include <string>
#include <thread>

#include "caiexport/core/text.h"

namespace caiexport::reader {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kNoLimit = std::numeric_limits<std::uint64_t>::max();

std::uint64_t machineBytes(const fs::path& root) {
  std::ifstream file(root / "proc/meminfo");
  std::string key;
  std::uint64_t kibibytes = 0;
  std::string unit;
  while (file >> key >> kibibytes) {
    if (key == "MemTotal:") return kibibytes * 1024;
    std::getline(file, unit);
  }
  const long pages = sysconf(_SC_PHYS_PAGES);
  const long pageBytes = sysconf(_SC_PAGESIZE);
  if (pages <= 0 || pageBytes <= 0) return kNoLimit;
  return static_cast<std::uint64_t>(pages) * static_cast<std::uint64_t>(pageBytes);
}

std::uint64_t limitIn(const fs::path& file) {
  std::ifstream stream(file);
  std::string text;
  stream >> text;
  return core::parseUnsigned(text).value_or(kNoLimit);  // "max" means none
}

/// The lowest limit of a group and the groups around it.
std::uint64_t limitOfGroup(const fs::path& hierarchy, fs::path group, const char* limitFile) {
  std::uint64_t lowest = limitIn(hierarchy / limitFile);
  while (!group.empty()) {
    lowest = std::min(lowest, limitIn(hierarchy / group / limitFile));
    group = group.parent_path();
  }
  return lowest;
}

bool listsMemory(const std::string& controllers) {
  const auto names = core::splitList(controllers);
  return std::find(names.begin(), names.end(), "memory") != names.end();
}

/// Lines of /proc/self/cgroup read `ID:CONTROLLERS:/PATH`; version 2 has no controllers there.
std::uint64_t groupBytes(const fs::path& root) {
  std::ifstream file(root / "proc/self/cgroup");
  std::uint64_t lowest = kNoLimit;
  std::string line;
  while (std::getline(file, line)) {
    const auto first = line.find(':');
    const auto second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const fs::path group = fs::path(line.substr(second + 1)).relative_path();
    const fs::path mounted = root / "sys/fs/cgroup";
    if (controllers.empty()) {
      lowest = std::min(lowest, limitOfGroup(mounted, group, "memory.max"));
    } else if (listsMemory(controllers)) {
      lowest = std::min(lowest, limitOfGroup(mounted / "memory", group, "memory.limit_in_bytes"));
    }
  }
  return lowest;
}

}  // namespace

std::uint64_t usableMemoryBytes(const fs::path& root) {
  return std::min(machineBytes(root), groupBytes(root));
}

unsigned usableProcessors() {
#ifdef __linux__
  cpu_set_t processors;
  CPU_ZERO(&processors);
  if (sched_getaffinity(0, sizeof processors, &processors) == 0) {
    return static_cast<unsigned>(std::max(1, CPU_COUNT(&processors)));
  }
#endif
  return std::max(1U, std::thread::hardware_concurrency());
}

}  // namespace caiexport::reader
