#include "token_cache.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <system_error>

#include "caiexport/core/descriptors.h"
#include "caiexport/core/digest.h"
#include "caiexport/core/error.h"
#include "caiexport/core/file_system.h"
#include "caiexport/core/log.h"
#include "caiexport/core/ownership.h"
#include "caiexport/core/text.h"

namespace caiexport::platform {
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
