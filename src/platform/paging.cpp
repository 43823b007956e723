#include "paging.h"

#include <unordered_set>

#include "caiexport/core/error.h"
#include "caller.h"

namespace caiexport::platform {
namespace {

constexpr int kMostEmptyPages = 3;

[[noreturn]] void throwEndless(const Call& call, const std::string& why) {
  throw core::Error(core::Category::protocol, "cannot " + call.what + ": " + Caller::requestLine(call) + ": " + why,
                    {.hint = "the platform's list doesn't end; try again later"});
}

}  // namespace

void followPages(Caller& caller, Call call,
                 const std::function<Page(const Call& call, const net::HttpResponse& response)>& read,
                 std::stop_token stop) {
  std::unordered_set<std::string> visited;
  int emptyPages = 0;
  while (true) {
    visited.insert(call.url);
    const Page page = read(call, caller.send(call, stop));
    if (!page.next) return;
    if (page.entries > 0 && page.fresh == 0 && !page.mayRepeat)
      throwEndless(call, "the page repeats earlier ones and leads on");
    emptyPages = page.entries == 0 ? emptyPages + 1 : 0;
    if (emptyPages > kMostEmptyPages) throwEndless(call, "empty pages follow each other");
    if (visited.contains(*page.next)) throwEndless(call, "the list loops: its next link was followed before");
    call.url = *page.next;
  }
}

}  // namespace caiexport::platform
