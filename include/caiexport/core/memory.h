#pragma once
/// What this process may use of the machine, and failures for want of memory.

#include <cstdint>
#include <exception>
#include <filesystem>
#include <optional>
#include <string>

#include "caiexport/core/error.h"

namespace caiexport::core {

/// Bytes of memory that this process may use: the machine's, or less where a control group (version 1 or 2) says so.
/// `root` stands for `/` in tests.
std::uint64_t usableMemoryBytes(const std::filesystem::path& root = "/");

/// Processors that this process may run on; at least 1.
unsigned usableProcessors();

/// Bytes of memory that the process has now; 0 where the system does not tell.
std::uint64_t residentBytes();

/// Error(io). Its hint holds for every command; the one place that prints errors adds the options of the command that
/// ran (see withOptions), which nothing below it knows.
Error outOfMemory(const std::string& what = "out of memory");

/// What an exception of the standard library means where the system is short of memory or gives no more threads;
/// nothing for any other.
std::optional<Error> scarcityIn(const std::exception& exception);

/// What the limit on the address space (ulimit -v) leaves; nothing without one.
std::optional<std::uint64_t> addressSpaceLeft();

/// Whether the error is one of outOfMemory(), whatever was added to its hint since.
bool isOutOfMemory(const Error& error);

/// The error with the options of the command that lower its need, e.g. "--memory", "--connections".
Error withOptions(const Error& error, const std::string& options);

}  // namespace caiexport::core
