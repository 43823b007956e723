#include "caiexport/engine/manifest.h"

#include <algorithm>
#include <limits>
#include <memory>
#include <span>
#include <string_view>

#include "caiexport/core/error.h"
#include "caiexport/core/file_system.h"
#include "caiexport/core/text.h"
#include "caiexport/core/version.h"
#include "caiexport/json/document.h"
#include "caiexport/json/writer.h"
#include "caiexport/store/job_store.h"
#include "caiexport/transfer/downloader.h"
#include "folders.h"

namespace caiexport::engine {
namespace {

namespace fs = std::filesystem;
using core::Category;
using core::Error;
using json::Document;
using json::Kind;

[[noreturn]] void throwBroken(const fs::path& file, const std::string& what) {
  throw Error(Category::verification, core::printable(file.string()) + " is broken: " + what);
}

/// One object of the text.
class Entry {
 public:
  Entry(const Document& document, Document::Index at) : document_(document), at_(at) {}

  /// 0: there is none of that kind.
  Document::Index member(std::string_view name, Kind kind) const {
    const Document::Index found = document_.member(at_, name);
    return found != 0 && document_.kind(found) == kind ? found : 0;
  }
  std::string text(std::string_view name) const {
    const Document::Index found = member(name, Kind::text);
    return found != 0 ? std::string(document_.text(found)) : std::string();
  }
  /// Nothing for what is below zero, or no whole number, or does not fit.
  std::optional<std::uint64_t> number(std::string_view name) const {
    if (const Document::Index found = member(name, Kind::natural)) return document_.natural(found);
    const Document::Index found = member(name, Kind::integer);
    if (found == 0 || document_.integer(found) < 0) return std::nullopt;
    return static_cast<std::uint64_t>(document_.integer(found));
  }

 private:
  const Document& document_;
  Document::Index at_;
};

bool staysInFolder(const fs::path& path) {
  return !path.empty() && path.is_relative() &&
         std::ranges::none_of(path, [](const fs::path& part) { return part == ".." || part.empty(); });
}

ManifestFile fileFrom(const Entry& entry, const fs::path& file) {
  const std::optional<std::uint64_t> bytes = entry.number("bytes");
  // Up to version 0.1.0 the name was the path.
  ManifestFile read{.path = entry.text(entry.member("path", Kind::text) != 0 ? "path" : "name"),
                    .bytes = bytes.value_or(0),
                    .sha256 = entry.text("sha256"),
                    .records = entry.number("records"),
                    .datasetFileId = entry.text("dataset_file_id")};
  if (!bytes) throwBroken(file, "a file has no size");
  if (!staysInFolder(read.path))
    throwBroken(file, "'" + core::printable(read.path, 80) + "' is not the name of a file in its folder");
  return read;
}

std::vector<model::BatchId> idsIn(const Document& document, Document::Index list) {
  std::vector<model::BatchId> ids;
  if (list == 0) return ids;
  for (const Document::Index id : document.elements(list)) {
    if (document.kind(id) != Kind::text) continue;
    std::string text(document.text(id));
    if (model::isWellFormedId(text)) ids.emplace_back(std::move(text));
  }
  return ids;
}

Manifest read(const Document& document, const fs::path& file) {
  const Entry top(document, 0);
  constexpr auto kMostJobs = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  Manifest manifest{.folder = file.parent_path(),
                    .job = static_cast<std::int64_t>(std::min(top.number("job").value_or(0), kMostJobs)),
                    .datasetId = top.text("dataset_id"),
                    .batchId = top.text("batch_id"),
                    .created = core::parseTime(top.text("batch_created"), {}),
                    .replaces = idsIn(document, top.member("replaces", Kind::array)),
                    .records = top.number("records"),
                    .files = {}};
  const Document::Index files = top.member("files", Kind::array);
  if (files == 0) throwBroken(file, "it has no list of files");
  for (const Document::Index entry : document.elements(files)) {
    if (document.kind(entry) != Kind::object) throwBroken(file, "an entry of its list is no object");
    manifest.files.push_back(fileFrom({document, entry}, file));
  }
  return manifest;
}

void collect(const fs::path& folder, int levels, std::vector<fs::path>& found) {
  std::error_code error;
  if (manifestIn(folder)) {
    found.push_back(folder);
    return;
  }
  if (levels == 0) return;
  fs::directory_iterator entries(folder, error);
  if (error) core::throwIoError("read the folder", folder, error.value());
  for (const fs::directory_entry& entry : entries) {
    const bool latest = isLatest(entry.path()) && entry.is_symlink(error);
    if (entry.is_directory(error) && !latest && !isPassedOver(entry.path())) collect(entry.path(), levels - 1, found);
  }
}

}  // namespace

Manifest parseManifest(const std::string& text, const fs::path& file) {
  // A batch may have more files than an answer of the platform has values.
  const Document::Parsed parsed = Document::parse(text, {.levels = 16, .values = 20'000'000});
  switch (parsed.problem) {
    case Document::Problem::none:
      break;
    case Document::Problem::malformed:
      throwBroken(file, "it is not JSON, or it is cut");
    case Document::Problem::tooDeep:
    case Document::Problem::tooManyValues:
      throwBroken(file, "it is too large or too deep for a manifest");
  }
  if (parsed.document->kind(0) != Kind::object) throwBroken(file, "it is no object");
  return read(*parsed.document, file);
}

Manifest readManifest(const fs::path& folder) {
  // Of about a million files.
  constexpr std::uint64_t kMostBytes = 256U << 20U;
  const fs::path file = manifestIn(folder).value_or(folder / kManifestName);
  const std::string text = core::readRegularFile(file, kMostBytes + 1);
  if (text.size() > kMostBytes) throwBroken(file, "it is larger than " + core::formatBytes(kMostBytes));
  return parseManifest(text, file);
}

namespace {

std::optional<Manifest> headOf(const fs::path& file) {
  // The writer puts the list of files last.
  constexpr std::string_view kList = "\"files\":";
  constexpr std::size_t kLongestHead = 1U << 16U;
  try {
    const std::string head = core::readRegularFile(file, kLongestHead);
    const std::size_t list = head.find(kList);
    if (list == head.npos) return std::nullopt;
    return parseManifest(head.substr(0, list) + "\"files\": []}", file);
  } catch (const Error&) {
    return std::nullopt;
  }
}

}  // namespace

std::optional<Manifest> manifestHead(const fs::path& folder) {
  const std::optional<fs::path> file = manifestIn(folder);
  return file ? headOf(*file) : std::nullopt;
}

std::vector<fs::path> foldersWithManifest(const fs::path& folder) {
  // OUTPUT/<dataset id>/<batch id>
  constexpr int kLevels = 2;
  std::vector<fs::path> found;
  collect(folder, kLevels, found);
  std::ranges::sort(found);
  return found;
}

namespace {

using Sums = store::JobStore::BatchSums;

void writeEntry(json::Writer& json, const store::JobStore::BatchFile& file) {
  json.beginObject();
  json.key("path").value(file.path);
  json.key("name").value(file.name);
  json.key("dataset_file_id").value(file.datasetFileId);
  json.key("bytes").value(file.lengthBytes);
  json.key("sha256").value(file.sha256);
  json.key("records").value(file.records);
  json.endObject();
}

constexpr std::size_t kPage = 1000;

std::unique_ptr<core::WritableFile> newFile(const std::filesystem::path& path, core::FileSystem& files) {
  std::unique_ptr<core::WritableFile> file = files.create(path);
  if (file) return file;
  throw core::Error(core::Category::io,
                    "cannot create " + core::printable(path.string()) + ": a file of that name has just appeared",
                    {.hint = "make sure that nothing else writes there, then run it again"});
}

void writeHead(json::Writer& json, const model::Job& job, const model::Batch& batch, const Sums& sums) {
  json.key("version").value(core::programVersion());
  json.key("job").value(model::numberOf(job.id));
  json.key("dataset_id").value(job.datasetId.value());
  json.key("batch_id").value(batch.id.value());
  json.key("batch_created").value(core::formatTime(batch.created));
  json.key("replaces").beginArray();
  for (const model::BatchId& id : batch.predecessors) json.value(id.value());
  json.endArray();
  json.key("records").value(sums.records);
  json.key("bytes").value(sums.bytes);
}

/// Text of any length into a new file, through a small buffer.
class Appender {
 public:
  explicit Appender(std::unique_ptr<core::WritableFile> file) : file_(std::move(file)) {}

  void add(std::string_view text) {
    waiting_ += text;
    if (waiting_.size() >= kTogetherBytes) flush();
  }
  /// Nothing may be added afterwards.
  void finish() {
    flush();
    file_->sync();
  }

 private:
  static constexpr std::size_t kTogetherBytes = 64U << 10U;

  void flush() {
    file_->writeAt(writtenBytes_, std::as_bytes(std::span(waiting_)));
    writtenBytes_ += waiting_.size();
    waiting_.clear();
  }

  std::unique_ptr<core::WritableFile> file_;
  std::uint64_t writtenBytes_ = 0;
  std::string waiting_;
};

/// The list is written piece by piece: with 100,000 files its text would take more memory than the whole run.
void writeEntries(const model::Job& job, const model::Batch& batch, store::JobStore& store, Appender& out) {
  const Sums sums = store.sumsOf(job.id, batch.id);
  json::Writer json([&out](std::string_view piece) { out.add(piece); }, json::Spacing::compact);
  json.beginObject();
  writeHead(json, job, batch, sums);
  // Last, so that manifestHead() finds the rest before it.
  json.key("files").beginLines();
  for (std::int64_t last = sums.firstFile - 1; last < sums.lastFile;) {
    const auto page = store.filesOfBatch(job.id, batch.id, last, kPage);
    if (page.empty()) break;
    last = page.back().file;
    for (const store::JobStore::BatchFile& file : page) writeEntry(json, file);
  }
  json.endArray();
  json.endObject();
  out.add("\n");
}

}  // namespace

namespace {

bool isManifestOf(const std::optional<Manifest>& manifest, const model::Job& job, const model::BatchId& batch) {
  return manifest && manifest->datasetId == job.datasetId.value() && manifest->batchId == batch.value();
}

/// With the new one in place the batch needs it no more. Somebody else's file of that name stays.
void removeOldManifest(const fs::path& folder, const model::Job& job, const model::BatchId& batch,
                       core::FileSystem& files) {
  const fs::path old = folder / kOldManifestName;
  if (!files.sizeOf(old) || !isManifestOf(headOf(old), job, batch)) return;
  files.remove(old);
  files.syncDirectory(folder);
}

}  // namespace

void requireOwnManifest(const model::Job& job, const model::BatchId& batch) {
  const std::filesystem::path file = folderOf(job, batch) / kManifestName;
  std::error_code ignored;
  const auto type = std::filesystem::symlink_status(file, ignored).type();
  if (type == std::filesystem::file_type::not_found || job.request.force) return;
  if (type == std::filesystem::file_type::regular) {
    if (isManifestOf(headOf(file), job, batch)) return;
  }
  throw core::Error(core::Category::io,
                    "'" + core::printable(file.string()) + "' is there already and is not the manifest of this batch",
                    {.hint = "move it away, choose another --output, or overwrite it with --force"});
}

void writeManifest(const model::Job& job, const model::Batch& batch, store::JobStore& store, core::FileSystem& files) {
  requireOwnManifest(job, batch.id);
  const std::filesystem::path folder = folderOf(job, batch.id);
  const std::filesystem::path part = transfer::partPathFor(folder / kManifestName, transfer::partTagOf(job.uuid));
  // Left by a process that was killed while it wrote: by its name it is ours.
  files.remove(part);
  try {
    Appender out(newFile(part, files));
    writeEntries(job, batch, store, out);
    out.finish();
  } catch (const core::Error&) {
    files.remove(part);
    throw;
  }
  files.rename(part, folder / kManifestName);
  files.syncDirectory(folder);
  removeOldManifest(folder, job, batch.id, files);
  markWhole(folder, files);
}

}  // namespace caiexport::engine
