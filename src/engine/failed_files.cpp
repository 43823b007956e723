#include "caiexport/engine/failed_files.h"

#include <map>
#include <span>

#include "caiexport/core/error.h"
#include "caiexport/core/file_lock.h"
#include "caiexport/core/file_system.h"
#include "caiexport/core/text.h"
#include "caiexport/json/document.h"
#include "caiexport/json/writer.h"
#include "file_feed.h"
#include "folders.h"
#include "steps.h"

namespace caiexport::engine {
namespace {

namespace fs = std::filesystem;
using core::Category;
using core::Error;
using platform::FailureFile;

/// Part of the names of incomplete files.
constexpr const char* kPartTag = "failed";
constexpr std::uint64_t kLongestRecord = 64U << 20U;

/// Paths below the folder that are ours, with the SHA-256 of those that are whole.
using Known = std::map<std::string, std::string>;

[[noreturn]] void throwForeign(const fs::path& path) {
  throw Error(Category::io, "'" + core::printable(path.string()) + "' is there already and was not written by `failed`",
              {.hint = "move it away, or choose another --output"});
}

Known readRecord(const fs::path& file, const model::BatchId& batch) {
  std::error_code ignored;
  const auto type = fs::symlink_status(file, ignored).type();
  if (type == fs::file_type::not_found) return {};
  if (type != fs::file_type::regular) throwForeign(file);
  const auto parsed = json::Document::parse(core::readFile(file, kLongestRecord));
  if (!parsed.document) throwForeign(file);
  const json::Document& document = *parsed.document;
  const auto textOf = [&](json::Document::Index object, std::string_view name) {
    const auto found = document.member(object, name);
    const bool isText = found != 0 && document.kind(found) == json::Kind::text;
    return isText ? std::string(document.text(found)) : std::string();
  };
  if (document.kind(0) != json::Kind::object || textOf(0, "batch_id") != batch.value()) throwForeign(file);
  Known known;
  const auto list = document.member(0, "files");
  if (list == 0 || document.kind(list) != json::Kind::array) return known;
  for (const auto entry : document.elements(list)) {
    if (document.kind(entry) == json::Kind::object) known[textOf(entry, "name")] = textOf(entry, "sha256");
  }
  return known;
}

void writeRecord(core::FileSystem& files, const fs::path& file, const model::DatasetId& dataset,
                 const platform::FailedBatch& batch, const std::vector<FailureFile>& listed, const Known& known) {
  std::string text;
  json::Writer json(text);
  json.beginObject();
  json.key("dataset_id").value(dataset.value());
  json.key("batch_id").value(batch.id.value());
  json.key("status").value(batch.status);
  json.key("created").value(core::formatTime(batch.created));
  json.key("errors").beginLines();
  for (const platform::BatchError& error : batch.errors) writeReason(json, error);
  json.endArray();
  json.key("files").beginLines();
  for (const FailureFile& one : listed) {
    const auto sum = known.find(one.path);
    json.beginObject();
    json.key("name").value(one.path);
    json.key("bytes").value(one.remote.lengthBytes);
    json.key("sha256").textOrNull(sum == known.end() ? "" : sum->second);
    json.endObject();
  }
  json.endArray();
  json.endObject();
  text += '\n';
  // Left by a process that was killed while it wrote: the folder is locked, so nobody else is at it.
  const fs::path part = transfer::partPathFor(file, kPartTag);
  files.remove(part);
  const std::unique_ptr<core::WritableFile> out = files.create(part);
  if (!out) throwForeign(part);
  out->writeAt(0, std::as_bytes(std::span(text)));
  out->sync();
  files.rename(part, file);
  files.syncDirectory(file.parent_path());
}

/// A link in place of one of our folders would take the data elsewhere.
void refuseLinksAbove(const fs::path& folder, const std::string& path) {
  fs::path at = folder;
  for (const fs::path& part : fs::path(path).parent_path()) {
    at /= part;
    refuseLink(at);
  }
}

class Feed final : public transfer::ItemFeed {
 public:
  Feed(const fs::path& folder, const std::vector<FailureFile>& listed, const Known& known)
      : folder_(folder), listed_(listed), known_(known) {}

  std::optional<transfer::DownloadItem> next() override {
    if (at_ == listed_.size()) return std::nullopt;
    const FailureFile& file = listed_[at_];
    transfer::DownloadItem item{.key = static_cast<std::int64_t>(at_),
                                .remote = file.remote,
                                .target = folder_ / file.path,
                                .partTag = kPartTag,
                                .replaces = false};
    if (const auto ours = known_.find(file.path); ours != known_.end()) {
      item.replaces = true;
      item.existingSha256 = ours->second;
    }
    ++at_;
    return item;
  }

 private:
  const fs::path& folder_;
  const std::vector<FailureFile>& listed_;
  const Known& known_;
  std::size_t at_ = 0;
};

class Recorder final : public transfer::Observer {
 public:
  explicit Recorder(const std::vector<FailureFile>& listed) : listed_(listed) {}

  void rangesOnDisk(std::int64_t, std::span<const model::ByteRange>, const model::PartFacts&) override {}
  void completed(std::vector<transfer::Completion> files) override {
    for (transfer::Completion& file : files) {
      whole[listed_[static_cast<std::size_t>(file.key)].path] = std::move(file.sha256);
      if (!file.transferred) ++kept;
    }
  }
  void failed(std::int64_t, const Error&) override {}
  void restarted(std::int64_t, const std::string&) override {}

  Known whole;
  std::uint64_t kept = 0;

 private:
  const std::vector<FailureFile>& listed_;
};

void requireAllFetched(const transfer::DownloadSummary& summary, std::size_t listed) {
  if (!summary.firstError) return;
  const Error& first = *summary.firstError;
  const bool wrong = first.category() == Category::verification || first.category() == Category::protocol ||
                     first.category() == Category::io;
  throw Error(wrong ? first.category() : Category::unavailable,
              std::to_string(summary.failed) + " of " + std::to_string(listed) +
                  " files could not be downloaded; the first: " + first.what(),
              {.requestId = first.requestId(),
               .hint = first.hint().empty() ? "the same command fetches the rest" : first.hint()});
}

}  // namespace

void writeReason(json::Writer& json, const platform::BatchError& error) {
  json.beginObject();
  json.key("code").textOrNull(error.code);
  json.key("description").textOrNull(error.description);
  json.key("rows").beginArray();
  for (const std::string& row : error.rows) json.value(row);
  json.endArray();
  json.endObject();
}

fs::path failureFolder(const fs::path& output, const model::DatasetId& dataset, const model::BatchId& batch) {
  batchFolder(output, model::Layout::plain, dataset, batch);  // refuses ids that can't be folders
  return output / (dataset.value() + ".failed") / batch.value();
}

FetchedFailure fetchFailure(const FailureTools& tools, const platform::FailedBatch& batch,
                            const model::DatasetId& dataset, const fs::path& output, std::stop_token stop) {
  const fs::path folder = failureFolder(output, dataset, batch.id);
  const std::vector<FailureFile> listed = tools.client.listFailureFiles(batch.id, stop);
  tools.files.createDirectories(folder);
  refuseLink(folder.parent_path());
  refuseLink(folder);
  const core::DirectoryLock lock(folder);
  const fs::path record = folder / kFailureRecordName;
  Known known = readRecord(record, batch.id);
  for (const FailureFile& file : listed) {
    refuseLinksAbove(folder, file.path);
    std::error_code ignored;
    const bool there = fs::exists(fs::symlink_status(folder / file.path, ignored));
    if (there && !known.contains(file.path)) throwForeign(folder / file.path);
  }
  // From here on what lies under these names is ours.
  writeRecord(tools.files, record, dataset, batch, listed, known);

  Recorder recorder(listed);
  Feed feed(folder, listed, known);
  PlatformSource source(tools.client);
  transfer::Downloader downloader(source, tools.files, tools.clock, tools.random, tools.log, tools.download);
  transfer::DownloadProgress progress;
  const auto recordWhole = [&] {
    Known now = known;
    for (const auto& [path, sum] : recorder.whole) now[path] = sum;
    writeRecord(tools.files, record, dataset, batch, listed, now);
  };
  transfer::DownloadSummary summary;
  try {
    summary = downloader.run(feed, recorder, progress, stop);
  } catch (const Error&) {
    recordWhole();
    throw;
  }
  recordWhole();
  requireAllFetched(summary, listed.size());
  FetchedFailure fetched{.folder = folder, .files = listed.size(), .kept = recorder.kept};
  for (const FailureFile& file : listed) fetched.bytes += file.remote.lengthBytes;
  return fetched;
}

}  // namespace caiexport::engine
