#pragma once
/// Threads of a run.

#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "caiexport/core/error.h"

namespace caiexport::transfer {

/// Where the system gives no more threads, those there are do the work.
template <class Body>
void startThread(std::vector<std::jthread>& threads, Body body) {
  try {
    threads.emplace_back(std::move(body));
  } catch (const std::system_error& error) {
    if (!threads.empty()) return;
    throw core::Error(
        core::Category::io, std::string("cannot start a thread for the download: ") + error.what(),
        {.hint = "raise the limits on threads and memory (ulimit -u, ulimit -v), or close other programs"});
  }
}

}  // namespace caiexport::transfer
