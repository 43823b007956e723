#pragma once
/// SHA-256, bit by bit, and of files on disk.

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

struct ReadBack {
  std::string sha256;     ///< As Sha256::finish().
  std::uint64_t sum = 0;  ///< As contentSum().
};
/// Of a file's content. Error(io) if it can't be read. Ends early with Interrupted.
ReadBack readBack(const std::filesystem::path& path, const std::stop_token& stop);

}  // namespace caiexport::transfer
