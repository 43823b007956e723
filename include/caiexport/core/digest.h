#pragma once
/// Numbers that stand for text and files.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

struct evp_md_ctx_st;

namespace caiexport::core {

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
