#pragma once
/// Everything that `history` and `show` tell about a job, in one list: its name in JSON and CSV, its column in the
/// table, its line in `show`. A new one is a line of that list.

#include <span>
#include <string>
#include <string_view>

#include "caiexport/core/clock.h"
#include "caiexport/model/replacement.h"
#include "caiexport/reader/table.h"

namespace caiexport::json {
class Writer;
}

namespace caiexport::store {
struct JobView;
}

namespace caiexport::cli {

/// The members that every job has in JSON, inside an object that is begun.
void writeJobFields(json::Writer& json, const store::JobView& view);

/// Jobs for programs: RFC 4180, lines end in CRLF.
std::string historyCsvHeader();
std::string historyCsvRow(const store::JobView& view);

/// The table of `history` for a terminal of that width (0: no bound): ids are cut to fit, errors shown where there is
/// room.
reader::Table historyTable(std::span<const store::JobView> views, core::TimePoint now, std::size_t width);

/// The lines of `show` about the job as a whole: `  NAME        VALUE`.
std::string jobFacts(const store::JobView& view, std::span<const model::Replacement> replaced);

}  // namespace caiexport::cli
