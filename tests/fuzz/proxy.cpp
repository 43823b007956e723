/// HTTPS_PROXY and NO_PROXY: "PROXY\nHOST\nLIST".

#include "net/connect.h"

#include "fuzz/target.h"

using namespace caiexport;

CAIEXPORT_FUZZ_TARGET(proxy) {
  const std::string_view text = fuzz::takeUntil(input, "\n");
  fuzz::mayRefuse([&] {
    const auto proxy = net::parseProxy(text);
    if (!proxy) return;
    fuzz::require(!proxy->host.empty() && proxy->port != 0, "a proxy without host or port");
    const std::string_view login = proxy->authorization.reveal();
    fuzz::require(login.find_first_of("\r\n") == std::string_view::npos, "a login that ends its header");
    for (const char c : proxy->host) fuzz::require(c > ' ' && c < 0x7f, "a host that can't be asked");
  });
  const std::string_view host = fuzz::takeUntil(input, "\n");
  net::NoProxy(input).matches(host, 443);
}
