#include "caiexport/platform/auth.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <condition_variable>
#include <system_error>

#include "caiexport/core/descriptors.h"
#include "caiexport/core/encoding.h"
#include "caiexport/core/error.h"
#include "caiexport/core/file_system.h"
#include "caiexport/core/log.h"
#include "caiexport/core/text.h"
#include "caiexport/net/http.h"
#include "json.h"
#include "problem.h"

namespace caiexport::platform {
namespace {

using core::Category;

constexpr const char* kTokenPath = "/ims/token/v3";
constexpr core::Duration kLongestMargin = std::chrono::minutes(5);
constexpr std::uint64_t kMostBodyBytes = 1U << 20U;

/// RFC 6750, section 2.1: what may stand after "Bearer".
bool isSendable(std::string_view token) {
  return !token.empty() && std::ranges::all_of(token, [](char c) { return c > ' ' && c < 0x7f; });
}

std::string tokenUrl(std::string imsUrl) {
  while (imsUrl.ends_with('/')) imsUrl.pop_back();
  return imsUrl + kTokenPath;
}

/// Each copy of the secret is wiped: the form is as long as it will be from the start, so it never moves.
core::Secret formOf(const ImsSettings& settings) {
  const core::Secret secret(core::percentEncode(settings.clientSecret.reveal()));
  const std::string before =
      "grant_type=client_credentials&client_id=" + core::percentEncode(settings.clientId) + "&client_secret=";
  const std::string after = "&scope=" + core::percentEncode(settings.scopes);
  std::string form;
  form.reserve(before.size() + secret.reveal().size() + after.size());
  form.append(before).append(secret.reveal()).append(after);
  return core::Secret(std::move(form));
}

/// The token API counts seconds, the retired JWT exchange milliseconds: above ten days it must be those.
core::Duration lifeFrom(const Json& expiresIn) {
  constexpr std::uint64_t kMostSeconds = 864000;
  constexpr std::uint64_t kMostMilliseconds = 366ULL * 86400 * 1000;
  const std::uint64_t number = expiresIn.unsignedNumber();
  const std::uint64_t milliseconds = number > kMostSeconds ? number : number * 1000;
  return core::Duration(static_cast<core::Duration::rep>(std::min(milliseconds, kMostMilliseconds)));
}

/// A failure in a form that every waiting thread can throw a copy of. (Sharing one exception object among threads
/// shares its message's storage too.)
struct Failure {
  Category category = Category::internal;
  std::string message;
  core::Error::Details details;
  std::optional<core::TransientError::Cause> transient;

  explicit Failure(const core::Error& error)
      : category(error.category()),
        message(error.what()),
        details{.requestId = error.requestId(), .hint = error.hint()} {
    if (const auto* known = dynamic_cast<const core::TransientError*>(&error)) transient = known->cause();
  }

  [[noreturn]] void raise() const {
    if (transient) throw core::TransientError(message, *transient, details);
    throw core::Error(category, message, details);
  }
};

}  // namespace

FixedTokenSource::FixedTokenSource(core::Secret token) : token_(std::move(token)) {
  if (isSendable(token_.reveal())) return;
  throw core::Error(Category::config,
                    token_.empty() ? "the access token is empty"
                                   : "the access token holds blanks, line breaks or other characters that no token has",
                    {.hint = "copy it again, without quotes and without a line break in it"});
}

core::Secret FixedTokenSource::token(std::stop_token) {
  return token_;
}

bool FixedTokenSource::reject(const core::Secret&) {
  return false;
}

class ImsTokenSource::Implementation {
 public:
  Implementation(ImsSettings settings, net::HttpTransport& transport, core::Clock& clock, core::Random& random,
                 core::Log& log)
      : settings_(std::move(settings)),
        url_(tokenUrl(settings_.imsUrl)),
        transport_(transport),
        retrying_{settings_.retry, clock, random, log},
        cache_(settings_.cacheDirectory,
               {url_, settings_.clientId, settings_.orgId, settings_.scopes, settings_.clientSecret.reveal()}, log) {
    transport_.keepSecret(settings_.clientSecret.reveal());
  }

  core::Secret token(std::stop_token stop);
  bool reject(const core::Secret& token);

 private:
  bool isGood() const { return !current_.token.empty() && now() < renewAt_; }
  core::TimePoint now() const { return retrying_.clock.now(); }

  CachedToken obtain(const core::Secret& rejected, std::stop_token stop);
  CachedToken ask(std::stop_token stop);
  CachedToken askOnce(std::stop_token stop) const;
  CachedToken read(const net::HttpResponse& response) const;
  net::HttpResponse withoutToken(net::HttpResponse response) const;
  [[noreturn]] void throwRefused(const net::HttpResponse& response, bool transient, const Verdict& verdict) const;
  core::TimePoint renewalOf(core::TimePoint expiresAt) const;
  void logToken(const char* source, core::TimePoint expiresAt) const;

  ImsSettings settings_;  ///< whileAsked: used only by the thread that set refreshing_.
  const std::string url_;
  net::HttpTransport& transport_;
  const Retrying retrying_;
  const TokenCache cache_;  ///< Used only by the thread that set refreshing_.

  std::mutex mutex_;
  std::condition_variable_any changed_;
  CachedToken current_;
  core::TimePoint renewAt_;
  core::Secret rejected_;  ///< The newest one that the platform refused: another process may have stored it again.
  bool refreshing_ = false;
  std::uint64_t refreshes_ = 0;     ///< Ended ones, with or without success.
  std::optional<Failure> failure_;  ///< Of the newest refresh.
};

/// The first thread that finds no good token fetches one; the others wait for it, and share its failure.
core::Secret ImsTokenSource::Implementation::token(std::stop_token stop) {
  std::unique_lock lock(mutex_);
  while (!isGood() && refreshing_) {
    const std::uint64_t before = refreshes_;
    if (!changed_.wait(lock, stop, [&] { return refreshes_ != before; })) throw core::Interrupted();
    if (failure_) failure_->raise();
  }
  if (isGood()) return current_.token;

  refreshing_ = true;
  const core::Secret rejected = rejected_;
  lock.unlock();
  std::optional<Failure> failure;
  std::optional<CachedToken> fresh;
  try {
    fresh = obtain(rejected, stop);
  } catch (const core::Error& error) {
    failure.emplace(error);
  } catch (...) {
    failure.emplace(core::Error(Category::internal, "the token request failed in an unexpected way"));
  }
  lock.lock();
  refreshing_ = false;
  ++refreshes_;
  failure_.reset();
  if (fresh) {
    current_ = std::move(*fresh);
    renewAt_ = renewalOf(current_.expiresAt);
  } else if (failure->category != Category::interrupted) {
    failure_ = failure;  // An interruption is this thread's own: one of the others asks then.
  }
  changed_.notify_all();
  if (failure && failure->category == Category::interrupted) throw core::Interrupted();
  if (failure) failure->raise();
  return current_.token;
}

bool ImsTokenSource::Implementation::reject(const core::Secret& token) {
  const std::lock_guard lock(mutex_);
  // Another thread may have said so before, and the token have been renewed since.
  if (current_.token.empty() || current_.token.reveal() != token.reveal()) return true;
  rejected_ = token;
  current_ = {};
  if (!refreshing_) cache_.forget(token);
  return true;
}

CachedToken ImsTokenSource::Implementation::obtain(const core::Secret& rejected, std::stop_token stop) {
  if (auto cached = cache_.load()) {
    const bool good = isSendable(cached->token.reveal()) && cached->token.reveal() != rejected.reveal() &&
                      now() < renewalOf(cached->expiresAt);
    if (good) {
      logToken("cache", cached->expiresAt);
      return std::move(*cached);
    }
  }
  CachedToken fresh = ask(std::move(stop));
  logToken("ims", fresh.expiresAt);
  cache_.store(fresh);
  return fresh;
}

CachedToken ImsTokenSource::Implementation::ask(std::stop_token stop) {
  if (const auto begin = std::exchange(settings_.whileAsked, {})) begin();
  for (int tries = 1;; ++tries) {
    throwIfStopped(stop);
    try {
      return askOnce(stop);
    } catch (const core::TransientError& failure) {
      retrying_.waitForNextTry("get an access token", tries, failure, stop);
    }
  }
}

CachedToken ImsTokenSource::Implementation::askOnce(std::stop_token stop) const {
  const core::Secret form = formOf(settings_);
  net::HttpRequest request{.method = "POST", .url = url_, .mostBodyBytes = kMostBodyBytes, .answersSecret = true};
  request.headers.add("Accept", "application/json");
  request.headers.add("Content-Type", "application/x-www-form-urlencoded");
  struct Wiped {
    std::string& text;
    ~Wiped() { core::cleanse(text); }
  };
  request.body = form.reveal();
  const Wiped wipedRequest{request.body};
  net::HttpResponse response = transport_.send(request, stop);
  const Wiped wipedResponse{response.body};
  const Verdict verdict = classify(response, now());
  if (verdict.outcome != Outcome::success) throwRefused(response, verdict.outcome == Outcome::transient, verdict);
  return read(response);
}

CachedToken ImsTokenSource::Implementation::read(const net::HttpResponse& response) const {
  // A garbled answer is shown by its beginning, which may hold part of a token.
  if (!Json::tryParse(response.body)) {
    throw core::Error(Category::protocol,
                      "cannot get an access token: POST " + core::printable(url_, 300) +
                          " was answered by something that is not JSON (content type " +
                          core::printable(response.headers.get("Content-Type").value_or("none"), 80) + ", " +
                          std::to_string(response.body.size()) + " bytes)",
                      {.hint = "check ims_url, and whether a proxy answers in its place"});
  }
  const Json answer = Json::parse(response, "cannot get an access token: POST " + core::printable(url_, 300));
  core::Secret token(answer.at("access_token").text());
  if (!isSendable(token.reveal())) answer.at("access_token").fail("holds characters that no token has");
  transport_.keepSecret(token.reveal());
  try {
    return {std::move(token), now() + lifeFrom(answer.at("expires_in"))};
  } catch (const core::Error& error) {
    // This answer came through the gate before its token was known.
    throw core::Error(error.category(), transport_.withoutSecrets(error.what()),
                      {.requestId = transport_.withoutSecrets(error.requestId()), .hint = error.hint()});
  }
}

net::HttpResponse ImsTokenSource::Implementation::withoutToken(net::HttpResponse response) const {
  const std::optional<Json> body = Json::tryParse(response.body);
  const std::optional<std::string> token = body ? body->at("access_token").textIfAny() : std::nullopt;
  if (!token) return response;
  transport_.keepSecret(*token);
  response.body = transport_.withoutSecrets(std::move(response.body));
  return response;
}

void ImsTokenSource::Implementation::throwRefused(const net::HttpResponse& answer, bool transient,
                                                  const Verdict& verdict) const {
  // An answer that refuses and grants at once: the gate did not know that token.
  const net::HttpResponse response = withoutToken(answer);
  const Problem problem = readProblem(response);
  const std::string text = "POST " + core::printable(url_, 300) + " was answered by " + describe(response, problem);
  core::Error::Details details{.requestId = problem.requestId, .hint = remedyFor(response.status, problem.code)};
  if (transient) {
    throw core::TransientError(text, {.retryAfter = verdict.retryAfter, .throttled = verdict.throttled}, details);
  }
  const bool redirect = response.status >= 300 && response.status < 400;
  if (redirect) details.hint = "check ims_url: it answers by a redirect, which is not followed";
  if (response.status == 404) details.hint = "check ims_url: it has no " + std::string(kTokenPath);
  if (details.hint.empty() || problem.code.empty()) {
    if (response.status == 400 || response.status == 401 || response.status == 403) {
      details.hint = "check client_id, client_secret and scopes against the Developer Console";
    }
  }
  throw core::Error(redirect ? Category::protocol : Category::auth, "cannot get an access token: " + text, details);
}

core::TimePoint ImsTokenSource::Implementation::renewalOf(core::TimePoint expiresAt) const {
  const core::Duration left = std::max(expiresAt - now(), core::Duration::zero());
  return expiresAt - std::min(kLongestMargin, left / 10);
}

void ImsTokenSource::Implementation::logToken(const char* source, core::TimePoint expiresAt) const {
  retrying_.log.write(core::LogLevel::info, "token", {{"source", source}, {"expires_at", core::formatTime(expiresAt)}});
}

ImsTokenSource::ImsTokenSource(ImsSettings settings, net::HttpTransport& transport, core::Clock& clock,
                               core::Random& random, core::Log& log)
    : implementation_(std::make_unique<Implementation>(std::move(settings), transport, clock, random, log)) {}

ImsTokenSource::~ImsTokenSource() = default;

core::Secret ImsTokenSource::token(std::stop_token stop) {
  return implementation_->token(std::move(stop));
}

bool ImsTokenSource::reject(const core::Secret& token) {
  return implementation_->reject(token);
}

namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMostBytes = 64U << 10U;

void makePrivateFolder(const fs::path& directory) {
  if (directory.has_parent_path()) core::diskFileSystem().createDirectories(directory.parent_path());
  if (::mkdir(directory.c_str(), 0700) == 0) return;
  if (errno != EEXIST) core::throwIoError("create the folder", directory, errno);
  core::makePrivate(directory);
}

/// The content, if the file is a regular one that nobody else can have written or read. Checked on the open file, so
/// that nothing can be put in its place in between.
std::optional<core::Secret> readPrivateFile(const fs::path& file) {
  const core::Descriptor descriptor(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!descriptor.valid()) return std::nullopt;
  struct stat facts {};
  const bool ours = ::fstat(descriptor.number(), &facts) == 0 && S_ISREG(facts.st_mode) &&
                    facts.st_uid == ::geteuid() && (facts.st_mode & 0077U) == 0 &&
                    facts.st_size <= static_cast<off_t>(kMostBytes);
  std::string content(ours ? static_cast<std::size_t>(facts.st_size) : 0, '\0');
  const ssize_t count = ours ? ::read(descriptor.number(), content.data(), content.size()) : -1;
  if (count != static_cast<ssize_t>(content.size())) {
    core::cleanse(content);
    return std::nullopt;
  }
  return core::Secret(std::move(content));
}

/// Two lines: when it expires, in milliseconds since 1970, and the token.
std::optional<CachedToken> parse(std::string_view content) {
  const std::size_t lineEnd = content.find('\n');
  if (lineEnd == std::string_view::npos || !content.ends_with('\n')) return std::nullopt;
  core::Duration::rep expiresMs = 0;
  const char* end = content.data() + lineEnd;
  const auto [parsed, error] = std::from_chars(content.data(), end, expiresMs);
  if (error != std::errc{} || parsed != end) return std::nullopt;
  const std::string_view token = content.substr(lineEnd + 1, content.size() - lineEnd - 2);
  if (token.empty() || token.find_first_of("\r\n") != std::string_view::npos) return std::nullopt;
  return CachedToken{core::Secret(std::string(token)), core::TimePoint(core::Duration(expiresMs))};
}

}  // namespace

std::string digestOf(const std::vector<std::string_view>& texts) {
  core::Sha256 digest;
  for (const std::string_view text : texts) {
    digest.update(std::to_string(text.size()) + ":");
    digest.update(text);
  }
  return digest.finish();
}

TokenCache::TokenCache(fs::path directory, const std::vector<std::string_view>& identity, core::Log& log)
    : directory_(std::move(directory)), log_(log) {
  if (!directory_.empty()) file_ = directory_ / digestOf(identity);
}

bool TokenCache::isUsable() const {
  if (directory_.empty()) return false;
  struct stat facts {};
  if (::stat(directory_.c_str(), &facts) != 0) return false;
  const bool ours = S_ISDIR(facts.st_mode) && facts.st_uid == ::geteuid() && (facts.st_mode & 0022U) == 0;
  if (!ours) {
    log_.write(core::LogLevel::warning, "token_cache",
               {{"reason", "not used: the folder is not this user's alone"}, {"path", directory_.string()}});
  }
  return ours;
}

std::optional<CachedToken> TokenCache::load() const {
  if (!isUsable()) return std::nullopt;
  const std::optional<core::Secret> content = readPrivateFile(file_);
  if (!content) return std::nullopt;
  return parse(content->reveal());
}

void TokenCache::store(const CachedToken& token) const {
  if (directory_.empty()) return;
  try {
    makePrivateFolder(directory_);
    if (!isUsable()) return;
    const core::Secret content(std::to_string(token.expiresAt.time_since_epoch().count()) + "\n" +
                               std::string(token.token.reveal()) + "\n");
    core::writeFileAtomically(core::diskFileSystem(), file_, content.reveal(), 0600);
  } catch (const core::Error& error) {
    log_.write(core::LogLevel::debug, "token_cache", {{"reason", error.what()}});
  }
}

void TokenCache::forget(const core::Secret& token) const {
  const std::optional<CachedToken> cached = load();
  if (!cached || cached->token.reveal() != token.reveal()) return;
  std::error_code ignored;
  fs::remove(file_, ignored);
}

}  // namespace caiexport::platform
