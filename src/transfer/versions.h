#pragma once
/// Whether all answers for one file were of one version of it.

#include <mutex>
#include <string>

#include "caiexport/core/error.h"
#include "caiexport/model/job.h"

namespace caiexport::transfer {

/// The source has another version of the file than the one of which bytes are here already: they are worth nothing, the
/// file starts again.
class FileChanged final : public core::Error {
 public:
  explicit FileChanged(const std::string& message)
      : Error(core::Category::verification, message, {.hint = "run it again when nothing rewrites the file"}) {}
};

/// Thread safe.
class Versions {
 public:
  /// Bytes of this version are here from an earlier run.
  void resume(const model::FileVersion& version);
  /// An answer is of this version. FileChanged if that is another one.
  void answered(const model::FileVersion& version, const std::string& name);
  /// Nothing is here of any answer so far.
  void forget();
  /// All bytes are known to be those of the newest answer: it was compared with what came before.
  void startOver();

  model::FileVersion known() const;
  /// There was one answer, or all named the same version.
  bool agree() const;

 private:
  mutable std::mutex mutex_;
  model::FileVersion known_;
  unsigned answers_ = 0;
  bool named_ = true;
};

}  // namespace caiexport::transfer
