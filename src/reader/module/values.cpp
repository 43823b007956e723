#include "values.h"

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstring>
#include <limits>

#include "caiexport/core/text.h"

namespace caiexport::reader {
namespace {

__extension__ using Int128 = __int128;
__extension__ using Unsigned128 = unsigned __int128;

constexpr std::int64_t kSecondsPerDay = 86400;

template <typename Number>
void appendNumber(std::string& out, Number value) {
  char buffer[48];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value).ptr;
  out.append(buffer, end);
}

void appendUnsigned128(std::string& out, Unsigned128 value) {
  char buffer[40];
  char* at = buffer + sizeof buffer;
  do {
    *--at = static_cast<char>('0' + static_cast<int>(value % 10));
    value /= 10;
  } while (value != 0);
  out.append(at, buffer + sizeof buffer);
}

Unsigned128 magnitude(Int128 value) {
  return value < 0 ? ~static_cast<Unsigned128>(value) + 1 : static_cast<Unsigned128>(value);
}

void append128(std::string& out, Int128 value) {
  if (value < 0) out += '-';
  appendUnsigned128(out, magnitude(value));
}

Int128 hugeInt(const duckdb_hugeint& value) {
  return static_cast<Int128>((static_cast<Unsigned128>(static_cast<std::uint64_t>(value.upper)) << 64U) | value.lower);
}

/// `12.0`, not `12`: who reads the text must see that it is no integer.
template <typename Float>
void appendFloat(std::string& out, Float value) {
  const std::size_t before = out.size();
  appendNumber(out, value);
  const bool looksWhole = std::all_of(out.begin() + static_cast<std::ptrdiff_t>(before), out.end(),
                                      [](char letter) { return letter == '-' || (letter >= '0' && letter <= '9'); });
  if (looksWhole) out += ".0";
}

void appendDigits(std::string& out, std::uint64_t value, int width) {
  char buffer[20];
  for (int index = width - 1; index >= 0; --index) {
    buffer[index] = static_cast<char>('0' + static_cast<int>(value % 10));
    value /= 10;
  }
  out.append(buffer, static_cast<std::size_t>(width));
}

void appendDecimal(std::string& out, Int128 value, int scale) {
  if (value < 0) out += '-';
  std::string digits;
  appendUnsigned128(digits, magnitude(value));
  if (scale == 0) {
    out += digits;
    return;
  }
  const auto places = static_cast<std::size_t>(scale);
  if (digits.size() <= places) digits.insert(0, places + 1 - digits.size(), '0');
  out.append(digits, 0, digits.size() - places);
  out += '.';
  out.append(digits, digits.size() - places);
}

void appendDate(std::string& out, std::int64_t days) {
  using namespace std::chrono;
  // The calendar of <chrono> ends at year 32767; further days can come from damaged or strange files only.
  static constexpr std::int64_t kFarthest = 11'000'000;
  if (days > kFarthest || days < -kFarthest) {
    out += "day ";
    appendNumber(out, days);
    return;
  }
  const year_month_day date{sys_days(std::chrono::days(days))};
  const int year = static_cast<int>(date.year());
  if (year < 0) out += '-';
  appendDigits(out, static_cast<std::uint64_t>(std::abs(year)), std::abs(year) > 9999 ? 5 : 4);
  out += '-';
  appendDigits(out, static_cast<unsigned>(date.month()), 2);
  out += '-';
  appendDigits(out, static_cast<unsigned>(date.day()), 2);
}

void appendClock(std::string& out, std::int64_t seconds) {
  appendDigits(out, static_cast<std::uint64_t>(seconds / 3600), 2);
  out += ':';
  appendDigits(out, static_cast<std::uint64_t>(seconds / 60 % 60), 2);
  out += ':';
  appendDigits(out, static_cast<std::uint64_t>(seconds % 60), 2);
}

/// Three, six or nine digits: as few as hold it.
void appendFraction(std::string& out, std::int64_t nanoseconds) {
  out += '.';
  if (nanoseconds % 1'000'000 == 0) return appendDigits(out, static_cast<std::uint64_t>(nanoseconds / 1'000'000), 3);
  if (nanoseconds % 1'000 == 0) return appendDigits(out, static_cast<std::uint64_t>(nanoseconds / 1'000), 6);
  appendDigits(out, static_cast<std::uint64_t>(nanoseconds), 9);
}

/// RFC 3339. `perSecond` says the unit. DuckDB marks infinite times by the ends of the range.
void appendTimestamp(std::string& out, std::int64_t value, std::int64_t perSecond) {
  if (value == std::numeric_limits<std::int64_t>::max()) {
    out += "infinity";
    return;
  }
  if (value == -std::numeric_limits<std::int64_t>::max()) {
    out += "-infinity";
    return;
  }
  std::int64_t seconds = value / perSecond;
  std::int64_t rest = value % perSecond;
  if (rest < 0) {
    rest += perSecond;
    --seconds;
  }
  std::int64_t days = seconds / kSecondsPerDay;
  std::int64_t ofDay = seconds % kSecondsPerDay;
  if (ofDay < 0) {
    ofDay += kSecondsPerDay;
    --days;
  }
  appendDate(out, days);
  out += 'T';
  appendClock(out, ofDay);
  appendFraction(out, rest * (1'000'000'000 / perSecond));
  out += 'Z';
}

void appendTime(std::string& out, std::int64_t micros) {
  appendClock(out, micros / 1'000'000);
  if (micros % 1'000'000 != 0) appendFraction(out, micros % 1'000'000 * 1000);
}

void appendBase64(std::string& out, std::string_view bytes) {
  static constexpr char kAlphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const auto byte = [&bytes](std::size_t index) -> unsigned {
    return index < bytes.size() ? static_cast<unsigned char>(bytes[index]) : 0U;
  };
  for (std::size_t at = 0; at < bytes.size(); at += 3) {
    const unsigned group = byte(at) << 16U | byte(at + 1) << 8U | byte(at + 2);
    out += kAlphabet[group >> 18U & 63U];
    out += kAlphabet[group >> 12U & 63U];
    out += at + 1 < bytes.size() ? kAlphabet[group >> 6U & 63U] : '=';
    out += at + 2 < bytes.size() ? kAlphabet[group & 63U] : '=';
  }
}

/// DuckDB stores UUIDs with the highest bit turned, so that they sort as numbers.
void appendUuid(std::string& out, const duckdb_hugeint& value) {
  static constexpr char kDigits[] = "0123456789abcdef";
  const std::uint64_t upper = static_cast<std::uint64_t>(value.upper) ^ (std::uint64_t{1} << 63U);
  for (int digit = 0; digit < 32; ++digit) {
    if (digit == 8 || digit == 12 || digit == 16 || digit == 20) out += '-';
    const std::uint64_t half = digit < 16 ? upper : value.lower;
    out += kDigits[half >> (60U - 4U * static_cast<unsigned>(digit % 16)) & 15U];
  }
}

Int128 decimalAt(const VectorView& view, std::uint64_t index) {
  switch (view.type->storage) {
    case DUCKDB_TYPE_SMALLINT:
      return view.at<std::int16_t>(index);
    case DUCKDB_TYPE_INTEGER:
      return view.at<std::int32_t>(index);
    case DUCKDB_TYPE_BIGINT:
      return view.at<std::int64_t>(index);
    default:
      return hugeInt(view.at<duckdb_hugeint>(index));
  }
}

const std::string& labelAt(const VectorView& view, std::uint64_t index) {
  std::size_t label = 0;
  switch (view.type->storage) {
    case DUCKDB_TYPE_UTINYINT:
      label = view.at<std::uint8_t>(index);
      break;
    case DUCKDB_TYPE_USMALLINT:
      label = view.at<std::uint16_t>(index);
      break;
    default:
      label = view.at<std::uint32_t>(index);
      break;
  }
  return view.type->labels.at(label);
}

/// A value that is not nested and not null.
void appendScalar(std::string& out, const VectorView& view, std::uint64_t index) {
  switch (view.type->id) {
    case DUCKDB_TYPE_BOOLEAN:
      out += view.at<bool>(index) ? "true" : "false";
      return;
    case DUCKDB_TYPE_TINYINT:
      return appendNumber(out, view.at<std::int8_t>(index));
    case DUCKDB_TYPE_SMALLINT:
      return appendNumber(out, view.at<std::int16_t>(index));
    case DUCKDB_TYPE_INTEGER:
      return appendNumber(out, view.at<std::int32_t>(index));
    case DUCKDB_TYPE_BIGINT:
      return appendNumber(out, view.at<std::int64_t>(index));
    case DUCKDB_TYPE_UTINYINT:
      return appendNumber(out, view.at<std::uint8_t>(index));
    case DUCKDB_TYPE_USMALLINT:
      return appendNumber(out, view.at<std::uint16_t>(index));
    case DUCKDB_TYPE_UINTEGER:
      return appendNumber(out, view.at<std::uint32_t>(index));
    case DUCKDB_TYPE_UBIGINT:
      return appendNumber(out, view.at<std::uint64_t>(index));
    case DUCKDB_TYPE_HUGEINT:
      return append128(out, hugeInt(view.at<duckdb_hugeint>(index)));
    case DUCKDB_TYPE_UHUGEINT: {
      const auto& value = view.at<duckdb_uhugeint>(index);
      return appendUnsigned128(out, static_cast<Unsigned128>(value.upper) << 64U | value.lower);
    }
    case DUCKDB_TYPE_FLOAT:
      if (!std::isfinite(view.at<float>(index))) return appendNumber(out, view.at<float>(index));
      return appendFloat(out, view.at<float>(index));
    case DUCKDB_TYPE_DOUBLE:
      if (!std::isfinite(view.at<double>(index))) return appendNumber(out, view.at<double>(index));
      return appendFloat(out, view.at<double>(index));
    case DUCKDB_TYPE_DECIMAL:
      return appendDecimal(out, decimalAt(view, index), view.type->scale);
    case DUCKDB_TYPE_DATE:
      return appendDate(out, view.at<std::int32_t>(index));
    case DUCKDB_TYPE_TIME:
      return appendTime(out, view.at<std::int64_t>(index));
    case DUCKDB_TYPE_TIMESTAMP_S:
      return appendTimestamp(out, view.at<std::int64_t>(index), 1);
    case DUCKDB_TYPE_TIMESTAMP_MS:
      return appendTimestamp(out, view.at<std::int64_t>(index), 1'000);
    case DUCKDB_TYPE_TIMESTAMP:
    case DUCKDB_TYPE_TIMESTAMP_TZ:
      return appendTimestamp(out, view.at<std::int64_t>(index), 1'000'000);
    case DUCKDB_TYPE_TIMESTAMP_NS:
      return appendTimestamp(out, view.at<std::int64_t>(index), 1'000'000'000);
    case DUCKDB_TYPE_VARCHAR:
      out += view.text(index);
      return;
    case DUCKDB_TYPE_BLOB:
      return appendBase64(out, view.text(index));
    case DUCKDB_TYPE_ENUM:
      out += labelAt(view, index);
      return;
    case DUCKDB_TYPE_UUID:
      return appendUuid(out, view.at<duckdb_hugeint>(index));
    default:
      return;
  }
}

/// Numbers and truth values stand bare in JSON.
bool standsBare(const VectorView& view, std::uint64_t index) {
  if (view.type->id == DUCKDB_TYPE_DOUBLE) return std::isfinite(view.at<double>(index));
  if (view.type->id == DUCKDB_TYPE_FLOAT) return std::isfinite(view.at<float>(index));
  return view.type->isNumeric() || view.type->id == DUCKDB_TYPE_BOOLEAN;
}

/// JSON on one line: line ends can stand between its tokens only.
void appendRawJson(std::string& out, std::string_view json) {
  for (const char letter : json) out += letter == '\n' || letter == '\r' ? ' ' : letter;
}

void appendScalarJson(std::string& out, const VectorView& view, std::uint64_t index) {
  if (standsBare(view, index)) return appendScalar(out, view, index);
  if (view.type->isFloat() || view.type->id == DUCKDB_TYPE_SQLNULL) {
    out += "null";
    return;
  }
  if (view.type->id == DUCKDB_TYPE_VARCHAR) {
    if (view.type->json) return appendRawJson(out, view.text(index));
    return appendJsonString(out, view.text(index));
  }
  if (view.type->id == DUCKDB_TYPE_ENUM) return appendJsonString(out, labelAt(view, index));
  out += '"';  // times, Base64 and UUIDs need no escapes
  appendScalar(out, view, index);
  out += '"';
}

void appendListJson(std::string& out, const VectorView& view, std::uint64_t index) {
  const Elements elements = elementsAt(view, index);
  out += '[';
  for (std::uint64_t offset = 0; offset < elements.count; ++offset) {
    if (offset > 0) out += ',';
    appendJson(out, view.children[0], elements.from + offset);
  }
  out += ']';
}

void appendMapJson(std::string& out, const VectorView& view, std::uint64_t index) {
  const Elements elements = elementsAt(view, index);
  const VectorView& keys = view.children[0].children[0];
  const VectorView& values = view.children[0].children[1];
  out += '{';
  for (std::uint64_t offset = 0; offset < elements.count; ++offset) {
    if (offset > 0) out += ',';
    if (keys.type->id == DUCKDB_TYPE_VARCHAR) {
      appendJsonString(out, keys.text(elements.from + offset));
    } else {
      std::string key;
      appendText(key, keys, elements.from + offset);
      appendJsonString(out, key);
    }
    out += ':';
    appendJson(out, values, elements.from + offset);
  }
  out += '}';
}

void appendStructJson(std::string& out, const VectorView& view, std::uint64_t index) {
  out += '{';
  bool first = true;
  for (const VectorView& field : view.children) {
    if (!first) out += ',';
    first = false;
    out += field.key;
    appendJson(out, field, index);
  }
  out += '}';
}

/// A table, since every letter of every text is asked for.
constexpr auto kNeedsEscape = [] {
  std::array<bool, 256> table{};
  for (std::size_t code = 0; code < 0x20; ++code) table[code] = true;
  table['"'] = table['\\'] = true;
  return table;
}();

void appendEscape(std::string& out, char letter) {
  switch (letter) {
    case '"':
      out += "\\\"";
      return;
    case '\\':
      out += "\\\\";
      return;
    case '\n':
      out += "\\n";
      return;
    case '\r':
      out += "\\r";
      return;
    case '\t':
      out += "\\t";
      return;
    default:
      out += "\\u00";
      out += "0123456789abcdef"[static_cast<unsigned char>(letter) >> 4U];
      out += "0123456789abcdef"[static_cast<unsigned char>(letter) & 15U];
      return;
  }
}

void flattenInto(std::vector<Leaf>& leaves, const VectorView& view, const std::string& name,
                 std::vector<const VectorView*> above) {
  if (!view.type->isStruct()) {
    leaves.push_back({name, std::move(above), &view});
    return;
  }
  above.push_back(&view);
  for (const VectorView& field : view.children) flattenInto(leaves, field, name + "." + field.type->name, above);
}

/// The pair that a map's vector holds, as a type of its own.
VectorView entryView(const Type& map) {
  static const Type kEntry{.name = {}, .id = DUCKDB_TYPE_STRUCT};
  VectorView entry(kEntry);
  entry.children.emplace_back(map.children[0]);
  entry.children.emplace_back(map.children[1]);
  return entry;
}

}  // namespace

VectorView::VectorView(const Type& vectorType) : type(&vectorType) {
  appendJsonString(key, vectorType.name);
  key += ':';
  if (vectorType.id == DUCKDB_TYPE_MAP) {
    children.push_back(entryView(vectorType));
    return;
  }
  for (const Type& child : vectorType.children) children.emplace_back(child);
}

void VectorView::bind(duckdb_vector vector) {
  data = duckdb_vector_get_data(vector);
  validity = duckdb_vector_get_validity(vector);
  switch (type->id) {
    case DUCKDB_TYPE_STRUCT:
      for (std::size_t index = 0; index < children.size(); ++index) {
        children[index].bind(duckdb_struct_vector_get_child(vector, index));
      }
      return;
    case DUCKDB_TYPE_LIST:
    case DUCKDB_TYPE_MAP:
      children[0].bind(duckdb_list_vector_get_child(vector));
      return;
    case DUCKDB_TYPE_ARRAY:
      children[0].bind(duckdb_array_vector_get_child(vector));
      return;
    default:
      return;
  }
}

std::string_view VectorView::text(std::uint64_t index) const {
  const auto* value = static_cast<const duckdb_string_t*>(data) + index;
  const std::uint32_t length = value->value.inlined.length;
  // Short text lies in the value itself (duckdb.h, duckdb_string_t).
  return {length <= sizeof value->value.inlined.inlined ? value->value.inlined.inlined : value->value.pointer.ptr,
          length};
}

Elements elementsAt(const VectorView& list, std::uint64_t index) {
  if (list.type->id == DUCKDB_TYPE_ARRAY) return {index * list.type->arraySize, list.type->arraySize};
  const auto& entry = list.at<duckdb_list_entry>(index);
  return {entry.offset, entry.length};
}

void appendJsonString(std::string& out, std::string_view text) {
  out += '"';
  std::size_t from = 0;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (!kNeedsEscape[static_cast<unsigned char>(text[at])]) continue;
    out.append(text, from, at - from);
    appendEscape(out, text[at]);
    from = at + 1;
  }
  out.append(text, from);
  out += '"';
}

void appendText(std::string& out, const VectorView& view, std::uint64_t index) {
  if (view.isNull(index)) return;
  if (!view.type->children.empty()) {
    appendJson(out, view, index);
  } else {
    appendScalar(out, view, index);
  }
}

void appendJson(std::string& out, const VectorView& view, std::uint64_t index) {
  if (view.isNull(index)) {
    out += "null";
    return;
  }
  switch (view.type->id) {
    case DUCKDB_TYPE_LIST:
    case DUCKDB_TYPE_ARRAY:
      return appendListJson(out, view, index);
    case DUCKDB_TYPE_MAP:
      return appendMapJson(out, view, index);
    case DUCKDB_TYPE_STRUCT:
      return appendStructJson(out, view, index);
    default:
      return appendScalarJson(out, view, index);
  }
}

bool Leaf::isNull(std::uint64_t row) const {
  return view->isNull(row) ||
         std::any_of(above.begin(), above.end(), [row](const VectorView* group) { return group->isNull(row); });
}

std::vector<Leaf> flatten(const std::vector<VectorView>& columns) {
  std::vector<Leaf> leaves;
  for (const VectorView& column : columns) flattenInto(leaves, column, column.type->name, {});
  return leaves;
}

void ChunkView::bind(duckdb_data_chunk chunk) {
  for (std::size_t index = 0; index < columns.size(); ++index) {
    columns[index].bind(duckdb_data_chunk_get_vector(chunk, index));
  }
}

bool appendFixed(std::string& out, const VectorView& view, std::uint64_t index) {
  if (!view.type->isFloat()) return false;
  const bool single = view.type->id == DUCKDB_TYPE_FLOAT;
  const double value = single ? static_cast<double>(view.at<float>(index)) : view.at<double>(index);
  if (!std::isfinite(value)) return false;
  std::array<char, 64> buffer{};
  char* const end = buffer.data() + buffer.size();
  const auto result = single ? std::to_chars(buffer.data(), end, view.at<float>(index), std::chars_format::fixed)
                             : std::to_chars(buffer.data(), end, value, std::chars_format::fixed);
  if (result.ec != std::errc{}) return false;
  const std::string_view text(buffer.data(), static_cast<std::size_t>(result.ptr - buffer.data()));
  out.append(text);
  if (text.find('.') == text.npos) out += ".0";
  return true;
}

std::vector<std::string> CellWriter::cells(std::uint64_t row) const {
  std::vector<std::string> cells;
  for (const Leaf& leaf : leaves_) cells.push_back(leaf.isNull(row) ? std::string() : cell(leaf, row));
  return cells;
}

std::string CellWriter::cell(const Leaf& leaf, std::uint64_t row) const {
  std::string text;
  if (!appendFixed(text, *leaf.view, row)) appendText(text, *leaf.view, row);
  return core::printable(text);
}

}  // namespace caiexport::reader
