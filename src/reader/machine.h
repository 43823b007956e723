#pragma once
/// What this process may use of the machine.

#include <cstdint>
#include <filesystem>

namespace caiexport::reader {

/// Bytes of memory that this process may use: the machine's, or less where a control group (version 1 or 2) says so.
/// `root` stands for `/` in tests.
std::uint64_t usableMemoryBytes(const std::filesystem::path& root = "/");

/// Processors that this process may run on; at least 1.
unsigned usableProcessors();

}  // namespace caiexport::reader
