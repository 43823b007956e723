#include "libpq.h"

#include <dlfcn.h>

#include "caiexport/core/error.h"
#include "caiexport/core/text.h"

namespace caiexport::store {
namespace {

[[noreturn]] void throwUnusable(const std::string& reason) {
  throw core::Error(core::Category::config,
                    "the job database is on a PostgreSQL server, and libpq, which speaks to one, cannot be used: " +
                        core::printable(reason, 300),
                    {.hint = "install it (Debian, Ubuntu: apt install libpq5), or keep the "
                             "record in a file (--database FILE)"});
}

/// RTLD_LOCAL keeps its symbols, and those of the libraries below it, from the rest of the program.
void* opened(const std::string& file) {
  void* library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) throwUnusable(dlerror());
  return library;
}

}  // namespace

Libpq::Libpq(const std::string& file) : file_(file), library_(opened(file)) {}

Libpq::Symbol Libpq::find(const char* name) const {
  void* const address = dlsym(library_, name);
  if (address == nullptr) throwUnusable(file_ + " lacks the function " + name);
  return {address};
}

const Libpq& libpq() {
  static const Libpq loaded(Libpq::kFile);
  return loaded;
}

}  // namespace caiexport::store
