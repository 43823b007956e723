#pragma once
/// What `status` says of each dataset and segment, for people, programs and monitors.

#include <span>
#include <string>

#include "caiexport/core/error.h"
#include "caiexport/store/source_status.h"

namespace caiexport::cli {

/// A source, and what is wrong with it.
struct StatusLine {
  StatusLine(store::SourceStatus status, core::TimePoint now, const std::optional<core::Duration>& maxAge);

  bool ok() const { return problem.empty(); }
  std::string name() const;  ///< `dataset 5f00...`

  store::SourceStatus source;
  std::string problem = {};  ///< Empty: none.
  core::Category category = core::Category::internal;
  std::string next = {};  ///< What to do now; empty: nothing.
  bool stale = false;     ///< Its newest batch is older than was asked for.
};

std::string statusText(std::span<const StatusLine> lines, core::TimePoint now);
/// An array.
std::string statusJson(std::span<const StatusLine> lines, core::TimePoint now);
/// Prometheus' text exposition format.
std::string statusMetrics(std::span<const StatusLine> lines);

}  // namespace caiexport::cli
