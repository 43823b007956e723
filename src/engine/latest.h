#pragma once
/// OUTPUT/<dataset id>/latest: a link to the newest batch folder.

#include <filesystem>
#include <functional>
#include <string_view>

namespace caiexport::core {
class FileSystem;
}

namespace caiexport::engine {

/// Makes `latest` name the batch folder with a manifest whose batch is the newest by `created`; in one step, so that a
/// reader meets the old or the new one. Never goes to an older batch while the one it names is there. What stands in
/// the way (something else of that name, a file system without links) is reported, but is no failure.
void switchLatest(const std::filesystem::path& datasetFolder, core::FileSystem& files,
                  const std::function<void(std::string_view)>& tell);

/// The same for a batch that was just brought, by comparing it with the one that `latest` names alone: of many batches
/// that come one by one each takes the same time. Where `latest` leads nowhere all are looked at.
void bringLatest(const std::filesystem::path& batchFolder, core::FileSystem& files,
                 const std::function<void(std::string_view)>& tell);

/// After a batch is gone: all are looked at only where `latest` leads nowhere now.
void mendLatest(const std::filesystem::path& datasetFolder, core::FileSystem& files,
                const std::function<void(std::string_view)>& tell);

}  // namespace caiexport::engine
