#pragma once
/// Sorts out what a source sends in answer to a request for one range.

#include <cstdint>
#include <exception>
#include <optional>
#include <vector>

#include "caiexport/core/error.h"
#include "caiexport/transfer/downloader.h"

namespace caiexport::transfer {

class Piece;

/// Ends a transfer whose further bytes are of no use. Passed on by everything that passes on a stop.
struct EnoughReceived final : core::Interrupted {};

/// Told of what arrives. In the fetching thread; what it throws ends the transfer.
class Arrivals {
 public:
  virtual ~Arrivals() = default;
  virtual void onFirstByte() = 0;
  /// As model::ByteSink::room.
  virtual std::size_t room(std::size_t bytes) { return bytes; }
  virtual void onBytes(std::uint64_t received, std::uint64_t kept) = 0;
};

/// Keeps the bytes that the piece still needs, wherever the answer begins and ends, and drops all others.
class PieceSink final : public model::ByteSink {
 public:
  PieceSink(Piece& piece, Arrivals& arrivals) : piece_(piece), arrivals_(arrivals) {}

  model::FileVersion wanted() const override;
  void isOf(const model::FileVersion& version) override { version_ = version; }
  void begin(std::uint64_t offset, std::optional<std::uint64_t> fileBytes) override;
  std::size_t room(std::size_t bytes) override { return arrivals_.room(bytes); }
  void write(std::span<const std::byte> data) override;

  std::uint64_t keptBytes() const { return keptBytes_; }
  /// Asked for, but the answer began behind it.
  const std::vector<model::ByteRange>& leftOut() const { return leftOut_; }
  /// The source does not heed ranges: it began at the front of the file, or went on behind the range.
  bool wholeFileComes() const { return wholeFileComes_; }
  /// The answer began at the front of the file.
  bool fromTheFront() const { return fromTheFront_; }
  /// The sink ended the transfer because nothing useful would have followed.
  bool enough() const { return enough_; }
  /// What the sink threw for another reason, whatever the source made of it.
  const std::exception_ptr& failure() const { return failure_; }

 private:
  void checkLength(std::optional<std::uint64_t> fileBytes) const;
  void checkVersion() const;
  void beginAt(std::uint64_t offset);
  void use(std::uint64_t offset, std::span<const std::byte> data) const;
  void compare(std::uint64_t offset, std::span<const std::byte> data) const;
  void take(std::span<const std::byte> data);
  void endIfUseless();
  std::uint64_t uselessBytesAhead() const;
  [[noreturn]] void end();

  Piece& piece_;
  Arrivals& arrivals_;
  bool begun_ = false;
  bool receiving_ = false;
  std::uint64_t position_ = 0;     ///< In the file, of the next byte that comes.
  std::uint64_t expectedEnd_ = 0;  ///< Where the answer should end.
  std::uint64_t keptBytes_ = 0;
  std::vector<model::ByteRange> leftOut_;
  bool wholeFileComes_ = false;
  bool fromTheFront_ = false;
  model::FileVersion version_;
  bool enough_ = false;
  std::exception_ptr failure_;
};

}  // namespace caiexport::transfer
