#pragma once
/// Rows of the table replaced_batch.

#include "caiexport/model/replacement.h"
#include "query.h"

namespace caiexport::store {

inline constexpr const char* kReplacementColumns = "batch_id, replaced_by, reason, action, path, done";

/// A row that selects kReplacementColumns.
inline model::Replacement readReplacement(const Query& row) {
  model::Replacement replacement;
  replacement.batch = model::BatchId(row.text(0));
  replacement.by = model::BatchId(row.text(1));
  replacement.reason = row.text(2);
  replacement.action = model::replaceActionFrom(row.text(3)).value_or(model::ReplaceAction::keep);
  replacement.path = row.text(4);
  replacement.done = row.flag(5);
  return replacement;
}

}  // namespace caiexport::store
