#pragma once
/// The frame of every writing function of the store.

#include <type_traits>

#include "caiexport/store/job_store.h"
#include "failure.h"
#include "query.h"

namespace caiexport::store {

/// Runs `body` in one write transaction between two calls of the probe, and translates what SQLite throws.
template <class Body>
auto recorded(Database& database, const JobStore::Probe& probe, std::string_view call, Body body) {
  if (probe) probe(call, false);
  const auto commit = [&](Transaction& transaction) {
    transaction.commit();
    if (probe) probe(call, true);
  };
  try {
    Transaction transaction(database, Transaction::Kind::writing);
    if constexpr (std::is_void_v<decltype(body())>) {
      body();
      commit(transaction);
    } else {
      auto result = body();
      commit(transaction);
      return result;
    }
  } catch (const SQLite::Exception& error) {
    throwDatabaseError("write to", database.file(), error);
  }
}

/// Sums the files of the job up from those of its batches.
void sumUpJob(Database& database, model::JobId job);

/// A step that was done is to be worked on again, and the job with it.
void reopenStep(Database& database, model::JobId job, model::StepName step, core::TimePoint now);

void saveEvent(Database& database, model::JobId job, core::TimePoint now, std::optional<model::StepName> step,
               std::string_view what, std::string_view detail);

}  // namespace caiexport::store
