#pragma once
/// Access tokens. Source: Adobe Developer Console, "OAuth Server-to-Server credential API Reference".

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "caiexport/core/clock.h"
#include "caiexport/core/secret.h"

namespace caiexport::core {

class Log;
}
namespace caiexport::net {
class HttpTransport;
}

namespace caiexport::platform {

/// Thread safe.
class TokenSource {
 public:
  virtual ~TokenSource() = default;
  /// A token that is believed to be good. Error(auth) if none can be had, TransientError if IMS is out of reach after
  /// all retries.
  virtual core::Secret token(std::stop_token stop) = 0;
  /// The platform answered 401 to this token. True if another one may be had by asking again. However many threads say
  /// so of the same token, it is renewed once.
  virtual bool reject(const core::Secret& token) = 0;
};

/// A ready-made token (`access_token`): it can't be renewed.
class FixedTokenSource final : public TokenSource {
 public:
  /// Error(config) if it is empty or holds what can't stand in a header.
  explicit FixedTokenSource(core::Secret token);
  core::Secret token(std::stop_token stop) override;
  bool reject(const core::Secret& token) override;

 private:
  core::Secret token_;
};

struct ImsSettings {
  std::string imsUrl = {};  ///< `https://ims-na1.adobelogin.com`; `/ims/token/v3` is appended.
  std::string clientId = {};
  core::Secret clientSecret = {};
  std::string scopes = {};  ///< Comma list.
  std::string orgId = {};
  /// Folder of the token cache (0600 files named by a digest of all of the above, holding a token and when it expires);
  /// empty: no cache. It is made 0700. One that can't be written is no error; a folder that others may write and a file
  /// that others may read are not used.
  std::filesystem::path cacheDirectory = {};
  core::RetryPolicy retry = {};
  /// Called when a token is asked for the first time, which takes a while.
  std::function<void()> whileAsked = {};
};

/// OAuth Server-to-Server (client credentials). One refresh at a time however many threads ask, and those that wait for
/// it share its failure; renewed five minutes (or a tenth of its life, if shorter) before it expires.
class ImsTokenSource final : public TokenSource {
 public:
  ImsTokenSource(ImsSettings settings, net::HttpTransport& transport, core::Clock& clock, core::Random& random,
                 core::Log& log);
  ~ImsTokenSource() override;
  core::Secret token(std::stop_token stop) override;
  bool reject(const core::Secret& token) override;

 private:
  class Implementation;
  std::unique_ptr<Implementation> implementation_;
};

// --- Tokens kept between runs, one small file for each set of credentials.

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
