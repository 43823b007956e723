#include "part_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>

#include "caiexport/core/descriptors.h"
#include "caiexport/core/error.h"
#include "caiexport/core/file_system.h"
#include "caiexport/core/text.h"
#include "caiexport/transfer/downloader.h"
#include "schedule.h"

namespace caiexport::transfer {
namespace {

using model::ByteRange;

constexpr std::uint64_t kReadBytes = 256U << 10U;
// A writer that is this close in front of the hash closes the gap itself: the bytes are still in the cache.
constexpr std::uint64_t kShortGapBytes = 1U << 20U;

/// Ranges mostly grow at their end, so this is a search and an addition.
void add(std::vector<ByteRange>& ranges, ByteRange range) {
  auto after = std::upper_bound(ranges.begin(), ranges.end(), range.first,
                                [](std::uint64_t first, const ByteRange& other) { return first < other.first; });
  auto merged = after;
  if (after != ranges.begin() && std::prev(after)->end >= range.first) {
    merged = std::prev(after);
    merged->end = std::max(merged->end, range.end);
  } else {
    merged = ranges.insert(after, range);
  }
  const auto following = std::next(merged);
  auto last = following;
  while (last != ranges.end() && last->first <= merged->end) {
    merged->end = std::max(merged->end, last->end);
    ++last;
  }
  ranges.erase(following, last);
}

bool differ(std::string_view one, std::string_view other) {
  return !one.empty() && !other.empty() && one != other;
}

/// RFC 9110, 8.8.1: it stays the same where only bytes changed that somebody thought of no account.
bool isWeak(std::string_view etag) {
  return etag.starts_with("W/");
}

/// The same tag comes weak and strong, where a proxy packs some answers, and with or without its quotes.
std::string_view tagIn(std::string_view etag) {
  if (isWeak(etag)) etag.remove_prefix(2);
  if (etag.size() >= 2 && etag.front() == '"' && etag.back() == '"') etag = etag.substr(1, etag.size() - 2);
  return etag;
}

bool areStrong(const std::string& one, const std::string& other) {
  return !one.empty() && !other.empty() && !isWeak(one) && !isWeak(other);
}

bool canBeCompared(const model::FileVersion& one, const model::FileVersion& other) {
  return areStrong(one.etag, other.etag) || (!one.lastModified.empty() && !other.lastModified.empty());
}

std::string nameOf(const model::FileVersion& version) {
  return core::printable(version.etag.empty() ? version.lastModified : version.etag, 80);
}

template <class Take>
void readAll(const std::filesystem::path& path, const std::stop_token& stop, const Take& take) {
  const core::Descriptor file(core::untilDone([&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC); }));
  if (!file.valid()) core::throwIoError("read", path, errno);
  const auto buffer = std::make_unique_for_overwrite<std::byte[]>(kReadBytes);
  while (true) {
    if (stop.stop_requested()) throw core::Interrupted();
    const ssize_t count = core::untilDone([&] { return ::read(file.number(), buffer.get(), kReadBytes); });
    if (count < 0) core::throwIoError("read", path, errno);
    if (count == 0) return;
    take(std::span<const std::byte>(buffer.get(), static_cast<std::size_t>(count)));
  }
}

constexpr std::uint64_t kWordBytes = 8;
constexpr std::uint64_t kWeight = 0x9E3779B97F4A7C15U;

/// Of the word with this number in the file. Odd, so that no change of a single word gets lost.
std::uint64_t weightOf(std::uint64_t word) {
  return (word * kWeight) | 1U;
}

/// Words are little-endian on every machine.
std::uint64_t wordAt(const std::byte* data) {
  std::uint64_t word = 0;
  std::memcpy(&word, data, kWordBytes);
  if constexpr (std::endian::native == std::endian::big) word = __builtin_bswap64(word);
  return word;
}

std::uint64_t byteAlone(std::uint64_t at, std::byte value) {
  return (std::uint64_t{std::to_integer<unsigned char>(value)} << (8 * (at % kWordBytes))) * weightOf(at / kWordBytes);
}

/// The sum of each word times its weight for `pairs` pairs of words, the first of which has the number `word`. Without
/// a multiplication a word: kWeight is odd, so its weight is `number * kWeight`, and one more where the number is even;
/// and where every sum so far is added up, the first word is in it as often as there are pairs, the last one once.
std::uint64_t sumOfPairs(std::uint64_t word, const std::byte* data, std::uint64_t pairs) {
  using Pair = std::uint64_t __attribute__((vector_size(2 * kWordBytes)));
  Pair sum{};
  Pair sums{};
  for (std::uint64_t i = 0; i < pairs; ++i, data += 2 * kWordBytes) {
    const Pair next{wordAt(data), wordAt(data + kWordBytes)};
    sum += next;
    sums += sum;
  }
  std::uint64_t numbered = 0;  // Each word times its number.
  for (unsigned lane = 0; lane < 2; ++lane)
    numbered += (word + lane) * sum[lane] + 2 * (pairs * sum[lane] - sums[lane]);
  return numbered * kWeight + sum[word % 2];
}

}  // namespace

PartFile::PartFile(core::FileSystem& files, std::filesystem::path path, std::uint64_t lengthBytes)
    : files_(files), path_(std::move(path)), lengthBytes_(lengthBytes) {}

PartFile::~PartFile() = default;

void PartFile::adopt(std::vector<ByteRange> done, std::optional<std::uint64_t> sum) {
  adopted_ = done;
  written_ = std::move(done);
  adoptedSum_ = sum;
  if (!written_.empty()) sum_ = sum;
}

void PartFile::write(std::uint64_t offset, std::span<const std::byte> data) {
  opened().writeAt(offset, data);
  const bool hashes = takeHashFor(offset);
  if (hashes) {
    if (hashedBytes_ < offset) hashFromDisk(hashedBytes_, offset, {});
    sha256_.update(data);
  }
  const std::uint64_t sum = contentSum(offset, data);
  const std::lock_guard lock(mutex_);
  if (hashes) {
    hashedBytes_ = offset + data.size();
    hashing_ = false;
  }
  add(written_, {offset, offset + data.size()});
  if (sum_) *sum_ += sum;
  unsyncedBytes_ += data.size();
}

std::uint64_t PartFile::unsyncedBytes() const {
  const std::lock_guard lock(mutex_);
  return unsyncedBytes_;
}

std::uint64_t PartFile::bytesBehind() const {
  const std::lock_guard lock(mutex_);
  return hashing_ ? 0 : contiguousEnd(hashedBytes_) - hashedBytes_;
}

void PartFile::hash(bool leaveToWriters, const std::stop_token& stop) {
  while (true) {
    std::uint64_t from = 0;
    std::uint64_t end = 0;
    {
      const std::lock_guard lock(mutex_);
      if (hashing_) return;
      from = hashedBytes_;
      end = contiguousEnd(from);
      if (end == from || (leaveToWriters && end - from < kShortGapBytes)) return;
      // In steps, so that a writer who is nearly reached is noticed.
      end = std::min(end, from + 8 * kShortGapBytes);
      hashing_ = true;
    }
    hashFromDisk(from, end, stop);
    const std::lock_guard lock(mutex_);
    hashedBytes_ = end;
    hashing_ = false;
  }
}

PartFile::Synced PartFile::sync() {
  Synced synced;
  core::WritableFile* file = nullptr;
  {
    const std::lock_guard lock(mutex_);
    synced = {.ranges = written_, .newBytes = std::exchange(unsyncedBytes_, 0), .sum = sum_};
    if (synced.newBytes > 0) file = file_.get();
  }
  if (file != nullptr) file->sync();
  return synced;
}

std::vector<ByteRange> PartFile::written() const {
  const std::lock_guard lock(mutex_);
  return written_;
}

bool PartFile::differs(std::uint64_t offset, std::span<const std::byte> data) {
  core::WritableFile& file = opened();
  std::vector<std::byte> there;
  for (const ByteRange& range : written()) {
    const std::uint64_t from = std::max(range.first, offset);
    const std::uint64_t end = std::min<std::uint64_t>(range.end, offset + data.size());
    if (from >= end) continue;
    there.resize(end - from);
    if (file.readAt(from, there) != there.size()) return true;
    if (std::memcmp(there.data(), &data[from - offset], there.size()) != 0) return true;
  }
  return false;
}

std::string PartFile::sha256() {
  if (hashedBytes_ != lengthBytes_) throw core::Error(core::Category::internal, "a file was hashed in part only");
  return sha256_.finish();
}

void PartFile::createEmpty() {
  core::WritableFile& file = opened();
  file.sync();
}

void PartFile::close() {
  const std::lock_guard lock(mutex_);
  file_.reset();
}

void PartFile::publish(const std::filesystem::path& target, bool replaces, const std::string& sha256,
                       const std::stop_token& stop) {
  close();
  const auto there = identity_ ? files_.identityOf(path_) : std::nullopt;
  if (identity_ && (!there || !there->isSameFile(*identity_))) {
    throw core::Error(
        core::Category::io,
        "cannot rename " + core::printable(path_.string()) + ": it was replaced by another file meanwhile",
        {.hint = "make sure that nothing else writes there, then run it again"});
  }
  if (replaces) return files_.rename(path_, target);
  if (files_.renameNew(path_, target)) return;
  // What an earlier run brought, if it ended before it could record that.
  if (files_.sizeOf(target) == lengthBytes_ && sha256OfFile(target, stop) == sha256) return discard();
  throw core::Error(core::Category::io,
                    "'" + core::printable(target.string()) + "' has turned up meanwhile, and is not overwritten",
                    {.hint = "move it away, then run it again"});
}

void PartFile::discard() {
  close();
  files_.remove(path_);
}

core::WritableFile& PartFile::opened() {
  const std::lock_guard lock(mutex_);
  if (file_) return *file_;
  if (adopted_.empty()) {
    openNew();
    if (preallocates_) file_->resize(lengthBytes_);
  } else {
    const std::uint64_t size = files_.sizeOf(path_).value_or(0);
    file_ = files_.open(path_);
    if (size > lengthBytes_ || (preallocates_ && size < lengthBytes_)) file_->resize(lengthBytes_);
  }
  identity_ = file_->identity();
  return *file_;
}

/// Never into a file that was there: it may have other names, and then is somebody else's too.
void PartFile::openNew() {
  file_ = files_.create(path_);
  if (!file_ && files_.sizeOf(path_)) {
    files_.remove(path_);
    file_ = files_.create(path_);
  }
  if (file_) return;
  files_.open(path_);  // says what is in the way
  throw core::Error(core::Category::io,
                    "cannot create " + core::printable(path_.string()) + ": a file of that name has just appeared",
                    {.hint = "make sure that nothing else writes there, then run it again"});
}

/// Whether the caller, who wrote at `offset`, is the one to hash. If so the hash is his until he gives it back.
bool PartFile::takeHashFor(std::uint64_t offset) {
  const std::lock_guard lock(mutex_);
  if (hashing_ || hashedBytes_ > offset || offset - hashedBytes_ > kShortGapBytes) return false;
  if (hashedBytes_ < offset && contiguousEnd(hashedBytes_) < offset) return false;
  hashing_ = true;
  return true;
}

void PartFile::hashFromDisk(std::uint64_t from, std::uint64_t end, const std::stop_token& stop) {
  core::WritableFile& file = opened();
  const std::uint64_t most = std::min(kReadBytes, end - from);
  const auto buffer = std::make_unique_for_overwrite<std::byte[]>(most);
  while (from < end) {
    if (stop.stop_requested()) throw core::Interrupted();
    const std::span<std::byte> wanted(buffer.get(), std::min(most, end - from));
    const std::size_t count = file.readAt(from, wanted);
    if (count == 0) {
      throw core::Error(core::Category::io,
                        "cannot read " + core::printable(path_.string()) + ": it became shorter meanwhile",
                        {.hint = "make sure that nothing else writes there, then run it again"});
    }
    sha256_.update(wanted.first(count));
    if (adoptedSum_) addRead(from, wanted.first(count));
    from += count;
  }
}

/// By the one thread that hashes.
void PartFile::addRead(std::uint64_t offset, std::span<const std::byte> data) {
  for (const ByteRange& range : adopted_) {
    const std::uint64_t from = std::max(range.first, offset);
    const std::uint64_t end = std::min<std::uint64_t>(range.end, offset + data.size());
    if (from < end) readSum_ += contentSum(from, data.subspan(from - offset, end - from));
  }
}

/// Where the bytes that are there without a gap from `from` on end; `from` if there are none.
std::uint64_t PartFile::contiguousEnd(std::uint64_t from) const {
  const auto after = std::upper_bound(written_.begin(), written_.end(), from,
                                      [](std::uint64_t at, const ByteRange& range) { return at < range.first; });
  return after == written_.begin() ? from : std::max(from, std::prev(after)->end);
}

void Versions::resume(const model::FileVersion& version) {
  const std::lock_guard lock(mutex_);
  known_ = version;
  answers_ = 1;
}

void Versions::answered(const model::FileVersion& version, const std::string& name) {
  const std::lock_guard lock(mutex_);
  if (differ(tagIn(known_.etag), tagIn(version.etag)) || differ(known_.lastModified, version.lastModified)) {
    throw FileChanged("cannot download " + core::printable(name) + ": it was rewritten while it was downloaded (from " +
                      nameOf(known_) + " to " + nameOf(version) + ")");
  }
  if (answers_ > 0 && !canBeCompared(known_, version)) named_ = false;
  if (answers_ == 0) known_ = version;
  ++answers_;
}

void Versions::forget() {
  const std::lock_guard lock(mutex_);
  known_ = {};
  answers_ = 0;
  named_ = true;
}

void Versions::startOver() {
  const std::lock_guard lock(mutex_);
  named_ = true;
}

model::FileVersion Versions::known() const {
  const std::lock_guard lock(mutex_);
  return known_;
}

bool Versions::isKnown() const {
  const std::lock_guard lock(mutex_);
  return !known_.empty();
}

bool Versions::agree() const {
  const std::lock_guard lock(mutex_);
  return named_;
}

std::uint64_t contentSum(std::uint64_t offset, std::span<const std::byte> data) {
  std::uint64_t sum = 0;
  std::size_t at = 0;
  while (at < data.size() && (offset + at) % kWordBytes != 0) {
    sum += byteAlone(offset + at, data[at]);
    ++at;
  }
  const std::uint64_t pairs = (data.size() - at) / (2 * kWordBytes);
  if (pairs > 0) sum += sumOfPairs((offset + at) / kWordBytes, &data[at], pairs);
  at += pairs * 2 * kWordBytes;
  for (; at < data.size(); ++at) sum += byteAlone(offset + at, data[at]);
  return sum;
}

std::string sha256OfFile(const std::filesystem::path& path, std::stop_token stop) {
  core::Sha256 hash;
  readAll(path, stop, [&](std::span<const std::byte> data) { hash.update(data); });
  return hash.finish();
}

ReadBack readBack(const std::filesystem::path& path, const std::stop_token& stop) {
  core::Sha256 hash;
  std::uint64_t offset = 0;
  std::uint64_t sum = 0;
  readAll(path, stop, [&](std::span<const std::byte> data) {
    hash.update(data);
    sum += contentSum(offset, data);
    offset += data.size();
  });
  return {.sha256 = hash.finish(), .sum = sum};
}

void putTogether(PartFile& part, Versions& versions, const DownloadItem& item, core::FileSystem& files,
                 const std::stop_token& stop) {
  const std::string name = core::printable(item.remote.name);
  std::uint64_t end = 0;
  for (const PieceOnDisk& piece : item.pieces) {
    versions.answered(piece.version, item.remote.name);
    core::Sha256 hash;
    std::uint64_t offset = piece.range.first;
    const bool again = offset < end;
    const auto take = [&](std::span<const std::byte> data) {
      hash.update(data);
      if (!again) part.write(offset, data);
      if (again && part.differs(offset, data)) {
        throw FileChanged("cannot put together " + name + ": it was rewritten while it was downloaded (bytes from " +
                          std::to_string(offset) + " on came again and are others)");
      }
      offset += data.size();
    };
    const bool fits = files.sizeOf(piece.path) == piece.range.sizeBytes();
    if (fits) readAll(piece.path, stop, take);
    if (!fits || hash.finish() != piece.sha256) {
      throw core::Error(
          core::Category::verification,
          "cannot put together " + name + ": '" + core::printable(piece.path.string()) + "' is not what was fetched",
          {.hint = "make sure that nothing else writes there"});
    }
    end = std::max(end, offset);
  }
}

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
