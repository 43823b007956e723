#pragma once
/// Whether the program is one with a sanitizer, of which some tests would measure more than of ours.

namespace caiexport::support {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

}  // namespace caiexport::support
