#pragma once
/// Bytes that the simulator serves, wherever they come from.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

namespace caiexport::simulator {

/// Immutable bytes of known length. Thread safe.
class Content {
 public:
  virtual ~Content() = default;
  virtual std::uint64_t sizeBytes() const = 0;
  /// Fills `into` from `offset`; the range must lie within the content. core::Error(io) if it can't be read.
  virtual void read(std::uint64_t offset, std::span<std::byte> into) const = 0;
};

using ContentPtr = std::shared_ptr<const Content>;

ContentPtr memoryContent(std::string bytes);
/// Pseudo-random bytes computed from `seed` and the offset; nothing is stored.
ContentPtr patternContent(std::uint64_t seed, std::uint64_t sizeBytes);
/// A file on disk that stays as it is. core::Error(io) if it is not there.
ContentPtr fileContent(const std::filesystem::path& path);

}  // namespace caiexport::simulator
