#include "schedule.h"

#include <algorithm>
#include <utility>

namespace caiexport::transfer {
namespace {

using model::ByteRange;

constexpr std::uint64_t kLeastRangeBytes = 1U << 20U;
constexpr std::uint64_t kMostRangeBytes = 256U << 20U;
// A file that is a little larger than a range is not worth two requests.
constexpr double kWholeFactor = 1.5;
// Waiting for the first byte costs at most a twentieth of the time of a range.
constexpr double kTransferPerWait = 20;
// A tail is worth a new request, and the loss of the connection that is cut short, if it saves this much time.
constexpr double kLeastSplitSeconds = 0.25;
constexpr double kRateWeight = 0.3;
// Where a tail begins: whole pages.
constexpr std::uint64_t kSplitAlignment = 64U << 10U;

double secondsOf(std::chrono::nanoseconds duration) {
  return std::chrono::duration<double>(duration).count();
}

void follow(double& average, double value) {
  average = average > 0 ? average + kRateWeight * (value - average) : value;
}

std::uint64_t bytesIn(const std::vector<Gap>& gaps) {
  std::uint64_t bytes = 0;
  for (const Gap& gap : gaps) bytes += gap.range.sizeBytes();
  return bytes;
}

}  // namespace

ByteRange Piece::rest() const {
  const std::lock_guard lock(mutex_);
  return rest_;
}

ByteRange Piece::claim(std::uint64_t most) {
  const std::lock_guard lock(mutex_);
  const ByteRange claimed{rest_.first, rest_.first + std::min(most, rest_.sizeBytes())};
  rest_.first = claimed.end;
  return claimed;
}

ByteRange Piece::skipTo(std::uint64_t offset) {
  const std::lock_guard lock(mutex_);
  const ByteRange skipped{rest_.first, std::clamp(offset, rest_.first, rest_.end)};
  rest_.first = skipped.end;
  return skipped;
}

ByteRange Piece::cutAt(std::uint64_t offset) {
  const std::lock_guard lock(mutex_);
  const ByteRange tail{std::clamp(offset, rest_.first, rest_.end), rest_.end};
  rest_.end = tail.first;
  return tail;
}

Schedule::Schedule(Settings settings) : settings_(settings), bytesPerSecond_(settings.expectedBytesPerSecond) {}

Schedule::~Schedule() {
  // Files and their pieces know each other.
  for (const File& file : begun_) file->active.clear();
}

void Schedule::add(File file) {
  fresh_.push_back(std::move(file));
}

void Schedule::addFirst(File file) {
  retire(file);
  fresh_.push_front(std::move(file));
}

void Schedule::replace(const File& file, File by) {
  retire(file);
  fresh_.push_front(std::move(by));
}

Schedule::File Schedule::begin() {
  if (fresh_.empty()) return nullptr;
  File file = std::move(fresh_.front());
  fresh_.pop_front();
  begun_.push_back(file);
  begunBytes_ += file->item.remote.lengthBytes;
  return file;
}

void Schedule::open(const File& file, const std::vector<ByteRange>& missing) {
  for (const ByteRange& range : missing) open(file, range);
}

void Schedule::open(const File& file, ByteRange missing, Purpose purpose) {
  file->gaps.push_back({.range = missing, .notBefore = file->notBefore, .purpose = purpose});
  waitingBytes_ += missing.sizeBytes();
}

void Schedule::retire(const File& file) {
  if (std::erase(begun_, file) > 0) begunBytes_ -= file->item.remote.lengthBytes;
}

void Schedule::abandon(FileTask& file) {
  waitingBytes_ -= bytesIn(file.gaps);
  file.gaps.clear();
  file.later.clear();
  for (const auto& piece : file.active) unrecordedBytes_ -= piece->cutAt(0).sizeBytes();
}

std::shared_ptr<Piece> Schedule::continueFile(const File& file, core::SteadyTime now, unsigned connections) {
  const auto gap = readyGap(*file, now);
  return gap == file->gaps.end() ? nullptr : cut(file, *gap, now, connections);
}

std::shared_ptr<Piece> Schedule::takeAny(core::SteadyTime now, unsigned connections) {
  const File* best = nullptr;
  std::uint64_t mostBytes = 0;
  for (const File& file : begun_) {
    if (readyGap(*file, now) == file->gaps.end()) continue;
    const std::uint64_t bytes = bytesIn(file->gaps);
    if (bytes <= mostBytes) continue;
    best = &file;
    mostBytes = bytes;
  }
  return best == nullptr ? nullptr : continueFile(*best, now, connections);
}

std::shared_ptr<Piece> Schedule::splitTail(core::SteadyTime now) {
  const std::shared_ptr<Piece> piece = splittable(now);
  if (!piece) return nullptr;
  const ByteRange rest = piece->rest();
  std::uint64_t middle = rest.first + rest.sizeBytes() / 2;
  if (rest.sizeBytes() > 4 * kSplitAlignment)
    middle = (middle + kSplitAlignment - 1) / kSplitAlignment * kSplitAlignment;
  const ByteRange tail = piece->cutAt(middle);
  if (tail.sizeBytes() == 0) return nullptr;
  piece->file()->recorded = true;
  unrecordedBytes_ -= tail.sizeBytes();
  return start(piece->file(), tail, 0, now);
}

std::vector<Gap>::iterator Schedule::readyGap(FileTask& file, core::SteadyTime now) const {
  if (file.stage != FileStage::fetching || file.failure) return file.gaps.end();
  // A source that ignores ranges sends everything before a range, too: one connection is enough.
  const std::size_t most = file.ignoresRanges ? 1 : mostOnOneFile_;
  if (file.active.size() >= most) return file.gaps.end();
  return std::find_if(file.gaps.begin(), file.gaps.end(), [&](const Gap& gap) { return gap.notBefore <= now; });
}

bool Schedule::hasGap(core::SteadyTime now) const {
  return std::any_of(begun_.begin(), begun_.end(),
                     [&](const File& file) { return readyGap(*file, now) != file->gaps.end(); });
}

std::optional<core::SteadyTime> Schedule::earliestRetry(core::SteadyTime now) const {
  std::optional<core::SteadyTime> earliest;
  for (const File& file : begun_) {
    if (file->stage != FileStage::fetching || file->failure) continue;
    for (const Gap& gap : file->gaps) {
      if (gap.notBefore > now && (!earliest || gap.notBefore < *earliest)) earliest = gap.notBefore;
    }
  }
  return earliest;
}

void Schedule::giveBack(FileTask& file, Gap gap) {
  if (gap.range.sizeBytes() == 0) return;
  waitingBytes_ += gap.range.sizeBytes();
  const auto after = std::find_if(file.gaps.begin(), file.gaps.end(),
                                  [&](const Gap& other) { return other.range.first > gap.range.first; });
  file.gaps.insert(after, gap);
}

void Schedule::ended(const std::shared_ptr<Piece>& piece, std::uint64_t missingBytes) {
  unrecordedBytes_ -= missingBytes;
  std::erase(piece->file()->active, piece);
}

void Schedule::measured(std::uint64_t bytes, std::chrono::nanoseconds firstByteWait,
                        std::chrono::nanoseconds transfer) {
  follow(firstByteSeconds_, std::max(secondsOf(firstByteWait), 1e-6));
  // Small answers arrive at once and say little about the rate, unless they come slowly.
  if (bytes < kLeastRangeBytes && transfer < std::chrono::seconds(1)) return;
  if (bytes == 0 || transfer <= std::chrono::nanoseconds::zero()) return;
  follow(bytesPerSecond_, static_cast<double>(bytes) / secondsOf(transfer));
}

std::uint64_t Schedule::rangeBytes() const {
  auto bytes = static_cast<double>(settings_.rangeBytes);
  if (bytesPerSecond_ > 0) {
    const double longest = bytesPerSecond_ * secondsOf(settings_.longestResponse) / 2;
    bytes = std::min(std::max(bytes, bytesPerSecond_ * firstByteSeconds_ * kTransferPerWait), longest);
  }
  const std::uint64_t least = std::min(kLeastRangeBytes, settings_.rangeBytes);
  return std::max(least, static_cast<std::uint64_t>(std::min(bytes, static_cast<double>(kMostRangeBytes))));
}

/// Near the end smaller ranges let all connections end at about the same time; a single one has nobody to wait for.
std::uint64_t Schedule::rangeBytesNow(unsigned connections) const {
  const std::uint64_t bytes = rangeBytes();
  if (!exhausted_ || hasFresh() || connections == 1) return bytes;
  const auto worthwhile = static_cast<std::uint64_t>(bytesPerSecond_ * firstByteSeconds_ * kTransferPerWait / 5);
  const std::uint64_t least = std::max({worthwhile, settings_.rangeBytes / 4, std::min(kLeastRangeBytes, bytes)});
  return std::min(bytes, std::max(least, waitingBytes_ / (2 * std::uint64_t{std::max(1U, connections)})));
}

std::shared_ptr<Piece> Schedule::cut(const File& file, Gap& gap, core::SteadyTime now, unsigned connections) {
  const std::uint64_t bytes = rangeBytesNow(connections);
  const auto wholeBytes = static_cast<std::uint64_t>(static_cast<double>(bytes) * kWholeFactor);
  ByteRange range = gap.range;
  const int failedTries = gap.failedTries;
  const Purpose purpose = gap.purpose;
  if (purpose != Purpose::data || comesInOne(*file) || range.sizeBytes() <= wholeBytes) {
    file->gaps.erase(file->gaps.begin() + (&gap - file->gaps.data()));
  } else {
    range.end = range.first + bytes;
    gap = {.range = {range.end, gap.range.end}};
    file->recorded = true;
  }
  waitingBytes_ -= range.sizeBytes();
  return start(file, range, failedTries, now, purpose);
}

/// In one answer it is of one version; in several, only if something tells the versions apart.
bool Schedule::comesInOne(const FileTask& file) const {
  return file.ignoresRanges || (settings_.tailBytes > 0 && !file.tailFirst && !file.versions.isKnown());
}

std::shared_ptr<Piece> Schedule::start(const File& file, ByteRange range, int failedTries, core::SteadyTime now,
                                       Purpose purpose) {
  auto piece = std::make_shared<Piece>(file, range, failedTries, now, purpose);
  file->active.push_back(piece);
  unrecordedBytes_ += range.sizeBytes();
  return piece;
}

std::shared_ptr<Piece> Schedule::splittable(core::SteadyTime now) const {
  std::shared_ptr<Piece> largest;
  std::uint64_t mostBytes = 2 * std::min(kLeastRangeBytes, settings_.rangeBytes) - 1;
  for (const File& file : begun_) {
    if (file->item.remote.lengthBytes <= mostBytes || file->failure) continue;
    if (comesInOne(*file) || file->active.size() >= mostOnOneFile_) continue;
    for (const auto& piece : file->active) {
      if (piece->purpose() != Purpose::data) continue;
      const std::uint64_t bytes = piece->rest().sizeBytes();
      if (bytes <= mostBytes) continue;
      largest = piece;
      mostBytes = bytes;
    }
  }
  if (!largest || secondsLeft(*largest, now) < std::max(2 * kLeastSplitSeconds, 4 * firstByteSeconds_)) return nullptr;
  return largest;
}

/// By what the piece has done so far; one without a byte is taken to need as long again as it has waited.
double Schedule::secondsLeft(const Piece& piece, core::SteadyTime now) const {
  const double elapsed = secondsOf(now - piece.begun());
  const ByteRange rest = piece.rest();
  const std::uint64_t arrived = rest.first - piece.asked().first;
  if (arrived == 0) return elapsed;
  return elapsed * static_cast<double>(rest.sizeBytes()) / static_cast<double>(arrived);
}

}  // namespace caiexport::transfer
