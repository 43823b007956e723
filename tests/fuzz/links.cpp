/// Links and names in answers: "BASE-PATH\nTEXT".

#include <filesystem>

#include "caiexport/net/http.h"
#include "fuzz/target.h"
#include "platform/json.h"
#include "platform/links.h"

using namespace caiexport;

namespace {

const net::Origin kAllowed = net::parseUrl("https://platform.example").origin;

void checkLink(const std::string& url) {
  fuzz::require(net::parseUrl(url).origin == kAllowed, "a link leads elsewhere");
  for (const char c : url) fuzz::require(c > ' ' && c < 0x7f, "a link that can't stand in a request line");
}

void checkName(const std::string& name) {
  const std::filesystem::path path(name);
  fuzz::require(path.is_relative() && path.filename() == path && path != "." && path != "..",
                "a name leaves the folder");
  fuzz::require(name.size() <= 250, "a name is too long for a file system");
  for (const char c : name) fuzz::require(static_cast<unsigned char>(c) >= 0x20 && c != 0x7f, "a name with controls");
}

}  // namespace

CAIEXPORT_FUZZ_TARGET(links) {
  const std::string base = "https://platform.example/" + std::string(fuzz::takeUntil(input, "\n"));
  const auto document = platform::Json::tryParse("[]");
  // As a value, so that any text gets there, also one that JSON could not carry.
  const platform::Json text = document->key(std::string(input));
  fuzz::mayRefuse([&] { checkLink(platform::sameOriginLink(kAllowed, base, text)); });
  fuzz::mayRefuse([&] { platform::linkParameter(kAllowed, text, "start"); });
  fuzz::mayRefuse([&] { checkName(platform::checkedFileName(text)); });
  fuzz::mayRefuse([&] {
    const std::string url = platform::sameOriginLink(kAllowed, base, text);
    platform::isDerivable(url, kAllowed, model::DatasetFileId("B1-1"), "part-0");
  });
  fuzz::mayRefuse([&] {
    const net::Url url = net::parseUrl(input);
    fuzz::require(net::parseUrl(url.origin.toString() + url.target).target == url.target, "a URL changes");
  });
}
