#include "caiexport/core/version.h"
#include "caiexport/engine/manifest.h"

#include <memory>
#include <span>
#include <string_view>

#include "caiexport/core/error.h"
#include "caiexport/core/file_system.h"
#include "caiexport/core/text.h"
#include "caiexport/json/writer.h"
#include "caiexport/store/job_store.h"
#include "caiexport/transfer/downloader.h"
#include "folders.h"

namespace caiexport::engine {
namespace {

using Sums = store::JobStore::BatchSums;

void writeEntry(json::Writer& json, const model::FileRecord& file) {
  json.beginObject();
  json.key("name").value(file.path);
  json.key("dataset_file_id").value(file.remote.datasetFileId.value());
  json.key("bytes").value(file.remote.lengthBytes);
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
    // Other batches' files lie between and behind them: of many small batches each would read a page full of those.
    const auto most = std::min<std::size_t>(kPage, static_cast<std::size_t>(sums.lastFile - last));
    const std::vector<model::FileRecord> page = store.files(job.id, last, most, {});
    if (page.empty()) break;
    last = page.back().id;
    for (const model::FileRecord& file : page) {
      if (file.remote.batchId == batch.id) writeEntry(json, file);
    }
  }
  json.endArray();
  json.endObject();
  out.add("\n");
}

}  // namespace

void requireOwnManifest(const model::Job& job, const model::BatchId& batch) {
  const std::filesystem::path file = folderOf(job, batch) / kManifestName;
  std::error_code ignored;
  const auto type = std::filesystem::symlink_status(file, ignored).type();
  if (type == std::filesystem::file_type::not_found || job.request.force) return;
  if (type == std::filesystem::file_type::regular) {
    const std::optional<Manifest> there = manifestHead(file.parent_path());
    if (there && there->datasetId == job.datasetId.value() && there->batchId == batch.value()) return;
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
}

}  // namespace caiexport::engine
