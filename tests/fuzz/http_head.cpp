/// The head of an answer.

#include "fuzz/target.h"
#include "net/http_message.h"

using namespace caiexport;

CAIEXPORT_FUZZ_TARGET(http_head) {
  try {
    const auto length = net::headLength(input);
    if (!length) return;
    fuzz::require(*length <= input.size(), "a head longer than what came");
    const net::ResponseHead head = net::parseHead(input.substr(0, *length));
    fuzz::require(head.response.status >= 100 && head.response.status <= 999, "a status that is none");
    for (const auto& [name, value] : head.response.headers.all()) {
      fuzz::require(!name.empty(), "a field without a name");
      fuzz::require(value.find_first_of("\r\n") == std::string::npos, "a line break inside a value");
    }
    net::keepsAlive(head);
    for (const char* method : {"GET", "HEAD", "POST"}) net::framingOf(head, method);
  } catch (const net::AttemptFailure& failure) {
    fuzz::require(failure.kind() == net::AttemptFailure::Kind::protocol, "broken HTTP is called something else");
  }
}
