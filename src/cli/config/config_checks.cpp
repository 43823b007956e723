#include <unistd.h>

#include <cerrno>

#include "caiexport/core/error.h"
#include "caiexport/core/file_system.h"
#include "caiexport/core/text.h"
#include "caiexport/net/http.h"
#include "config.h"

namespace caiexport::cli {

namespace fs = std::filesystem;
using core::Category;
using core::Error;

std::string checkedBaseUrl(std::string_view text, std::string_view place) {
  const auto refuse = [&](const std::string& why) {
    throw Error(Category::config, std::string(place) + ": " + why,
                {.hint = "give scheme and host alone, e.g. https://platform.adobe.io"});
  };
  net::Url url;
  try {
    url = net::parseUrl(text);
  } catch (const Error& error) {
    refuse(error.what());
  }
  if (url.target != "/") refuse("the URL has a path or a query");
  if (url.origin.scheme != "https" && !net::isLoopback(url.origin.host)) {
    refuse("http:// is for loopback addresses only; use https://" + url.origin.host);
  }
  return url.origin.toString();
}

void requireWritableFolder(const fs::path& folder) {
  fs::path existing = folder;
  std::error_code error;
  while (!fs::exists(fs::status(existing, error)) && existing.has_parent_path() && existing != existing.parent_path()) {
    if (fs::is_symlink(fs::symlink_status(existing, error))) break;
    // Without permission to look, the answer is not "not there".
    if (error && error.value() != ENOENT && error.value() != ENOTDIR)
      core::throwIoError("look at", existing, error.value());
    existing = existing.parent_path();
  }
  if (!fs::is_directory(fs::status(existing, error))) {
    throw Error(Category::usage,
                "the output folder can't be " + core::printable(folder.string()) + ": " +
                    core::printable(existing.string()) + " is not a folder",
                {.hint = "choose another folder with --output"});
  }
  if (::access(existing.c_str(), W_OK | X_OK) != 0) core::throwIoError("write in the folder", existing, errno);
}

}  // namespace caiexport::cli
