#include "parquet_footer.h"

#include <cstdint>
#include <fstream>
#include <vector>

#include "caiexport/core/error.h"
#include "caiexport/core/file_system.h"

namespace caiexport::reader {
namespace {

using core::Category;
using core::Error;

[[noreturn]] void throwStrange() {
  throw Error(Category::internal, "the footer of the written Parquet file is not understood");
}

/// Walks Thrift's compact protocol over the footer; knows of its fields the names of columns alone.
class FooterNames {
 public:
  FooterNames(std::string& bytes, const std::function<std::string(std::string)>& rename)
      : bytes_(bytes), rename_(rename) {}

  void run() { walkStruct(); }

 private:
  enum Kind : unsigned {
    yes = 1,
    no = 2,
    byte = 3,
    i16 = 4,
    i32 = 5,
    i64 = 6,
    real = 7,
    binary = 8,
    list = 9,
    set = 10,
    map = 11,
    structure = 12
  };
  static constexpr std::size_t kDeepest = 64;

  unsigned next() {
    if (at_ >= bytes_.size()) throwStrange();
    return static_cast<unsigned char>(bytes_[at_++]);
  }

  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      const unsigned piece = next();
      value |= static_cast<std::uint64_t>(piece & 0x7FU) << shift;
      if ((piece & 0x80U) == 0) return value;
    }
    throwStrange();
  }

  void skip(std::uint64_t count) {
    if (count > bytes_.size() - at_) throwStrange();
    at_ += count;
  }

  void walkStruct() {
    if (path_.size() > kDeepest) throwStrange();
    std::int64_t field = 0;
    while (const unsigned head = next()) {
      const unsigned delta = head >> 4U;
      if (delta == 0) {
        const std::uint64_t coded = varint();
        field = static_cast<std::int64_t>(coded >> 1U) ^ -static_cast<std::int64_t>(coded & 1U);
      } else {
        field += delta;
      }
      path_.push_back(field);
      walkValue(head & 0xFU, false);
      path_.pop_back();
    }
  }

  /// Truths take a byte inside lists only.
  void walkValue(unsigned kind, bool inList) {
    switch (kind) {
      case yes:
      case no:
        return inList ? skip(1) : void();
      case byte:
        return skip(1);
      case i16:
      case i32:
      case i64:
        varint();
        return;
      case real:
        return skip(8);
      case binary:
        return walkText();
      case list:
      case set:
        return walkList();
      case map:
        return walkMap();
      case structure:
        return walkStruct();
      default:
        throwStrange();
    }
  }

  void walkText() {
    const std::uint64_t length = varint();
    const std::size_t begin = at_;
    skip(length);
    // FileMetaData.schema[].name, and .row_groups[].columns[].meta_data.path_in_schema[]
    static const std::vector<std::int64_t> kName{2, 4};
    static const std::vector<std::int64_t> kPath{4, 1, 3, 3};
    if (path_ != kName && path_ != kPath) return;
    const std::string name = rename_(bytes_.substr(begin, length));
    if (name.size() != length) throwStrange();
    bytes_.replace(begin, length, name);
  }

  void walkList() {
    const unsigned head = next();
    std::uint64_t count = head >> 4U;
    if (count == 15) count = varint();
    for (std::uint64_t index = 0; index < count; ++index) walkValue(head & 0xFU, true);
  }

  void walkMap() {
    const std::uint64_t count = varint();
    if (count == 0) return;
    const unsigned kinds = next();
    for (std::uint64_t index = 0; index < count; ++index) {
      walkValue(kinds >> 4U, true);
      walkValue(kinds & 0xFU, true);
    }
  }

  std::string& bytes_;
  const std::function<std::string(std::string)>& rename_;
  std::size_t at_ = 0;
  std::vector<std::int64_t> path_;  ///< Numbers of the fields, from the outermost in.
};

}  // namespace

void renameColumns(const std::filesystem::path& path, const std::function<std::string(std::string)>& rename) {
  constexpr std::uint64_t kTailBytes = 8;  // the footer's length and the magic number
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  std::string tail(kTailBytes, '\0');
  file.seekg(-static_cast<std::streamoff>(kTailBytes), std::ios::end);
  const auto end = static_cast<std::uint64_t>(file.tellg());
  file.read(tail.data(), kTailBytes);
  if (!file) core::throwIoError("read", path, errno);
  std::uint64_t length = 0;
  for (std::size_t index = 4; index-- > 0;) length = length << 8U | static_cast<unsigned char>(tail[index]);
  if (length > end) throwStrange();
  std::string footer(length, '\0');
  file.seekg(static_cast<std::streamoff>(end - length));
  file.read(footer.data(), static_cast<std::streamsize>(length));
  FooterNames(footer, rename).run();
  file.seekp(static_cast<std::streamoff>(end - length));
  file.write(footer.data(), static_cast<std::streamsize>(length));
  file.close();
  if (!file) core::throwIoError("write", path, errno);
}

}  // namespace caiexport::reader
