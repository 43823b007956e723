#pragma once
/// Jobs as text for people.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "caiexport/core/clock.h"
#include "caiexport/model/job.h"
#include "caiexport/model/replacement.h"

namespace caiexport::store {
class History;
struct JobView;
}  // namespace caiexport::store

namespace caiexport::cli {

/// `24,340`.
std::string grouped(std::uint64_t number);
/// `1 file`, `24,340 files`.
std::string counted(std::uint64_t number, std::string_view one, std::string_view many);
/// The rows of one batch are customers; those of several are not, since a customer may be in each.
std::string recordsText(std::uint64_t records, std::size_t batches);

/// `2026-11-24 10:00:00Z`; `-` for nothing.
std::string timeText(const std::optional<core::TimePoint>& time);
/// `1 batch, 2 files, 30 B, 7 customers`.
std::string sizeText(const model::Job& job);

/// `replaced by BATCH` and what became of it.
std::string replacementText(const model::Replacement& replacement);

/// What came over the network in one run.
struct Arrived {
  std::uint64_t bytes = 0;
  core::Duration time{};
};

/// The result of a successful run: what, where, how much, how long, how fast, and the next useful command.
/// `ran`: how long this run took; nothing if that is unknown.
std::string resultText(const store::JobView& view, const std::optional<Arrived>& arrived = {},
                       const std::optional<core::Duration>& ran = {});

/// One job with its steps, files and newest events.
std::string showText(const store::JobView& view, store::History& history, std::size_t width);

/// A field of a CSV line: in quotes if need be, printable, and with a `'` before what a spreadsheet would run (a text
/// that begins with `=`, `+`, `-` or `@` and is no number).
std::string csvField(std::string_view text);

}  // namespace caiexport::cli
