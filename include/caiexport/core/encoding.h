#pragma once
/// Bytes in other spellings: hexadecimal digits, percent-escapes, text that is not UTF-8; and numbers that stand for
/// text and files.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

struct evp_md_ctx_st;

namespace caiexport::core {

enum class HexDigits { lower, upper };
/// Two digits for each byte.
void appendHex(std::string& out, std::string_view bytes, HexDigits digits = HexDigits::lower);
/// The same, in lower case.
std::string hexOf(std::string_view bytes);
/// The value of a hexadecimal digit in either case.
std::optional<unsigned> hexValue(char digit);

/// RFC 3986: everything but unreserved characters becomes %XX.
void appendPercentEncoded(std::string& out, std::string_view text);
/// Each `%41` as the byte that it stands for; what is no such escape stays as it is.
std::string percentDecode(std::string_view text);

/// What a text file is instead of plain UTF-8, for people, as the end of a sentence that begins with its name: `is
/// UTF-16`, `begins with a byte order mark`; empty for plain text.
std::string_view foreignEncoding(std::string_view text);

/// SHA-256, bit by bit. For one thread at a time. Error(internal) if OpenSSL refuses.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;

  void update(std::span<const std::byte> data);
  void update(std::string_view text) { update(std::as_bytes(std::span(text))); }
  /// Lower-case hex. Ends the computation: nothing may be called afterwards.
  std::string finish();

 private:
  struct Free {
    void operator()(evp_md_ctx_st* context) const;
  };
  std::unique_ptr<evp_md_ctx_st, Free> context_;
};

/// FNV-1a, 64 bits: quick, and no proof of anything. Stored, and agreed on between processes: must never change.
std::uint64_t fnv1a(std::string_view text);

}  // namespace caiexport::core
