#pragma once
/// Lists that lead from page to page by opaque links.

#include <cstddef>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>

namespace caiexport::net {
struct HttpResponse;
}

namespace caiexport::platform {

class Caller;
struct Call;

struct Page {
  std::size_t entries = 0;               ///< How many the page had.
  std::size_t fresh = 0;                 ///< How many of them no earlier page had.
  std::optional<std::string> next = {};  ///< Absolute URL, checked; nothing: the list ends here.
  bool mayRepeat = false;                ///< Whoever reads the page sees to it that repeating ends.
};

/// Sends `call`, then what each page leads to. Error(protocol) if that would never end: the same link twice, a page
/// that repeats only what was there and leads on, or more than three empty pages in a row that lead on.
void followPages(Caller& caller, Call call,
                 const std::function<Page(const Call& call, const net::HttpResponse& response)>& read,
                 std::stop_token stop);

}  // namespace caiexport::platform
