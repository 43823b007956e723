#pragma once
/// Which batches a job reads, and what it does where one of them is not given after all.

#include <functional>
#include <stop_token>
#include <vector>

#include "caiexport/core/error.h"
#include "caiexport/model/job.h"
#include "steps.h"

namespace caiexport::platform {
class Client;
}

namespace caiexport::engine {

/// Error(notFound) if `sync` has deleted one of the job's batches since they were chosen, because customers asked for
/// their data to go.
void refuseForgotten(const StepContext& context);

/// Error(notFound) if the batch was replaced or deleted since it was chosen.
void requireStillReadable(StepContext& context, const model::Batch& chosen);

[[noreturn]] void throwNothingExported(const model::Job& job);

/// A batch that was chosen and is not given: replaced meanwhile, or a consolidation that did not look like one.
class UnreadableBatch : public core::Error {
 public:
  UnreadableBatch(model::BatchId batch, bool consolidation, const core::Error& error)
      : Error(error.category(), error.what(),
              {.requestId = error.requestId(), .hint = error.hint(), .code = error.code()}),
        batch_(std::move(batch)),
        consolidation_(consolidation) {}

  const model::BatchId& batch() const { return batch_; }
  bool isConsolidation() const { return consolidation_; }

 private:
  model::BatchId batch_;
  bool consolidation_;
};

/// Client::listFiles; what Data Access does not give is UnreadableBatch.
void listBatch(platform::Client& client, const model::BatchId& batch,
               const std::function<void(std::vector<model::RemoteFile>&&)>& page, std::stop_token stop);

/// Records what is read in its place, as far as that is for the program to decide, so that the step can be done again;
/// otherwise throws the error for the user.
Turn chooseInstead(StepContext& context, const UnreadableBatch& refused);

/// UnreadableBatch if one of the job's batches was withdrawn since it was chosen.
void requireNoneWithdrawn(StepContext& context);

}  // namespace caiexport::engine
