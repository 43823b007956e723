#pragma once
/// Numbers that stand for bytes: SHA-256, and a sum that may be added up in any order; of files on disk too.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <stop_token>
#include <string>

struct evp_md_ctx_st;

namespace caiexport::transfer {

/// For one thread at a time.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;

  void update(std::span<const std::byte> data);
  /// Lower-case hex. Ends the computation: nothing may be called afterwards.
  std::string finish();

 private:
  struct Free {
    void operator()(evp_md_ctx_st* context) const;
  };
  std::unique_ptr<evp_md_ctx_st, Free> context_;
};

/// A number that tells bytes from others, whatever the order and the pieces in which they are added up. Of the bytes
/// that lie in a file from `offset` on: the sum of its 8-byte words, each times an odd number that depends on its
/// place. The sums of two parts, added modulo 2^64, are the sum of both. Stored: must never change.
std::uint64_t contentSum(std::uint64_t offset, std::span<const std::byte> data);

struct ReadBack {
  std::string sha256;     ///< As Sha256::finish().
  std::uint64_t sum = 0;  ///< As contentSum().
};
/// Of a file's content. Error(io) if it can't be read. Ends early with Interrupted.
ReadBack readBack(const std::filesystem::path& path, const std::stop_token& stop);

}  // namespace caiexport::transfer
