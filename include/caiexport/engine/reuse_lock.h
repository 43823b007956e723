#pragma once
/// One `segment --reuse` of a segment at a time: two that look for a dataset to reuse would both find none and make
/// one.

#include <cstdint>

#include "caiexport/core/file_lock.h"
#include "caiexport/model/export_request.h"

namespace caiexport::engine {

class ReuseLock {
 public:
  /// Nothing for a request that does not reuse, or while this process holds the lock already. Error(busy) if another
  /// process does.
  ReuseLock(core::LockTable& locks, const model::ExportRequest& request);
  ~ReuseLock();
  ReuseLock(const ReuseLock&) = delete;
  ReuseLock& operator=(const ReuseLock&) = delete;

 private:
  core::LockTable& locks_;
  std::int64_t number_ = 0;  ///< 0: not ours.
};

}  // namespace caiexport::engine
