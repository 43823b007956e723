#pragma once
/// One fuzz target a source file, which takes any bytes as input. Built with CAIEXPORT_FUZZ it is libFuzzer's entry
/// point; otherwise it registers itself, and seeds_test.cpp runs it over its seeds.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "caiexport/core/error.h"

namespace caiexport::fuzz {

using Target = void (*)(std::string_view input);

#ifndef CAIEXPORT_FUZZ
/// All of this program, by name.
std::map<std::string, Target>& targets();
#endif

/// What must hold whatever the input is.
inline void require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "broken: %s\n", what);
  std::abort();
}

/// Runs what may refuse its input: by an error that says whose fault it is, never by any other exception.
inline void mayRefuse(const std::function<void()>& action) {
  try {
    action();
  } catch (const core::Error& error) {
    require(error.category() != core::Category::internal, "an outsider's input is called a defect of our own");
    require(*error.what() != '\0', "an error without a message");
  }
}

/// Everything before the next `separator`, which is taken off `rest` too; all of it if there is none.
inline std::string_view takeUntil(std::string_view& rest, std::string_view separator) {
  const std::size_t end = std::min(rest.find(separator), rest.size());
  const std::string_view piece = rest.substr(0, end);
  rest.remove_prefix(std::min(end + separator.size(), rest.size()));
  return piece;
}

}  // namespace caiexport::fuzz

#ifdef CAIEXPORT_FUZZ
#define CAIEXPORT_FUZZ_TARGET(name)                                                   \
  static void name(std::string_view input);                                           \
  extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) { \
    name({reinterpret_cast<const char*>(data), size});                                \
    return 0;                                                                         \
  }                                                                                   \
  static void name(std::string_view input)
#else
#define CAIEXPORT_FUZZ_TARGET(name)                                                                          \
  static void name(std::string_view input);                                                                  \
  [[maybe_unused]] static const bool name##IsKnown = caiexport::fuzz::targets().emplace(#name, name).second; \
  static void name(std::string_view input)
#endif
