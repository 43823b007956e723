#pragma once
/// Tokens kept between runs, one small file for each set of credentials.

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "caiexport/core/clock.h"
#include "caiexport/core/secret.h"

namespace caiexport::core {
class Log;
}

namespace caiexport::platform {

struct CachedToken {
  core::Secret token;
  core::TimePoint expiresAt;
};

/// A file that is not a regular one, is not ours alone (owner, mode 0600) or can't be understood counts as none; a
/// folder that others may write is not used at all. No failure here is an error. For one thread at a time; several
/// processes may share a folder, the last writer wins.
class TokenCache {
 public:
  /// `directory` may be empty: no cache. `identity` tells sets of credentials apart and may hold secrets.
  TokenCache(std::filesystem::path directory, const std::vector<std::string_view>& identity, core::Log& log);

  std::optional<CachedToken> load() const;
  void store(const CachedToken& token) const;
  /// Removes the file if it holds this token.
  void forget(const core::Secret& token) const;

 private:
  bool isUsable() const;

  std::filesystem::path directory_;
  std::filesystem::path file_;
  core::Log& log_;
};

/// SHA-256 of the texts, each preceded by its length, in lower-case hex.
std::string digestOf(const std::vector<std::string_view>& texts);

}  // namespace caiexport::platform
