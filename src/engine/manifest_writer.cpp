#include "manifest_writer.h"

#include <Poco/JSON/Array.h>
#include <Poco/JSON/Object.h>

#include <sstream>

#include "caiexport/core/file_system.h"
#include "caiexport/core/text.h"
#include "caiexport/store/job_store.h"
#include "steps.h"

namespace caiexport::engine {
namespace {

using Poco::JSON::Object;

Object entryOf(const model::FileRecord& file) {
  Object entry(Poco::JSON_PRESERVE_KEY_ORDER);
  entry.set("name", file.path);
  entry.set("dataset_file_id", file.remote.datasetFileId.value());
  entry.set("bytes", file.remote.lengthBytes);
  entry.set("sha256", file.sha256);
  entry.set("records", file.records ? Poco::Dynamic::Var(*file.records) : Poco::Dynamic::Var());
  return entry;
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

}  // namespace

void writeManifest(const model::Job& job, const model::Batch& batch, store::JobStore& store, core::FileSystem& files) {
  constexpr std::size_t kPage = 1000;
  std::ostringstream entries;
  std::uint64_t bytes = 0;
  std::optional<std::uint64_t> records = 0;
  std::string separator;
  for (std::int64_t last = 0;;) {
    const std::vector<model::FileRecord> page = store.files(job.id, last, kPage, {});
    if (page.empty()) break;
    last = page.back().id;
    for (const model::FileRecord& file : page) {
      if (file.remote.batchId != batch.id) continue;
      bytes += file.remote.lengthBytes;
      records = records && file.records ? std::optional(*records + *file.records) : std::nullopt;
      entries << separator << "\n  ";
      entryOf(file).stringify(entries);
      separator = ",";
    }
  }
  Object head(Poco::JSON_PRESERVE_KEY_ORDER);
  head.set("job", model::numberOf(job.id));
  head.set("dataset_id", job.datasetId.value());
  head.set("batch_id", batch.id.value());
  head.set("batch_created", core::formatTime(batch.created));
  Poco::JSON::Array replaces;
  for (const model::BatchId& id : batch.predecessors) replaces.add(id.value());
  head.set("replaces", replaces);
  head.set("records", records ? Poco::Dynamic::Var(*records) : Poco::Dynamic::Var());
  head.set("bytes", bytes);
  std::ostringstream text;
  head.stringify(text);
  // The list is written piece by piece: a DOM of 100,000 files would take more memory than the whole run.
  std::string document = text.str();
  document.pop_back();
  document += ",\"files\": [" + entries.str() + "\n]}\n";
  const std::filesystem::path folder = folderOf(job, batch.id);
  removeLeftovers(folder, files);
  core::writeFileAtomically(files, folder / "manifest.json", document);
}

}  // namespace caiexport::engine
