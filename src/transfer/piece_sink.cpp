#include "piece_sink.h"

#include <algorithm>

#include "caiexport/core/text.h"
#include "schedule.h"

namespace caiexport::transfer {
namespace {

// Reading this much to the end is cheaper than a new connection.
constexpr std::uint64_t kNotWorthCuttingBytes = 64U << 10U;

/// What the sink throws, but for the end that it wants itself, is kept: who knows what the source makes of it.
template <class Body>
void keeping(std::exception_ptr& failure, const Body& body) {
  try {
    body();
  } catch (const EnoughReceived&) {
    throw;
  } catch (...) {
    failure = std::current_exception();
    throw;
  }
}

}  // namespace

void PieceSink::begin(std::uint64_t offset, std::optional<std::uint64_t> fileBytes) {
  keeping(failure_, [&] {
    checkLength(fileBytes);
    checkVersion();
    beginAt(offset);
  });
}

void PieceSink::write(std::span<const std::byte> data) {
  keeping(failure_, [&] {
    if (!begun_) {
      checkVersion();
      beginAt(piece_.asked().first);
    }
    take(data);
  });
}

void PieceSink::checkLength(std::optional<std::uint64_t> fileBytes) const {
  const model::RemoteFile& remote = piece_.file()->item.remote;
  if (!fileBytes || *fileBytes == remote.lengthBytes) return;
  throw core::Error(core::Category::verification,
                    "cannot download " + core::printable(remote.name) + ": it was listed with " +
                        std::to_string(remote.lengthBytes) + " bytes, but the answer is of a file of " +
                        std::to_string(*fileBytes) + " bytes",
                    {.hint = "the file was replaced meanwhile: list the batch again with a new job"});
}

model::FileVersion PieceSink::wanted() const {
  return piece_.file()->versions.known();
}

void PieceSink::checkVersion() const {
  piece_.file()->versions.answered(version_, piece_.file()->item.remote.name);
}

void PieceSink::beginAt(std::uint64_t offset) {
  begun_ = true;
  position_ = offset;
  fromTheFront_ = offset == 0;
  wholeFileComes_ = offset == 0 && piece_.asked().first > 0;
  // Of a source that does not heed ranges the end can't be had first.
  if (wholeFileComes_ && piece_.purpose() == Purpose::tail) end();
  expectedEnd_ = offset < piece_.asked().first ? piece_.file()->item.remote.lengthBytes : piece_.asked().end;
  const model::ByteRange skipped = piece_.skipTo(offset);
  if (skipped.sizeBytes() > 0) leftOut_.push_back(skipped);
  if (piece_.rest().sizeBytes() == 0) endIfUseless();
}

void PieceSink::take(std::span<const std::byte> data) {
  if (data.empty()) return;
  if (!receiving_) arrivals_.onFirstByte();
  receiving_ = true;

  const std::uint64_t received = data.size();
  const std::uint64_t ahead = piece_.rest().first;
  const std::uint64_t before = ahead > position_ ? std::min<std::uint64_t>(ahead - position_, received) : 0;
  const auto useful = data.subspan(before);
  // What comes again anyway shows whether it is still the same.
  if (before > 0) compare(position_, data.first(before));
  position_ += received;

  model::ByteRange claimed;
  if (!useful.empty()) {
    claimed = piece_.claim(useful.size());
    if (claimed.sizeBytes() > 0) use(claimed.first, useful.first(claimed.sizeBytes()));
    keptBytes_ += claimed.sizeBytes();
  }
  if (position_ > piece_.asked().end) wholeFileComes_ = true;
  arrivals_.onBytes(received, piece_.purpose() == Purpose::check ? 0 : claimed.sizeBytes());
  endIfUseless();
}

void PieceSink::use(std::uint64_t offset, std::span<const std::byte> data) const {
  if (piece_.purpose() == Purpose::check) return compare(offset, data);
  piece_.file()->part.write(offset, data);
}

void PieceSink::compare(std::uint64_t offset, std::span<const std::byte> data) const {
  if (!piece_.file()->part.differs(offset, data)) return;
  throw FileChanged("cannot download " + core::printable(piece_.file()->item.remote.name) +
                    ": it was rewritten while it was downloaded (bytes from " + std::to_string(offset) +
                    " on came again and are others)");
}

void PieceSink::endIfUseless() {
  if (piece_.rest().sizeBytes() == 0 && uselessBytesAhead() > kNotWorthCuttingBytes) end();
}

/// A source that does not stop where it should is taken to go on to the end of the file.
std::uint64_t PieceSink::uselessBytesAhead() const {
  const std::uint64_t expected = position_ > expectedEnd_ ? piece_.file()->item.remote.lengthBytes : expectedEnd_;
  return expected > position_ ? expected - position_ : position_ > expectedEnd_ ? position_ - expectedEnd_ : 0;
}

void PieceSink::end() {
  enough_ = true;
  throw EnoughReceived();
}

}  // namespace caiexport::transfer
