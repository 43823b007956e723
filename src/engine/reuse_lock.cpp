#include "caiexport/engine/reuse_lock.h"

#include <unistd.h>

#include <string>

#include "caiexport/core/error.h"

namespace caiexport::engine {
namespace {

/// In the job locks' file, between the numbers of jobs and those of `sync`.
std::int64_t numberFor(const model::ExportRequest& request) {
  constexpr std::int64_t kFirst = std::int64_t{1} << 61U;
  constexpr std::uint64_t kMost = (std::uint64_t{1} << 60U) - 1;
  std::uint64_t hash = 14695981039346656037U;  // FNV-1a
  for (const std::string* text : {&request.orgId, &request.sandbox, &request.sourceId}) {
    for (const char letter : *text + '\n') hash = (hash ^ static_cast<unsigned char>(letter)) * 1099511628211U;
  }
  return kFirst + static_cast<std::int64_t>(hash & kMost);
}

}  // namespace

ReuseLock::ReuseLock(core::LockTable& locks, const model::ExportRequest& request) : locks_(locks) {
  if (!request.segment.reuse) return;
  const std::int64_t number = numberFor(request);
  if (locks.holder(number) == static_cast<int>(::getpid())) return;
  if (const std::optional<int> holder = locks.tryLock(number)) {
    const std::string who = *holder > 0 ? "process " + std::to_string(*holder) : "another process";
    throw core::Error(core::Category::busy,
                      "segment '" + request.sourceId + "' is being exported with --reuse by " + who,
                      {.hint = "wait until it ends: a second export at the same time would make a second dataset"});
  }
  number_ = number;
}

ReuseLock::~ReuseLock() {
  if (number_ != 0) locks_.unlock(number_);
}

}  // namespace caiexport::engine
