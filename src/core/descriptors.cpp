#include "caiexport/core/descriptors.h"

#include <fcntl.h>
#include <sys/resource.h>

namespace caiexport::core {

std::optional<std::uint64_t> freeDescriptors() {
  // More than any run needs, and too many to be looked at one by one.
  constexpr rlim_t kPlenty = 4096;
  struct rlimit limit {};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur > kPlenty) return std::nullopt;
  std::uint64_t left = 0;
  for (int descriptor = 0; descriptor < static_cast<int>(limit.rlim_cur); ++descriptor) {
    if (::fcntl(descriptor, F_GETFD) < 0) ++left;
  }
  return left;
}

}  // namespace caiexport::core
