#pragma once
/// Bytes in other spellings: hexadecimal digits, percent-escapes, and text that is not UTF-8.

#include <optional>
#include <string>
#include <string_view>

namespace caiexport::core {

enum class HexDigits { lower, upper };
/// Two digits for each byte.
void appendHex(std::string& out, std::string_view bytes, HexDigits digits = HexDigits::lower);
/// The same, in lower case.
std::string hexOf(std::string_view bytes);
/// The value of a hexadecimal digit in either case.
std::optional<unsigned> hexValue(char digit);

/// Each `%41` as the byte that it stands for; what is no such escape stays as it is.
std::string percentDecode(std::string_view text);

/// What a text file is instead of plain UTF-8, for people, as the end of a sentence that begins with its name: `is
/// UTF-16`, `begins with a byte order mark`; empty for plain text.
std::string_view foreignEncoding(std::string_view text);

}  // namespace caiexport::core
