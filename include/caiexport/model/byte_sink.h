#pragma once
/// The one interface from an answer of the platform to a file on disk.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "caiexport/model/job.h"

namespace caiexport::model {

/// Takes the bytes of one file, or of a range of it. For the fetching thread. What it throws must leave the fetch at
/// once: it may mean a full disk, a stop, or only that enough has come (derived from core::Interrupted).
class ByteSink {
 public:
  virtual ~ByteSink() = default;
  /// The version of which the bytes are wanted, where one is known: a range of another is asked for to come whole.
  virtual FileVersion wanted() const { return {}; }
  /// Before `begin`: the version that the answer names, if it names one. Whether it is the one wanted is the sink's to
  /// judge.
  virtual void isOf(const FileVersion& /*version*/) {}
  /// Before the first byte: where the bytes that come begin (the source may send another range than was asked for), and
  /// the whole file's length if the source knows it. Again if the source asks anew within one fetch.
  virtual void begin(std::uint64_t offset, std::optional<std::uint64_t> fileBytes) = 0;
  /// To be asked before more is read from where the bytes come from: how many of at most `bytes` bytes may be read now,
  /// at least one. Waits for the limit on the rate; throws like write.
  virtual std::size_t room(std::size_t bytes) { return bytes; }
  virtual void write(std::span<const std::byte> data) = 0;
};

}  // namespace caiexport::model
