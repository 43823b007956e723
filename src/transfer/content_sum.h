#pragma once
/// A number that tells bytes from others, whatever the order and the pieces in which they are added up.

#include <cstddef>
#include <cstdint>
#include <span>

namespace caiexport::transfer {

/// Of the bytes that lie in a file from `offset` on: the sum of its 8-byte words, each times an odd number that depends
/// on its place. The sums of two parts, added modulo 2^64, are the sum of both. Stored: must never change.
std::uint64_t contentSum(std::uint64_t offset, std::span<const std::byte> data);

}  // namespace caiexport::transfer
