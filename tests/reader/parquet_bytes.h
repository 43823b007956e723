#pragma once
/// Parquet files made byte by byte, for what no writer at hand makes: INT96 times as Spark wrote them, and footers that
/// lie. Thrift's compact protocol and the layout are those of "Apache Parquet: File Format".

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

namespace caiexport::test {

/// A thrift struct in the compact protocol; fields in rising order.
class ThriftStruct {
 public:
  ThriftStruct& number(int field, std::int64_t value, int type = kI64) {
    head(field, type);
    bytes_ += varint(zigzag(value));
    return *this;
  }
  ThriftStruct& i32(int field, std::int32_t value) { return number(field, value, kI32); }
  ThriftStruct& text(int field, const std::string& value) {
    head(field, kBinary);
    bytes_ += varint(value.size()) + value;
    return *this;
  }
  ThriftStruct& nested(int field, const ThriftStruct& value) {
    head(field, kStruct);
    bytes_ += value.finished();
    return *this;
  }
  ThriftStruct& structs(int field, const std::vector<ThriftStruct>& values) {
    listHead(field, values.size(), kStruct);
    for (const ThriftStruct& value : values) bytes_ += value.finished();
    return *this;
  }
  ThriftStruct& numbers(int field, const std::vector<std::int32_t>& values) {
    listHead(field, values.size(), kI32);
    for (const std::int32_t value : values) bytes_ += varint(zigzag(value));
    return *this;
  }
  ThriftStruct& texts(int field, const std::vector<std::string>& values) {
    listHead(field, values.size(), kBinary);
    for (const std::string& value : values) bytes_ += varint(value.size()) + value;
    return *this;
  }
  std::string finished() const { return bytes_ + '\0'; }

 private:
  static constexpr int kI32 = 5;
  static constexpr int kI64 = 6;
  static constexpr int kBinary = 8;
  static constexpr int kList = 9;
  static constexpr int kStruct = 12;

  static std::uint64_t zigzag(std::int64_t value) {
    return (static_cast<std::uint64_t>(value) << 1U) ^ static_cast<std::uint64_t>(value >> 63);
  }
  static std::string varint(std::uint64_t value) {
    std::string bytes;
    for (; value >= 0x80; value >>= 7U) bytes += static_cast<char>(value | 0x80U);
    return bytes + static_cast<char>(value);
  }
  void head(int field, int type) {
    bytes_ += static_cast<char>((field - last_) << 4 | type);
    last_ = field;
  }
  void listHead(int field, std::size_t size, int type) {
    head(field, kList);
    bytes_ += static_cast<char>(static_cast<int>(size) << 4 | type);
  }

  std::string bytes_;
  int last_ = 0;
};

enum class PhysicalType { int64 = 2, int96 = 3, real = 5, bytes = 6 };

/// A required column, PLAIN and uncompressed.
struct RawColumn {
  std::string name;
  PhysicalType type;
  std::string values;  ///< As they stand in the page.
};

template <typename Number>
std::string plain(std::initializer_list<Number> values) {
  std::string bytes;
  for (const Number value : values) {
    char buffer[sizeof value];
    std::memcpy(buffer, &value, sizeof value);
    bytes.append(buffer, sizeof value);
  }
  return bytes;
}

/// Nanoseconds of the day, then the Julian day: as Impala and Spark store times.
inline std::string int96(std::int64_t nanoseconds, std::int32_t julianDay) {
  return plain<std::int64_t>({nanoseconds}) + plain<std::int32_t>({julianDay});
}

/// What the footer says, where it shall not be the truth.
struct Lies {
  std::int64_t fileRows = -1;
  std::int64_t groupRows = -1;
  std::int64_t chunkBytes = -1;
};

inline std::string parquetBytes(const std::vector<RawColumn>& columns, std::int64_t rows, const Lies& lies = {}) {
  std::string file = "PAR1";
  std::vector<ThriftStruct> schema{ThriftStruct().text(4, "schema").i32(5, static_cast<std::int32_t>(columns.size()))};
  std::vector<ThriftStruct> chunks;
  for (const RawColumn& column : columns) {
    schema.push_back(ThriftStruct().i32(1, static_cast<std::int32_t>(column.type)).i32(3, 0).text(4, column.name));
    const auto size = static_cast<std::int32_t>(column.values.size());
    const auto offset = static_cast<std::int64_t>(file.size());
    const ThriftStruct page = ThriftStruct().i32(1, 0).i32(2, size).i32(3, size).nested(
        5, ThriftStruct().i32(1, static_cast<std::int32_t>(rows)).i32(2, 0).i32(3, 3).i32(4, 3));
    file += page.finished() + column.values;
    const std::int64_t bytes = static_cast<std::int64_t>(file.size()) - offset;
    chunks.push_back(
        ThriftStruct().number(2, offset).nested(3, ThriftStruct()
                                                       .i32(1, static_cast<std::int32_t>(column.type))
                                                       .numbers(2, {0, 3})
                                                       .texts(3, {column.name})
                                                       .i32(4, 0)
                                                       .number(5, rows)
                                                       .number(6, bytes)
                                                       .number(7, lies.chunkBytes >= 0 ? lies.chunkBytes : bytes)
                                                       .number(9, offset)));
  }
  const ThriftStruct group = ThriftStruct()
                                 .structs(1, chunks)
                                 .number(2, static_cast<std::int64_t>(file.size()))
                                 .number(3, lies.groupRows >= 0 ? lies.groupRows : rows);
  const std::string footer = ThriftStruct()
                                 .i32(1, 1)
                                 .structs(2, schema)
                                 .number(3, lies.fileRows >= 0 ? lies.fileRows : rows)
                                 .structs(4, {group})
                                 .text(6, "bytes")
                                 .finished();
  return file + footer + plain<std::uint32_t>({static_cast<std::uint32_t>(footer.size())}) + "PAR1";
}

}  // namespace caiexport::test
