#include "caiexport/core/ownership.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <optional>
#include <string>

#include "caiexport/core/descriptors.h"
#include "caiexport/core/error.h"
#include "caiexport/core/file_system.h"
#include "caiexport/core/text.h"

namespace caiexport::core {
namespace {

namespace fs = std::filesystem;

bool isOurs(uid_t owner) {
  return owner == ::geteuid();
}

bool isTrusted(uid_t owner) {
  return isOurs(owner) || owner == 0;
}

/// What stands at the path, behind links; nothing where there is nothing.
std::optional<struct stat> factsOf(const fs::path& path, std::string_view what) {
  struct stat facts {};
  if (::stat(path.c_str(), &facts) == 0) return facts;
  if (errno == ENOENT || errno == ENOTDIR) return std::nullopt;
  throwIoError("use " + std::string(what), path, errno);
}

/// A link that somebody else put there leads where that one wants, now or later.
bool isForeignLink(const fs::path& path) {
  struct stat facts {};
  return ::lstat(path.c_str(), &facts) == 0 && S_ISLNK(facts.st_mode) && !isTrusted(facts.st_uid);
}

[[noreturn]] void refuse(Category category, std::string_view doing, std::string_view what, const fs::path& path,
                         const std::string& reason, const std::string& hint) {
  throw Error(category,
              "cannot " + std::string(doing) + " " + std::string(what) + " " + printable(path.string()) + ": " + reason,
              {.hint = hint});
}

constexpr const char* kForeign = "it belongs to another user";
constexpr const char* kForeignHint = "name a file of your own, or run the command as its owner";

}  // namespace

void requireOwnFile(const fs::path& path, std::string_view what) {
  const auto no = [&](const std::string& reason) { refuse(Category::io, "use", what, path, reason, kForeignHint); };
  if (isForeignLink(path)) no("it is a link that another user made");
  const auto facts = factsOf(path, what);
  if (!facts) return;
  if (!S_ISREG(facts->st_mode)) no(S_ISDIR(facts->st_mode) ? "it is a folder" : "it is no regular file");
  if (!isOurs(facts->st_uid)) no(kForeign);
}

void requireTrusted(const fs::path& path, std::string_view what) {
  const auto no = [&](const std::string& reason, const std::string& hint) {
    refuse(Category::config, "use", what, path, reason, hint);
  };
  if (isForeignLink(path)) no("it is a link that another user made", kForeignHint);
  const auto facts = factsOf(path, what);
  if (!facts) return;
  if (!isTrusted(facts->st_uid)) no(kForeign, kForeignHint);
  if (S_ISREG(facts->st_mode) && (facts->st_mode & S_IWOTH) != 0) {
    no("everybody may write to it", "chmod 600 " + printable(path.string()));
  }
}

void makePrivate(const fs::path& path, unsigned kept) {
  struct stat facts {};
  if (::stat(path.c_str(), &facts) != 0 || !isOurs(facts.st_uid)) return;
  const mode_t wanted = facts.st_mode & 07777U & ~(mode_t{0077} & ~mode_t{kept});
  if (wanted != (facts.st_mode & 07777U)) static_cast<void>(::chmod(path.c_str(), wanted));
}

int openToAppend(const fs::path& path, std::string_view what) {
  const auto no = [&](const std::string& reason) {
    refuse(Category::io, "open", what, path, reason, "name another file, in a folder that is yours");
  };
  // O_NONBLOCK: opening a pipe that nobody reads would wait for ever.
  Descriptor descriptor(
      ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0600));
  if (!descriptor.valid()) {
    const int error = errno;
    std::error_code ignored;
    if (error == ELOOP && fs::is_symlink(path, ignored)) no("it is a link");
    // open(2): a pipe without a reader, a socket.
    if (error == ENXIO) no("it is no regular file");
    throwIoError("open " + std::string(what), path, error);
  }
  struct stat facts {};
  if (::fstat(descriptor.number(), &facts) != 0) throwIoError("open " + std::string(what), path, errno);
  if (!S_ISREG(facts.st_mode)) no("it is no regular file");
  if (!isOurs(facts.st_uid)) no(kForeign);
  if (facts.st_nlink > 1) no("it is known by another name too (a hard link)");
  return descriptor.release();
}

}  // namespace caiexport::core
