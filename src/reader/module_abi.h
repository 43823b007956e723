#pragma once
/// What the program and the reader module agree on. Both come from one build; the text is compared before anything
/// else is used.

#include "caiexport/reader/parquet_reader.h"
#include "caiexport/reader/table.h"

namespace caiexport::reader {

inline constexpr const char* kModuleFile = "caiexport-reader.so";
/// Raised whenever a public header of the reader changes.
inline constexpr const char* kModuleAbi = "caiexport-reader-8";

inline constexpr const char* kAbiSymbol = "caiexportReaderAbi";
using AbiFunction = const char* (*)();

/// The version of DuckDB, e.g. `v1.4.4`.
inline constexpr const char* kEngineSymbol = "caiexportReaderEngine";
using EngineFunction = const char* (*)();

inline constexpr const char* kOpenSymbol = "caiexportReaderOpen";
/// Throws core::Error; `settings` has no zeros left in it. The caller owns the result.
using OpenFunction = ParquetReader* (*)(const ReaderSettings& settings);

inline constexpr const char* kWorkbookSymbol = "caiexportReaderWorkbook";
/// As writeWorkbook().
using WorkbookFunction = void (*)(const std::filesystem::path& path, const std::vector<Sheet>& sheets);

}  // namespace caiexport::reader
