#include "caiexport/store/location.h"

#include <cstring>
#include <memory>
#include <utility>

#include "caiexport/core/error.h"
#include "caiexport/core/text.h"
#include "libpq.h"

namespace caiexport::store {
namespace {

using core::Category;
using core::Error;

constexpr std::string_view kFence = "://";
constexpr const char* kForm = "write it as postgresql://HOST/NAME, or name a file";

std::string_view schemeOf(std::string_view text) {
  return text.substr(0, text.find(kFence));
}

struct FreeOptions {
  void operator()(PQconninfoOption* options) const { libpq().PQconninfoFree(options); }
};
using Options = std::unique_ptr<PQconninfoOption, FreeOptions>;

/// What libpq says about it is not shown: it may repeat a password.
Options parsed(const std::string& address) {
  char* complaint = nullptr;
  Options options(libpq().PQconninfoParse(address.c_str(), &complaint));
  libpq().PQfreemem(complaint);
  if (options) return options;
  throw Error(Category::config, "the address of the job database is not one that libpq can read", {.hint = kForm});
}

std::string valueOf(const Options& options, const char* keyword) {
  for (const PQconninfoOption* option = options.get(); option->keyword != nullptr; ++option) {
    if (std::strcmp(option->keyword, keyword) == 0) return option->val == nullptr ? "" : option->val;
  }
  return {};
}

/// Without user and settings.
std::string nameFrom(const Options& options) {
  const auto shown = [&](const char* keyword) { return core::printable(valueOf(options, keyword), 200); };
  std::string name = "postgresql://" + shown("host");
  if (const std::string port = shown("port"); !port.empty()) name += ":" + port;
  name += "/" + shown("dbname");
  if (const std::string service = shown("service"); !service.empty()) name += "?service=" + service;
  return name;
}

}  // namespace

Location::Location(std::filesystem::path file) : file_(std::move(file)), name_(file_.string()) {}

bool Location::isAddress(std::string_view text) {
  const std::string_view scheme = schemeOf(text);
  if (scheme.empty() || scheme.size() == text.size()) return false;
  const std::string letters = core::toLower(scheme);
  return letters.front() >= 'a' && letters.front() <= 'z' &&
         letters.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789+.-") == letters.npos;
}

Location Location::ofServer(std::string_view address) {
  const std::string_view scheme = schemeOf(address);
  if (scheme != "postgresql" && scheme != "postgres") {
    throw Error(Category::config,
                "the job database can't be kept at an address that begins with " +
                    core::printable(std::string(scheme) + std::string(kFence), 60),
                {.hint = kForm});
  }
  const std::string text(address);
  if (text.find('\0') != text.npos) throw Error(Category::config, "the address of the job database holds a NUL");
  const Options options = parsed(text);
  if (!valueOf(options, "password").empty() || !valueOf(options, "sslpassword").empty()) {
    throw Error(Category::config,
                "the address of the job database holds a password, which every user of this machine could read in the "
                "list of processes",
                {.hint = "take it out, and put it into ~/.pgpass or the file that PGPASSFILE names (mode 0600)"});
  }
  Location location;
  location.address_ = text;
  location.name_ = nameFrom(options);
  return location;
}

}  // namespace caiexport::store
