#include "verify_check.h"

#include <algorithm>
#include <set>
#include <utility>

#include "caiexport/core/error.h"
#include "caiexport/core/file_system.h"
#include "caiexport/core/text.h"
#include "caiexport/engine/manifest.h"
#include "caiexport/transfer/downloader.h"

namespace caiexport::cli {

namespace fs = std::filesystem;
using core::Category;
using core::Error;

std::string_view nameOf(Difference difference) {
  switch (difference) {
    case Difference::missing:
      return "missing";
    case Difference::changed:
      return "changed";
    case Difference::foreign:
      return "foreign";
  }
  return "changed";
}

VerifyCheck::VerifyCheck(OpenReader openReader, std::function<void(std::uint64_t)> progress, std::stop_token stop,
                         Look look)
    : openReader_(std::move(openReader)), progress_(std::move(progress)), stop_(std::move(stop)), look_(look) {}

void VerifyCheck::add(const ExpectedBatch& batch, const fs::path& path, Difference difference, std::string detail,
                      std::int64_t file) {
  report_.problems.push_back(
      {.path = path, .batchId = batch.batchId, .difference = difference, .detail = std::move(detail), .file = file});
}

void VerifyCheck::check(const ExpectedBatch& batch) {
  tables_ = {};
  if (look_ == Look::contents) {
    for (const ExpectedFile& file : batch.files) tables_.note(batch.folder / file.path, file.place);
  }
  std::uint64_t counted = 0;
  std::uint64_t tables = 0;
  bool wrong = false;
  const std::size_t uncountedBefore = report_.notCounted.size();
  for (const ExpectedFile& file : batch.files) {
    if (stop_.stop_requested()) throw core::Interrupted();
    const fs::path path = batch.folder / file.path;
    std::optional<std::uint64_t> rows;
    if (fs::symlink_status(path).type() == fs::file_type::not_found) {
      add(batch, path, Difference::missing, "", file.id);
      wrong = true;
    } else if (std::string detail = differenceOf(path, file, rows); !detail.empty()) {
      add(batch, path, Difference::changed, std::move(detail), file.id);
      wrong = true;
    }
    if (rows) {
      counted += *rows;
      ++tables;
    }
    progress_(++report_.files);
  }
  // A file that is no table does not excuse the others; one that is wrong is told already.
  const bool all = tables > 0 || report_.notCounted.size() == uncountedBefore;
  if (look_ == Look::contents && !wrong && all && batch.records && counted != *batch.records) {
    add(batch, batch.folder, Difference::changed,
        "the batch was promised with " + std::to_string(*batch.records) + " records, its files hold " +
            std::to_string(counted));
  }
  findForeign(batch);
}

std::string VerifyCheck::differenceOf(const fs::path& path, const ExpectedFile& file,
                                      std::optional<std::uint64_t>& rows) {
  const std::optional<std::uint64_t> bytes = core::diskFileSystem().sizeOf(path);
  if (!bytes) return "it is no regular file any more";
  report_.bytes += *bytes;
  if (*bytes != file.bytes) {
    return "it has " + std::to_string(*bytes) + " bytes, not " + std::to_string(file.bytes);
  }
  if (look_ == Look::sizes) return "";
  if (!file.sha256.empty()) {
    const std::string hash = transfer::sha256OfFile(path, stop_);
    if (hash != file.sha256) return "its SHA-256 is " + hash + ", not " + file.sha256;
  }
  // What was counted once is a table, whatever it is now.
  const reader::Content content = file.records ? reader::Content::table : tables_.contentOf(path, file.place);
  if (content == reader::Content::table) {
    std::string detail = wrongRows(path, file, rows);
    // Its bytes are those that were recorded, by a job that counted no rows (`--verify size`): it never was a table.
    const bool neverCounted = !rows && !file.records && !file.sha256.empty();
    if (!neverCounted) return detail;
  }
  if (content != reader::Content::marker) report_.notCounted.push_back(path);
  return "";
}

std::string VerifyCheck::wrongRows(const fs::path& path, const ExpectedFile& file, std::optional<std::uint64_t>& rows) {
  if (!reader_) reader_ = openReader_();
  try {
    rows = reader_->inspect(path, reader::Depth::footer, stop_).rows;
  } catch (const Error& error) {
    if (error.category() != Category::verification) throw;
    return error.what();
  }
  report_.records += *rows;
  if (!file.records || *rows == *file.records) return "";
  return "it holds " + std::to_string(*rows) + " records, not " + std::to_string(*file.records);
}

void VerifyCheck::findForeign(const ExpectedBatch& batch) {
  std::error_code error;
  if (!fs::is_directory(batch.folder, error)) return;
  std::set<std::string> expected{engine::kManifestName};
  for (const ExpectedFile& file : batch.files) expected.insert(file.path);
  std::vector<fs::path> foreign;
  fs::recursive_directory_iterator entries(batch.folder, error);
  for (; !error && entries != fs::recursive_directory_iterator(); entries.increment(error)) {
    const bool folder = entries->is_directory(error) && !entries->is_symlink(error);
    if (engine::isPassedOver(entries->path())) {
      if (folder) entries.disable_recursion_pending();
    } else if (!folder && expected.erase(entries->path().lexically_relative(batch.folder).string()) == 0) {
      foreign.push_back(entries->path());
    }
  }
  dropRenamed(foreign, batch, expected);
  if (error) core::throwIoError("read the folder", batch.folder, error.value());
  std::ranges::sort(foreign);
  for (const fs::path& path : foreign) add(batch, path, Difference::foreign, "");
}

/// Some file systems keep names as they like: in small letters, or with accents as letters of their own. A file that is
/// found under its recorded name is the one that is listed under another.
void VerifyCheck::dropRenamed(std::vector<fs::path>& foreign, const ExpectedBatch& batch,
                              const std::set<std::string>& notListed) {
  if (foreign.empty()) return;
  core::FileSystem& files = core::diskFileSystem();
  std::set<std::pair<std::uint64_t, std::uint64_t>> recorded;
  for (const std::string& name : notListed) {
    if (const auto there = files.identityOf(batch.folder / name)) recorded.emplace(there->device, there->inode);
  }
  // Once each: a second name of the same file is foreign.
  std::erase_if(foreign, [&](const fs::path& path) {
    const auto identity = files.identityOf(path);
    return identity && recorded.erase({identity->device, identity->inode}) > 0;
  });
}

}  // namespace caiexport::cli
