#include "caiexport/core/digest.h"

#include <openssl/evp.h>

#include <array>

#include "caiexport/core/encoding.h"
#include "caiexport/core/error.h"

namespace caiexport::core {
namespace {

void require(int result) {
  if (result != 1) throw Error(Category::internal, "cannot compute a SHA-256: the OpenSSL library refused");
}

}  // namespace

void Sha256::Free::operator()(evp_md_ctx_st* context) const {
  EVP_MD_CTX_free(context);
}

Sha256::Sha256() : context_(EVP_MD_CTX_new()) {
  require(context_ ? EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) : 0);
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
