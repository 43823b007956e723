#include "caiexport/core/encoding.h"

#include <openssl/evp.h>

#include <array>

#include "caiexport/core/byte_set.h"
#include "caiexport/core/error.h"

namespace caiexport::core {
namespace {

/// RFC 3986, 2.3.
constexpr ByteSet kUnreserved([](char c) {
  const bool letter = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
  return letter || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '~';
});

void require(int result) {
  if (result != 1) throw Error(Category::internal, "cannot compute a SHA-256: the OpenSSL library refused");
}

/// Looked up once: by its old name (EVP_sha256()) OpenSSL looks for it anew with each use.
const EVP_MD* sha256() {
  static const std::unique_ptr<EVP_MD, void (*)(EVP_MD*)> algorithm(EVP_MD_fetch(nullptr, "SHA256", nullptr),
                                                                    EVP_MD_free);
  return algorithm.get();
}

}  // namespace

void appendHex(std::string& out, std::string_view bytes, HexDigits digits) {
  const std::string_view of = digits == HexDigits::lower ? "0123456789abcdef" : "0123456789ABCDEF";
  const std::size_t begin = out.size();
  out.resize(begin + 2 * bytes.size());
  char* to = out.data() + begin;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    *to++ = of[byte >> 4U];
    *to++ = of[byte & 0xFU];
  }
}

std::string hexOf(std::string_view bytes) {
  std::string out;
  appendHex(out, bytes);
  return out;
}

std::optional<unsigned> hexValue(char digit) {
  if (digit >= '0' && digit <= '9') return digit - '0';
  if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
  if (digit >= 'A' && digit <= 'F') return digit - 'A' + 10;
  return std::nullopt;
}

void appendPercentEncoded(std::string& out, std::string_view text) {
  while (true) {
    const std::size_t plain = kUnreserved.lengthIn(text);
    out.append(text, 0, plain);
    if (plain == text.size()) return;
    appendHex(out.append("%"), text.substr(plain, 1), HexDigits::upper);
    text.remove_prefix(plain + 1);
  }
}

std::string percentDecode(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size(); ++at) {
    const bool mayBegin = text[at] == '%' && at + 2 < text.size();
    const auto high = mayBegin ? hexValue(text[at + 1]) : std::nullopt;
    const auto low = mayBegin ? hexValue(text[at + 2]) : std::nullopt;
    if (high && low) {
      out += static_cast<char>(*high << 4U | *low);
      at += 2;
    } else {
      out += text[at];
    }
  }
  return out;
}

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

void Sha256::Free::operator()(evp_md_ctx_st* context) const {
  EVP_MD_CTX_free(context);
}

Sha256::Sha256() : context_(EVP_MD_CTX_new()) {
  require(context_ ? EVP_DigestInit_ex(context_.get(), sha256(), nullptr) : 0);
}

Sha256::~Sha256() = default;

void Sha256::update(std::span<const std::byte> data) {
  require(EVP_DigestUpdate(context_.get(), data.data(), data.size()));
}

std::string Sha256::finish() {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned length = 0;
  require(EVP_DigestFinal_ex(context_.get(), digest.data(), &length));
  return hexOf({reinterpret_cast<const char*>(digest.data()), length});
}

std::uint64_t fnv1a(std::string_view text) {
  std::uint64_t hash = 14695981039346656037U;
  for (const char letter : text) {
    hash ^= static_cast<unsigned char>(letter);
    hash *= 1099511628211U;
  }
  return hash;
}

}  // namespace caiexport::core
