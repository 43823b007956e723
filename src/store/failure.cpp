#include "failure.h"

#include <SQLiteCpp/Exception.h>
#include <sqlite3.h>

#include <string>
#include <system_error>

#include "caiexport/core/memory.h"
#include "caiexport/core/text.h"
#include "patience.h"

namespace caiexport::store {
namespace {

using core::Category;

constexpr const char* kLocalDisk =
    "put the database on a local disk (--database FILE or CAIEXPORT_DATABASE): SQLite needs working file locks and "
    "shared memory, which many network file systems lack";

bool isAboutLocks(int extendedCode) {
  switch (extendedCode) {
    case SQLITE_IOERR_LOCK:
    case SQLITE_IOERR_UNLOCK:
    case SQLITE_IOERR_RDLOCK:
    case SQLITE_IOERR_CHECKRESERVEDLOCK:
    case SQLITE_IOERR_SHMOPEN:
    case SQLITE_IOERR_SHMSIZE:
    case SQLITE_IOERR_SHMLOCK:
    case SQLITE_IOERR_SHMMAP:
      return true;
    default:
      return (extendedCode & 0xFF) == SQLITE_PROTOCOL;
  }
}

std::string roomLeft(const std::filesystem::path& file) {
  std::error_code failed;
  const auto space = std::filesystem::space(file.parent_path(), failed);
  return failed ? std::string() : " (" + core::formatBytes(space.available) + " left)";
}

std::string hintFor(int extendedCode, const std::filesystem::path& file) {
  if (isAboutLocks(extendedCode)) return kLocalDisk;
  switch (extendedCode & 0xFF) {
    case SQLITE_FULL:
      return "free space on the disk of " + file.parent_path().string() + roomLeft(file) + ", then resume the job";
    case SQLITE_IOERR:
      return "check the disk of " + file.parent_path().string() + roomLeft(file) +
             " and any limit on the size of files";
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return "another process keeps the database locked; try again when it is done";
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_AUTH:
      return "check the permissions of the file and of its folder, both must be writable for you; or name another file "
             "with --database FILE or CAIEXPORT_DATABASE";
    case SQLITE_NOTADB:
      return "the file is something else, it was left as it is; name another file with --database FILE or "
             "CAIEXPORT_DATABASE";
    case SQLITE_CORRUPT:
      return "the file is damaged; move it away to start a new history, or save what can be saved with the sqlite3 "
             "shell's .recover";
    default:
      return {};
  }
}

}  // namespace

void throwDatabaseError(std::string_view what, const std::filesystem::path& file, const SQLite::Exception& error) {
  const int code = error.getExtendedErrorCode();
  const int primary = code & 0xFF;
  if ((primary == SQLITE_BUSY || primary == SQLITE_LOCKED) && isToStop()) throw core::Interrupted();
  // These two mean that our own SQL is wrong, not that the machine is.
  const bool ours = primary == SQLITE_CONSTRAINT || primary == SQLITE_MISUSE;
  if (primary == SQLITE_NOMEM) {
    throw core::outOfMemory("cannot " + std::string(what) + " the job database " + file.string() + ": out of memory");
  }
  throw core::Error(ours ? Category::internal : Category::io,
                    "cannot " + std::string(what) + " the job database " + file.string() + ": " + error.what(),
                    {.requestId = {}, .hint = hintFor(code, file)});
}

}  // namespace caiexport::store
