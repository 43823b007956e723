#pragma once
/// What `read`, `scores` and `verify` are pointed at: jobs, folders, files.

#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "caiexport/engine/manifest.h"
#include "caiexport/model/job.h"
#include "caiexport/model/replacement.h"
#include "caiexport/reader/parquet_reader.h"
#include "caiexport/store/delivery_store.h"

namespace caiexport::store {
struct JobView;
}

namespace caiexport::cli {

class Configuration;
class Record;

struct InputSet {
  std::vector<reader::InputFile> files;
  std::vector<std::filesystem::path> manifests;  ///< By which they were found.
  std::vector<model::Batch> batches;             ///< That are read.
  std::set<std::string> datasets;                ///< Of these batches.
  std::vector<model::BatchId> replaced;          ///< Left out, since another one supersedes them.
  std::vector<std::string> notices;              ///< What people should know about the set.
  std::string description;                       ///< E.g. `job 12`.
};

/// Which batches of a dataset's folder are meant.
enum class Batches { newest, all };

/// Whether `sync` put the batch away and it was not fetched again since, when it is where the record says. What the law
/// has taken away stays away.
bool isPutAway(const model::Job& job, const model::Replacement& one);

/// For one thread.
class InputFinder {
 public:
  explicit InputFinder(Configuration& configuration, Batches batches = Batches::newest);
  ~InputFinder();

  /// The files behind job numbers, folders and files. A number is a job unless something of that name exists here.
  /// Error(usage) for none, Error(notFound) for what is not there or holds nothing to read.
  InputSet find(const std::vector<std::string>& arguments);
  /// The files of the newest job that brought any.
  InputSet findLast();

  /// What `now` is to be compared with: a job, folder or file; a batch of the same dataset's folder by its id; or
  /// `previous`, the newest batch there that is older than all of `now` and not superseded. Error(notFound).
  InputSet findAgainst(const std::string& what, const InputSet& now);

  /// The batches of the same dataset's folder that are older than all of `now` and not superseded, newest first, at
  /// most `most`. None where that can't be told.
  std::vector<InputSet> findEarlier(const InputSet& now, std::size_t most);
  /// The id of the dataset, by the folder of its batches; empty where that can't be told.
  static std::string datasetOf(const InputSet& set);

  /// Whether the argument means a job.
  static bool isJob(const std::string& argument);
  /// Error(notFound).
  store::JobView job(const std::string& argument);
  /// The newest job that brought files. Error(notFound).
  std::string lastJob();
  /// The files that the job brought to disk and that may hold rows, with the count of those still missing.
  std::vector<model::FileRecord> filesOf(const model::Job& job, std::uint64_t& missing);
  /// Those of its batches that `sync` found superseded.
  std::vector<model::Replacement> replacementsOf(const model::Job& job);
  /// Those of its batches that were delivered and then deleted here, unless they were fetched again since.
  std::vector<store::Delivery> deliveredAway(const model::Job& job);

 private:
  static InputSet completed(InputSet set);
  /// A manifest and what is known about its batch.
  struct Known {
    engine::Manifest manifest;
    model::Batch batch;
  };
  std::vector<engine::Manifest> olderThan(const std::filesystem::path& dataset, const InputSet& now);
  void dropDelivered(store::JobView& view, std::vector<model::FileRecord>& files, InputSet& set);
  void dropPutAway(store::JobView& view, std::vector<model::FileRecord>& files, InputSet& set);
  std::string wayTo(const store::JobView& view, const std::string& argument);
  void addJob(const std::string& argument, InputSet& set);
  void addFolder(const std::filesystem::path& folder, InputSet& set);
  void addManifest(const engine::Manifest& manifest, const model::Batch& batch, InputSet& set);
  void addLooseFiles(const std::filesystem::path& folder, InputSet& set);
  void addFile(const std::filesystem::path& file, InputSet& set);
  model::Batch batchOf(const engine::Manifest& manifest);
  std::vector<Known> knownIn(const std::filesystem::path& folder);
  static std::vector<model::BatchId> replacedIn(const std::vector<Known>& known);
  void keepNewest(std::vector<Known>& batches, const std::filesystem::path& folder, InputSet& set);
  bool isOneExport(const engine::Manifest& one, const engine::Manifest& other);
  /// Nothing if there is no database, or it can't be read: the files can be, without it.
  Record* recordIfAny();

  Configuration& configuration_;
  Batches batches_;
  std::unique_ptr<Record> record_;
  bool looked_ = false;
};

}  // namespace caiexport::cli
