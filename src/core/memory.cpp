#include "caiexport/core/memory.h"

#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <new>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>

#include "caiexport/core/text.h"

namespace caiexport::core {
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
  return parseUnsigned(text).value_or(kNoLimit);  // "max" means none
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
  const auto names = splitList(controllers);
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

/// Pages of memory, all and resident; zeros where the system does not tell.
std::pair<std::uint64_t, std::uint64_t> pagesOfThisProcess() {
  std::uint64_t all = 0;
  std::uint64_t resident = 0;
  std::ifstream("/proc/self/statm") >> all >> resident;
  return {all, resident};
}

constexpr std::string_view kHint = "close other programs, or use a machine with more memory";

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

std::uint64_t residentBytes() {
  return pagesOfThisProcess().second * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

Error outOfMemory(const std::string& what) {
  return {Category::io, what, {.hint = std::string(kHint)}};
}

std::optional<Error> scarcityIn(const std::exception& exception) {
  if (dynamic_cast<const std::bad_alloc*>(&exception) != nullptr) return outOfMemory();
  const auto* const system = dynamic_cast<const std::system_error*>(&exception);
  if (system == nullptr) return std::nullopt;
  // A thread that can't be started says "try again".
  const bool scarce =
      system->code() == std::errc::resource_unavailable_try_again || system->code() == std::errc::not_enough_memory;
  if (!scarce) return std::nullopt;
  return Error(Category::io, std::string("the system provides no more threads or memory: ") + system->what(),
               {.hint = "raise the limits (ulimit -u, ulimit -v), or close other programs"});
}

std::optional<std::uint64_t> addressSpaceLeft() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return std::nullopt;
  const std::uint64_t used = pagesOfThisProcess().first * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  return limit.rlim_cur > used ? limit.rlim_cur - used : 0;
}

bool isOutOfMemory(const Error& error) {
  return error.category() == Category::io && error.hint().starts_with(kHint);
}

Error withOptions(const Error& error, const std::string& options) {
  std::string hint = error.hint();
  hint.insert(kHint.size(), ", or " + options);
  return {error.category(), error.what(), {.requestId = error.requestId(), .hint = hint}};
}

}  // namespace caiexport::core
