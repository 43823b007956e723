#pragma once
/// Values of options as what they mean. All errors are Error(usage) that name the option.

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "caiexport/core/clock.h"
#include "caiexport/model/ids.h"

namespace caiexport::cli {

class ParsedOptions;

/// Nothing where the option was not given.
std::optional<std::uint64_t> numberOption(const ParsedOptions& options, std::string_view name, std::uint64_t least,
                                          std::uint64_t most);
std::optional<core::Duration> durationOption(const ParsedOptions& options, std::string_view name);
std::optional<core::TimePoint> timeOption(const ParsedOptions& options, std::string_view name, core::TimePoint now);
/// At least 1.
std::optional<std::uint64_t> bytesOption(const ParsedOptions& options, std::string_view name);
/// A comma list with at least one piece.
std::vector<std::string> listOption(const ParsedOptions& options, std::string_view name);
/// Text that is not empty and holds no control characters.
std::optional<std::string> textOption(const ParsedOptions& options, std::string_view name);
/// An id of the platform.
std::optional<std::string> idOption(const ParsedOptions& options, std::string_view name, std::string_view what);
/// One of the words; the first where the option was not given.
std::string wordOption(const ParsedOptions& options, std::string_view name, std::span<const std::string_view> words);
std::string requiredId(const ParsedOptions& options, std::string_view name, std::string_view what);

/// Error(usage) if more than one of them was given.
void refuseTogether(const ParsedOptions& options, std::initializer_list<std::string_view> names);
/// Error(usage) if `name` was given without `needed`.
void requireWith(const ParsedOptions& options, std::string_view name, std::string_view needed);
void refuseArguments(const ParsedOptions& options);

/// A job's number, 1 and up.
model::JobId jobNumber(std::string_view text);
/// The only argument, or that of --last: nothing means the newest. Error(usage) for both, for none, for several.
std::optional<model::JobId> jobOrLast(const ParsedOptions& options);

std::string notADuration(std::string_view text);
std::string notInRange(std::string_view text, std::uint64_t least, std::uint64_t most);

}  // namespace caiexport::cli
