#include "caiexport/core/encoding.h"

namespace caiexport::core {

std::string_view foreignEncoding(std::string_view text) {
  using namespace std::string_view_literals;
  // The mark of UTF-32 in little endian begins with that of UTF-16.
  if (text.starts_with("\xFF\xFE\0\0"sv) || text.starts_with("\0\0\xFE\xFF"sv)) return "is UTF-32";
  if (text.starts_with("\xFF\xFE"sv) || text.starts_with("\xFE\xFF"sv)) return "is UTF-16";
  if (text.starts_with("\xEF\xBB\xBF"sv)) return "begins with a byte order mark";
  // Without a mark: every other byte of what is written in Latin letters is zero.
  if (text.size() > 1 && (text[0] == '\0') != (text[1] == '\0')) return "is UTF-16 without a byte order mark";
  if (text.find('\0') != text.npos) return "holds NUL characters, so it is no text";
  return {};
}

}  // namespace caiexport::core
