#pragma once
/// The walk through what Data Access keeps of a batch that went wrong. Source: "Retrieve failed batches using the Data
/// Access API".

#include <stop_token>
#include <string>
#include <unordered_set>
#include <vector>

#include "caiexport/platform/client.h"
#include "json.h"
#include "paging.h"

namespace caiexport::platform {

/// One walk. Unlike the files of a batch that can be read these lie in folders below the batch itself, and a length of
/// 0 may also be that of a file that nobody measured.
class FailureListing {
 public:
  FailureListing(Caller& caller, model::BatchId batch, std::stop_token stop);
  std::vector<FailureFile> run();

 private:
  struct Folder {
    std::string path;  ///< `failed` or `meta/FOLDER`.
    std::string url;
    std::optional<FailureFile> orFile = {};  ///< What it is if its link leads to no list.
  };

  void walk(const Folder& folder, std::size_t depth);
  Page readPage(const Call& call, const net::HttpResponse& response, const Folder& folder, std::vector<Folder>& found);
  bool take(const Call& call, const Json& entry, const Folder& folder, std::vector<Folder>& found);
  std::string urlOf(const std::string& path) const;

  Caller& caller_;
  model::BatchId batch_;
  std::stop_token stop_;
  std::unordered_set<std::string> seenPaths_;
  std::unordered_set<std::string> seenUrls_;  ///< Of folders.
  std::vector<FailureFile> files_;
};

}  // namespace caiexport::platform
