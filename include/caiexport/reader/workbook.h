#pragma once
/// Spreadsheet files (.xlsx) of what is no set of rows: figures, lists.

#include <filesystem>
#include <string>
#include <variant>
#include <vector>

#include "caiexport/core/clock.h"

namespace caiexport::reader {

/// Empty, text, a number, a time (shown in UTC).
using SheetCell = std::variant<std::monostate, std::string, double, core::TimePoint>;

struct Sheet {
  std::string name;
  std::vector<std::string> header;
  std::vector<std::vector<SheetCell>> rows = {};
};

/// Makes the file at `path`, whose folder holds temporary files meanwhile. Loads the module. Error(io) if it can't be
/// written, Error(usage) for what a spreadsheet can't hold.
void writeWorkbook(const std::filesystem::path& path, const std::vector<Sheet>& sheets);

}  // namespace caiexport::reader
