#pragma once
/// The walk through the directories of a batch. Source: "Data Access API guide".

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "caiexport/model/job.h"
#include "json.h"
#include "paging.h"

namespace caiexport::platform {

/// "Data Access API guide": an object with `data`; "ETL integration guide": the bare array.
std::vector<Json> listedEntries(const Json& answer);
/// What writers leave beside their files. By name: folders are listed with length 0 too, and those of partitions begin
/// with `_` (`_ACP_DATE=2026-04-01`).
bool isMarker(const std::string& name, std::uint64_t lengthBytes);
/// Where a list goes on; nothing at its end. Error(protocol) for another origin.
std::optional<std::string> nextPageOf(const Caller& caller, const Call& call, const Json& answer);

/// Levels of folders that are followed.
inline constexpr std::size_t kDeepestFolder = 8;

/// One walk. A directory's entries are files (they have a name) or further dataset file ids, to be asked in turn.
class FileListing {
 public:
  using Deliver = std::function<void(std::vector<model::RemoteFile>&&)>;

  FileListing(Caller& caller, model::BatchId batch, std::size_t together, const Deliver& deliver, std::stop_token stop);
  void run();

 private:
  /// Of names: their text would take three times the memory.
  using Hashes = std::set<std::pair<std::uint64_t, std::uint64_t>>;

  struct Directory {
    model::DatasetFileId id;
    std::string url;
    model::DatasetFileId datasetFile = {};  ///< Whose folder it is.
    std::string path = {};  ///< Below its dataset file, ending in a slash; empty for the dataset file itself.
    /// The entry of length 0 that it was listed as: what it is if its link leads to no list.
    std::optional<model::RemoteFile> orFile = {};
  };

  Page readBatchPage(const Call& call, const net::HttpResponse& response, std::vector<Directory>& found);
  void walk(const Directory& directory);
  Page readDirectoryPage(const Call& call, const net::HttpResponse& response, const Directory& directory, Hashes& names,
                         std::vector<Directory>& found);
  bool addDirectory(const Call& call, const Json& entry, std::vector<Directory>& found);
  void addFile(const Call& call, const Json& entry, const Directory& directory, std::vector<Directory>& found);
  void addFolder(model::RemoteFile entry, const Directory& parent, std::string url, std::vector<Directory>& found);
  std::string neededLink(const Call& call, const Json& href, const model::RemoteFile& file) const;
  void addEmptyOrLiar(const Call& call, const net::HttpResponse& response, model::RemoteFile file);
  void addRawFile(const Call& call, const net::HttpResponse& response, const model::DatasetFileId& id);
  void add(model::RemoteFile file);

  Caller& caller_;
  model::BatchId batch_;
  const std::size_t together_;  ///< Files handed on at once.
  const Deliver& deliver_;
  std::stop_token stop_;
  std::unordered_set<std::string> seenIds_;
  std::vector<std::string> ancestors_;
  std::vector<model::RemoteFile> waiting_;
};

}  // namespace caiexport::platform
