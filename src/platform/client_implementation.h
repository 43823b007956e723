#pragma once
/// The inside of Client, shared by the files that hold its functions, one file a service.

#include <mutex>
#include <optional>
#include <string>

#include "caiexport/platform/client.h"
#include "caller.h"
#include "catalog_list.h"

namespace caiexport::platform {

inline constexpr const char* kCatalog = "/data/foundation/catalog";
inline constexpr const char* kDataAccess = "/data/foundation/export";
inline constexpr const char* kSegmentation = "/data/core/ups";

class Client::Implementation {
 public:
  Implementation(ClientSettings settings, net::HttpTransport& transport, TokenSource& tokens, core::Clock& clock,
                 core::Random& random, core::Log& log)
      : listedTogether(settings.listedTogether),
        caller(std::move(settings), transport, tokens, clock, random, log),
        clock_(clock) {}

  /// An answer to a poll: keeps its Retry-After. Nothing after a 404.
  std::optional<Json> poll(Call call, std::stop_token stop);
  std::optional<core::Duration> lastRetryAfter() const;

  /// What Catalog has of a batch; nothing if it has none.
  std::optional<Json> batchEntry(const model::BatchId& batch, std::stop_token stop);
  CatalogPages datasetPages(std::string what, const std::string& filter, std::stop_token stop);

  const std::size_t listedTogether;
  Caller caller;
  PageSize pageSize;

 private:
  core::Clock& clock_;
  mutable std::mutex mutex_;
  std::optional<core::Duration> lastRetryAfter_;
};

}  // namespace caiexport::platform
