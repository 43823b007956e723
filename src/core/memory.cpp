#include "caiexport/core/memory.h"

#include <sys/resource.h>
#include <unistd.h>

#include <fstream>
#include <new>
#include <string_view>
#include <system_error>

namespace caiexport::core {
namespace {

constexpr std::string_view kHint = "close other programs, or use a machine with more memory";

}  // namespace

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
  std::uint64_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  const std::uint64_t used = pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
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
