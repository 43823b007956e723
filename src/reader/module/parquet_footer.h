#pragma once
/// Changes the names of columns in a written Parquet file.

#include <filesystem>
#include <functional>
#include <string>

namespace caiexport::reader {

/// Puts `rename(name)`, which must have the same length, in place of every column's name in the footer.
/// Error(io); Error(internal) for a footer that is none.
void renameColumns(const std::filesystem::path& file, const std::function<std::string(std::string)>& rename);

}  // namespace caiexport::reader
