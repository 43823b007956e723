#include "caiexport/engine/delivery.h"

#include <algorithm>
#include <array>
#include <map>
#include <set>

#include "caiexport/core/error.h"
#include "caiexport/core/file_system.h"
#include "caiexport/core/text.h"
#include "caiexport/json/document.h"
#include "caiexport/json/writer.h"
#include "caiexport/transfer/downloader.h"

namespace caiexport::engine {
namespace {

namespace fs = std::filesystem;
using core::Category;
using core::Error;

constexpr const char* kLatestObject = "_latest.json";
// So much is sent before what arrived is compared and recorded.
constexpr std::size_t kMostFilesTogether = 500;
constexpr std::uint64_t kMostBytesTogether = std::uint64_t{1} << 30U;

std::string datasetAt(const model::DatasetId& dataset) {
  return datasetFolder({}, model::Layout::hive, dataset).string();
}

std::string folderAt(const model::DatasetId& dataset, const model::BatchId& batch) {
  if (!canBeFolder(dataset.value()) || !canBeFolder(batch.value())) {
    throw Error(Category::protocol, "batch '" + core::printable(batch.value(), 80) + "' of dataset '" +
                                        core::printable(dataset.value(), 80) +
                                        "' can't be delivered: such ids can't be names");
  }
  return datasetAt(dataset) + "/" + namesOf(batch).back().string();
}

std::string manifestText(const fs::path& file) {
  constexpr std::uint64_t kMostBytes = std::uint64_t{256} << 20U;
  return core::readRegularFile(file, kMostBytes);
}

std::string textIn(const json::Document& document, std::string_view name) {
  const auto found = document.kind(0) == json::Kind::object ? document.member(0, name) : 0;
  return found != 0 && document.kind(found) == json::Kind::text ? std::string(document.text(found)) : std::string();
}

struct Latest {
  std::string batch;
  std::optional<core::TimePoint> created;
};

/// Nothing for what can't be read, which is written anew.
Latest latestFrom(const std::optional<std::string>& text) {
  if (!text) return {};
  const json::Document::Parsed parsed = json::Document::parse(*text);
  if (!parsed.document) return {};
  return {.batch = textIn(*parsed.document, "batch_id"),
          .created = core::parseTime(textIn(*parsed.document, "created"), {})};
}

bool isInside(const fs::path& folder, const fs::path& outer) {
  std::error_code ignored;
  const fs::path inner = fs::weakly_canonical(folder, ignored).lexically_relative(fs::weakly_canonical(outer, ignored));
  return !inner.empty() && *inner.begin() != "..";
}

}  // namespace

/// Tries again what may pass. What is recorded by then is not sent again.
template <class Call>
auto Delivery::tried(const Call& call) {
  for (int tries = 1;; ++tries) {
    if (stop_.stop_requested()) throw core::Interrupted();
    std::optional<core::Duration> wait;
    try {
      return call();
    } catch (const Error& error) {
      if (error.category() != Category::unavailable) throw;
      wait = core::waitBeforeNextTry(tools_.retry, tries, {}, tools_.random);
      if (!wait) throw;
      tools_.tell(std::string(error.what()) + "; tried again");
    }
    if (!tools_.clock.sleep(*wait, stop_)) throw core::Interrupted();
  }
}

/// One batch on its way.
class Delivery::Sending {
 public:
  Sending(Delivery& delivery, const store::SyncPlace& place, const Manifest& manifest)
      : delivery_(delivery),
        store_(*delivery.store_),
        records_(delivery.tools_.records),
        manifest_(manifest),
        dataset_(place.dataset),
        batch_(model::BatchId(manifest.batchId)),
        folder_(folderAt(place.dataset, batch_)) {
    std::vector<store::DeliveredFile> files;
    for (const ManifestFile& file : manifest.files) {
      // Of a version that put the platform's own mark there: ours says when all is whole.
      if (model::isOwnName(file.path)) continue;
      bytes_[file.path] = file.bytes;
      files.push_back({.path = file.path, .bytes = file.bytes, .sha256 = file.sha256});
    }
    id_ = records_.begin(place, batch_, delivery.target_, files);
  }

  void toTheEnd() {
    const std::set<std::string> missing = lookWhatIsMissing();
    const bool sameManifest = missing.empty() && hasManifest();
    if (!sameManifest || !there_.contains(std::string(kSuccessName))) {
      unmark();
      removeStale();
      std::vector<std::string> all(missing.begin(), missing.end());
      requireUnchanged(all);
      send(all);
      if (!sameManifest) sendManifest();
      delivery_.tried([&] { store_.putText(folder_ + "/" + std::string(kSuccessName), "", delivery_.stop_); });
    }
    records_.setState(id_, store::DeliveryState::whole);
    tellLatest();
  }

 private:
  /// By the list of what is there: what was recorded may have been deleted since, and what was sent by a run that was
  /// killed is not recorded.
  std::set<std::string> lookWhatIsMissing() {
    for (const objects::Object& object : delivery_.tried([&] { return store_.list(folder_, delivery_.stop_); })) {
      there_[object.name] = object.bytes;
    }
    const std::set<std::string> arrived = records_.arrived(id_);
    std::set<std::string> missing;
    std::vector<std::string> unknown;
    for (const auto& [path, bytes] : bytes_) {
      const auto found = there_.find(path);
      const bool fits = found != there_.end() && found->second == bytes;
      if (fits && arrived.contains(path)) continue;
      missing.insert(path);
      if (fits) unknown.push_back(path);
    }
    for (const std::string& path : compared(unknown)) missing.erase(path);
    return missing;
  }

  /// Those that lie there as they are here, which is recorded. Sizes alone show nothing of what another run left.
  std::set<std::string> compared(const std::vector<std::string>& names) {
    if (names.empty()) return {};
    requireUnchanged(names);
    const auto found =
        delivery_.tried([&] { return store_.compare(manifest_.folder, names, folder_, delivery_.stop_); });
    if (!found.byHash) return {};
    const std::vector<std::string> same(found.same.begin(), found.same.end());
    records_.recordArrived(id_, same);
    return found.same;
  }

  bool hasManifest() {
    const auto there = there_.find(std::string(kManifestName));
    const std::optional<fs::path> file = manifestIn(manifest_.folder);
    if (there == there_.end() || !file) return false;
    const std::string text = manifestText(*file);
    return there->second == text.size() && delivery_.tried([&] {
      return store_.text(folder_ + "/" + std::string(kManifestName), delivery_.stop_);
    }) == text;
  }

  /// From here on the batch there is not whole.
  void unmark() {
    if (!there_.contains(std::string(kSuccessName))) return;
    const std::array names{std::string(kSuccessName)};
    delivery_.tried([&] { store_.remove(folder_, names, delivery_.stop_); });
  }

  /// Sent by an earlier run for a batch that the platform has rewritten since.
  void removeStale() {
    std::vector<std::string> stale;
    for (std::string& path : records_.paths(id_)) {
      if (!bytes_.contains(path) && there_.contains(path)) stale.push_back(std::move(path));
    }
    delivery_.tried([&] { store_.remove(folder_, stale, delivery_.stop_); });
  }

  /// What leaves is what was verified.
  void requireUnchanged(const std::vector<std::string>& names) {
    for (const std::string& name : names) {
      if (!checked_.insert(name).second) continue;
      const fs::path path = manifest_.folder / name;
      const auto file = std::ranges::find(manifest_.files, name, &ManifestFile::path);
      const bool same = core::diskFileSystem().sizeOf(path) == file->bytes &&
                        (file->sha256.empty() || transfer::sha256OfFile(path, delivery_.stop_) == file->sha256);
      if (same) continue;
      throw Error(Category::verification,
                  "'" + core::printable(path.string()) + "' is not what its manifest says: batch " + batch_.value() +
                      " is not delivered",
                  {.hint = "caiexport verify shows what is wrong, caiexport resume of its job fetches it again"});
    }
  }

  void send(const std::vector<std::string>& names) {
    for (std::size_t at = 0; at < names.size();) {
      std::vector<std::string> together;
      std::uint64_t bytes = 0;
      while (at < names.size() && together.size() < kMostFilesTogether && bytes < kMostBytesTogether) {
        bytes += bytes_.at(names[at]);
        together.push_back(names[at++]);
      }
      sendTogether(std::move(together));
      delivery_.tools_.tell("batch " + batch_.value() + ": " + std::to_string(at) + " of " +
                            std::to_string(names.size()) + " files are at " + core::printable(delivery_.target_, 200));
    }
  }

  /// What did not arrive as it is here is sent once more.
  void sendTogether(std::vector<std::string> names) {
    constexpr int kMostTimes = 2;
    for (int time = 1; !names.empty(); ++time) {
      if (time > kMostTimes) {
        throw Error(Category::verification,
                    std::to_string(names.size()) + " files arrived at " + delivery_.target_ +
                        " as something else, the first: '" + core::printable(names.front()) + "'",
                    {.hint = "nothing marks them as whole; try again, and see what changes them on their way"});
      }
      delivery_.tried([&] {
        store_.putFiles(
            manifest_.folder, names, folder_, [](const std::string&) {}, delivery_.stop_);
      });
      const auto found =
          delivery_.tried([&] { return store_.compare(manifest_.folder, names, folder_, delivery_.stop_); });
      if (!found.byHash && !std::exchange(toldOfSizes_, true)) {
        delivery_.tools_.tell("the store tells no hashes of what lies there: only sizes were compared");
      }
      records_.recordArrived(id_, std::vector<std::string>(found.same.begin(), found.same.end()));
      std::erase_if(names, [&](const std::string& name) { return found.same.contains(name); });
    }
  }

  void sendManifest() {
    const std::optional<fs::path> file = manifestIn(manifest_.folder);
    const std::string text = manifestText(file.value_or(manifest_.folder / kManifestName));
    const std::string key = folder_ + "/" + std::string(kManifestName);
    delivery_.tried([&] { store_.putText(key, text, delivery_.stop_); });
    if (delivery_.tried([&] { return store_.text(key, delivery_.stop_); }) == text) return;
    throw Error(Category::verification,
                "the manifest of batch " + batch_.value() + " arrived at " + delivery_.target_ + " as something else",
                {.hint = "nothing marks the batch as whole; try again"});
  }

  /// Never to an older batch.
  void tellLatest() {
    const std::string key = datasetAt(dataset_) + "/" + kLatestObject;
    const Latest now = latestFrom(delivery_.tried([&] { return store_.text(key, delivery_.stop_); }));
    const core::TimePoint created = manifest_.created.value_or(core::TimePoint());
    if (now.batch == batch_.value() || (now.created && *now.created > created)) return;
    std::string text;
    json::Writer json(text);
    json.beginObject();
    json.key("batch_id").value(batch_.value());
    json.key("created").value(core::formatTime(created));
    json.key("path").value(folder_);
    json.endObject();
    text += "\n";
    delivery_.tried([&] { store_.putText(key, text, delivery_.stop_); });
  }

  Delivery& delivery_;
  objects::ObjectStore& store_;
  store::DeliveryStore& records_;
  const Manifest& manifest_;
  model::DatasetId dataset_;
  model::BatchId batch_;
  std::string folder_;
  std::int64_t id_ = 0;
  std::map<std::string, std::uint64_t> bytes_;  ///< Of the manifest's files.
  std::map<std::string, std::uint64_t> there_;
  std::set<std::string> checked_;
  bool toldOfSizes_ = false;
};

Delivery::Delivery(const DeliveryTools& tools, const std::string& target, std::stop_token stop)
    : tools_(tools), target_(target), stop_(std::move(stop)), store_(tools.open(target)) {}

void Delivery::requireReady(const fs::path& output) {
  const objects::Facts facts = store_->facts(stop_);
  if (facts.folder && isInside(*facts.folder, output)) {
    throw Error(Category::usage,
                "the target '" + core::printable(target_, 200) + "' lies inside the output folder " +
                    core::printable(output.string()),
                {.hint = "deliver to another folder, or leave --deliver out: the batches are there anyway"});
  }
  tried([&] { objects::probe(*store_, stop_); });
}

void Delivery::bring(const store::SyncPlace& place, const Manifest& manifest) {
  Sending(*this, place, manifest).toTheEnd();
}

void Delivery::withdraw(const store::SyncPlace& place, const store::Delivery& delivery) {
  const std::string folder = folderAt(place.dataset, delivery.batch);
  tools_.records.setState(delivery.id, store::DeliveryState::removing);
  const auto listed = [&] {
    std::set<std::string> names;
    for (objects::Object& object : tried([&] { return store_->list(folder, stop_); }))
      names.insert(std::move(object.name));
    return names;
  };
  const std::set<std::string> there = listed();
  const std::string success(kSuccessName);
  const std::string manifest(kManifestName);
  const auto remove = [&](const std::vector<std::string>& names) {
    tried([&] { store_->remove(folder, names, stop_); });
  };
  if (there.contains(success)) remove({success});
  std::set<std::string> known;
  for (std::string& path : tools_.records.paths(delivery.id)) known.insert(std::move(path));
  if (there.contains(manifest)) {
    const std::optional<std::string> text = tried([&] { return store_->text(folder + "/" + manifest, stop_); });
    try {
      if (text) {
        for (ManifestFile& file : parseManifest(*text, manifest).files) known.insert(std::move(file.path));
      }
    } catch (const Error&) {
      // Broken: the record must do, and what it does not know is counted as left.
    }
  }
  std::vector<std::string> ours;
  std::ranges::set_intersection(known, there, std::back_inserter(ours));
  remove(ours);
  if (there.contains(manifest)) remove({manifest});
  known.insert(manifest);
  known.insert(success);
  const std::string latest = datasetAt(place.dataset) + "/" + kLatestObject;
  if (latestFrom(tried([&] { return store_->text(latest, stop_); })).batch == delivery.batch.value()) {
    const std::array names{std::string(kLatestObject)};
    tried([&] { store_->remove(datasetAt(place.dataset), names, stop_); });
  }
  std::uint64_t foreign = 0;
  for (const std::string& name : listed()) {
    if (!known.contains(name)) {
      ++foreign;
      continue;
    }
    throw Error(Category::unavailable,
                "'" + core::printable(std::string(folder).append("/").append(name), 300) + "' is still at " +
                    core::printable(target_, 200) + " after it was deleted",
                {.hint = "the next sync tries again"});
  }
  if (foreign > 0) {
    tools_.tell(core::printable(target_, 200) + ": " + folder + " holds " + std::to_string(foreign) +
                " objects that caiexport did not send; they stay");
  }
  tools_.records.setState(delivery.id, store::DeliveryState::removed);
}

std::vector<std::string> withdrawEverywhere(const DeliveryTools& tools, const store::SyncPlace& place,
                                            const model::BatchId& batch, const std::stop_token& stop) {
  std::vector<std::string> targets;
  std::optional<Error> failed;
  for (const store::Delivery& delivery : tools.records.deliveries(place, batch)) {
    if (delivery.state == store::DeliveryState::removed) continue;
    try {
      Delivery(tools, delivery.target, stop).withdraw(place, delivery);
      targets.push_back(delivery.target);
    } catch (const Error& error) {
      // One that is out of reach keeps nothing else from going.
      if (error.category() == Category::interrupted) throw;
      if (!failed) failed = error;
    }
  }
  if (failed) throw Error(*failed);
  return targets;
}

}  // namespace caiexport::engine
