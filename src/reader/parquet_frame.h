#pragma once
/// Parquet's frame: what can be told of a file without DuckDB. A part of the program and of the reader module.

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "caiexport/core/descriptors.h"

namespace caiexport::reader {

/// The file itself: absolute, without links. Error(io) if there is no such regular file or it can't be read.
std::filesystem::path readableFile(const std::filesystem::path& path);

/// Error(io) if it can't be opened.
core::Descriptor openToRead(const std::filesystem::path& path);

/// What there is between and around the data.
struct Frame {
  std::uint64_t bytes = 0;  ///< Of the whole file.
  std::string footer;
};
/// Parquet's frame: `PAR1` at both ends and a footer that fits between. DuckDB looks at the end only.
/// Error(verification) with the reason.
Frame readFrame(const std::filesystem::path& path);

/// At the end: the length of the footer and the magic number.
inline constexpr std::uint64_t kTailBytes = 8;
/// As those bytes tell it.
std::uint64_t footerLength(std::string_view tail);

/// Error(verification): the file is no readable Parquet file, and what to do.
[[noreturn]] void throwBroken(const std::filesystem::path& path, const std::string& reason);

}  // namespace caiexport::reader
