#include "manifest_writer.h"

#include <Poco/JSON/Array.h>
#include <Poco/JSON/Object.h>
#include <Poco/JSONString.h>

#include <algorithm>
#include <memory>
#include <span>
#include <sstream>
#include <string_view>

#include "caiexport/core/error.h"
#include "caiexport/core/file_system.h"
#include "caiexport/core/text.h"
#include "caiexport/store/job_store.h"
#include "steps.h"

namespace caiexport::engine {
namespace {

using Poco::JSON::Object;
using Sums = store::JobStore::BatchSums;

/// Poco escapes letter by letter, which would be most of the work; hardly a name needs it.
std::string quoted(const std::string& text) {
  const bool plain = std::ranges::all_of(text, [](char c) { return c >= ' ' && c <= '~' && c != '"' && c != '\\'; });
  return plain ? '"' + text + '"' : Poco::toJSON(text);
}

std::string entryOf(const model::FileRecord& file) {
  std::string entry = "{\"name\":" + quoted(file.path);
  entry += ",\"dataset_file_id\":" + quoted(file.remote.datasetFileId.value());
  entry += ",\"bytes\":" + std::to_string(file.remote.lengthBytes);
  entry += ",\"sha256\":" + quoted(file.sha256);
  entry += ",\"records\":" + (file.records ? std::to_string(*file.records) : "null");
  return entry + "}";
}

/// A process that was killed while it wrote the manifest left its part. The folder is locked, so no other is at work.
void removeLeftovers(const std::filesystem::path& folder, core::FileSystem& files) {
  std::vector<std::filesystem::path> leftovers;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("manifest.json.") && name.ends_with(".part")) leftovers.push_back(entry.path());
  }
  for (const std::filesystem::path& leftover : leftovers) files.remove(leftover);
}

constexpr std::size_t kPage = 1000;

std::string headOf(const model::Job& job, const model::Batch& batch, const Sums& sums) {
  Object head(Poco::JSON_PRESERVE_KEY_ORDER);
  head.set("job", model::numberOf(job.id));
  head.set("dataset_id", job.datasetId.value());
  head.set("batch_id", batch.id.value());
  head.set("batch_created", core::formatTime(batch.created));
  Poco::JSON::Array replaces;
  for (const model::BatchId& id : batch.predecessors) replaces.add(id.value());
  head.set("replaces", replaces);
  head.set("records", sums.records ? Poco::Dynamic::Var(*sums.records) : Poco::Dynamic::Var());
  head.set("bytes", sums.bytes);
  std::ostringstream text;
  head.stringify(text);
  return text.str();
}

/// Text of any length into a new file, through a small buffer.
class Appender {
 public:
  Appender(core::FileSystem& files, const std::filesystem::path& path) : file_(files.open(path)) {}

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
  std::string head = headOf(job, batch, sums);
  head.pop_back();
  out.add(head);
  out.add(",\"files\": [");
  std::string_view separator;
  for (std::int64_t last = sums.firstFile - 1; last < sums.lastFile;) {
    const std::vector<model::FileRecord> page = store.files(job.id, last, kPage, {});
    if (page.empty()) break;
    last = page.back().id;
    for (const model::FileRecord& file : page) {
      if (file.remote.batchId != batch.id) continue;
      out.add(separator);
      out.add("\n  ");
      out.add(entryOf(file));
      separator = ",";
    }
  }
  out.add("\n]}\n");
}

}  // namespace

void writeManifest(const model::Job& job, const model::Batch& batch, store::JobStore& store, core::FileSystem& files) {
  const std::filesystem::path folder = folderOf(job, batch.id);
  removeLeftovers(folder, files);
  const std::filesystem::path part = folder / "manifest.json.new.part";
  try {
    Appender out(files, part);
    writeEntries(job, batch, store, out);
    out.finish();
  } catch (const core::Error&) {
    files.remove(part);
    throw;
  }
  files.rename(part, folder / "manifest.json");
  files.syncDirectory(folder);
}

}  // namespace caiexport::engine
