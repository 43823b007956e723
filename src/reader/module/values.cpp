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

/// Numbers are written two digits at a time.
constexpr auto kPairs = [] {
  std::array<char, 200> pairs{};
  for (std::size_t number = 0; number < 100; ++number) {
    pairs[2 * number] = static_cast<char>('0' + number / 10);
    pairs[2 * number + 1] = static_cast<char>('0' + number % 10);
  }
  return pairs;
}();

char* putTwo(char* at, std::uint64_t value) {
  std::memcpy(at, &kPairs[2 * value], 2);
  return at + 2;
}

char* putDigits(char* at, std::uint64_t value, int width) {
  for (int index = width - 1; index >= 0; --index) {
    at[index] = static_cast<char>('0' + value % 10);
    value /= 10;
  }
  return at + width;
}

constexpr std::size_t kLongestNumber = 48;

template <typename Number>
void appendNumber(TextBuffer& out, Number value) {
  char* const at = out.room(kLongestNumber);
  out.endAt(std::to_chars(at, at + kLongestNumber, value).ptr);
}

void appendUnsigned128(TextBuffer& out, Unsigned128 value) {
  char buffer[40];
  char* at = buffer + sizeof buffer;
  do {
    *--at = static_cast<char>('0' + static_cast<int>(value % 10));
    value /= 10;
  } while (value != 0);
  out.append({at, static_cast<std::size_t>(buffer + sizeof buffer - at)});
}

Unsigned128 magnitude(Int128 value) {
  return value < 0 ? ~static_cast<Unsigned128>(value) + 1 : static_cast<Unsigned128>(value);
}

void append128(TextBuffer& out, Int128 value) {
  if (value < 0) out.append('-');
  appendUnsigned128(out, magnitude(value));
}

Int128 hugeInt(const duckdb_hugeint& value) {
  return static_cast<Int128>((static_cast<Unsigned128>(static_cast<std::uint64_t>(value.upper)) << 64U) | value.lower);
}

/// A number of at most six places after the point and fifteen digits in all, as std::to_chars writes it: no other
/// decimal number of so few digits is the same double, so this is the shortest. Nearly all scores are such numbers, and
/// to_chars takes ten times as long. Null, and nothing is written, for others, and where an exponent is shorter.
char* putShortDecimal(char* at, double value) {
  constexpr double kScale = 1e6;
  constexpr double kBeyond = 1e9;
  const double size = std::abs(value);
  if (!(size < kBeyond) || size == 0) return nullptr;
  // A wrong guess is found out by the next line.
  const auto digits = static_cast<std::uint64_t>(size * kScale + 0.5);  // NOLINT(bugprone-incorrect-roundings)
  if (static_cast<double>(digits) / kScale != size) return nullptr;
  const std::uint64_t whole = digits / 1'000'000;
  std::uint64_t fraction = digits % 1'000'000;
  constexpr std::uint64_t kLongestWhole = 100'000;  // 100000 is 1e+05
  constexpr std::uint64_t kLeastFraction = 1'000;   // 0.0001 is 1e-04
  if (fraction == 0 ? whole >= kLongestWhole : whole == 0 && fraction < kLeastFraction) return nullptr;
  if (value < 0) *at++ = '-';
  at = std::to_chars(at, at + 10, whole).ptr;
  if (fraction == 0) return at;
  int places = 6;
  while (fraction % 10 == 0) {
    fraction /= 10;
    --places;
  }
  *at++ = '.';
  return putDigits(at, fraction, places);
}

/// `12.0`, not `12`: who reads the text must see that it is no integer.
template <typename Float>
void appendFloat(TextBuffer& out, Float value) {
  char* const from = out.room(kLongestNumber + 2);
  char* end = nullptr;
  if constexpr (std::is_same_v<Float, double>) end = putShortDecimal(from, value);
  if (end == nullptr) end = std::to_chars(from, from + kLongestNumber, value).ptr;
  const bool looksWhole =
      std::all_of(from, end, [](char letter) { return letter == '-' || (letter >= '0' && letter <= '9'); });
  if (looksWhole) {
    *end++ = '.';
    *end++ = '0';
  }
  out.endAt(end);
}

void appendDecimal(TextBuffer& out, Int128 value, int scale) {
  if (value < 0) out.append('-');
  const std::size_t from = out.size();
  appendUnsigned128(out, magnitude(value));
  if (scale == 0) return;
  const auto places = static_cast<std::size_t>(scale);
  while (out.size() - from <= places) out.insert(from, '0');
  out.insert(out.size() - places, '.');
}

char* putDate(char* at, std::int64_t days) {
  using namespace std::chrono;
  // The calendar of <chrono> ends at year 32767; further days can come from damaged or strange files only.
  static constexpr std::int64_t kFarthest = 11'000'000;
  if (days > kFarthest || days < -kFarthest) {
    at += std::string_view("day ").copy(at, 4);
    return std::to_chars(at, at + kLongestNumber, days).ptr;
  }
  const year_month_day date{sys_days(std::chrono::days(days))};
  const int year = static_cast<int>(date.year());
  if (year < 0) *at++ = '-';
  at = putDigits(at, static_cast<std::uint64_t>(std::abs(year)), std::abs(year) > 9999 ? 5 : 4);
  *at++ = '-';
  at = putTwo(at, static_cast<unsigned>(date.month()));
  *at++ = '-';
  return putTwo(at, static_cast<unsigned>(date.day()));
}

char* putClock(char* at, std::int64_t seconds) {
  const auto all = static_cast<std::uint64_t>(seconds);
  at = putTwo(at, all / 3600 % 100);
  *at++ = ':';
  at = putTwo(at, all / 60 % 60);
  *at++ = ':';
  return putTwo(at, all % 60);
}

/// Three, six or nine digits: as few as hold it.
char* putFraction(char* at, std::int64_t nanoseconds) {
  *at++ = '.';
  if (nanoseconds % 1'000'000 == 0) return putDigits(at, static_cast<std::uint64_t>(nanoseconds / 1'000'000), 3);
  if (nanoseconds % 1'000 == 0) return putDigits(at, static_cast<std::uint64_t>(nanoseconds / 1'000), 6);
  return putDigits(at, static_cast<std::uint64_t>(nanoseconds), 9);
}

constexpr std::size_t kLongestTime = kLongestNumber + 32;

void appendDate(TextBuffer& out, std::int64_t days) {
  out.endAt(putDate(out.room(kLongestTime), days));
}

/// RFC 3339. DuckDB marks infinite times by the ends of the range.
template <std::int64_t perSecond>
void appendTimestamp(TextBuffer& out, std::int64_t value) {
  if (value == std::numeric_limits<std::int64_t>::max()) return out.append("infinity");
  if (value == -std::numeric_limits<std::int64_t>::max()) return out.append("-infinity");
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
  char* at = putDate(out.room(kLongestTime), days);
  *at++ = 'T';
  at = putFraction(putClock(at, ofDay), rest * (1'000'000'000 / perSecond));
  *at++ = 'Z';
  out.endAt(at);
}

void appendTime(TextBuffer& out, std::int64_t micros) {
  char* at = putClock(out.room(kLongestTime), micros / 1'000'000);
  if (micros % 1'000'000 != 0) at = putFraction(at, micros % 1'000'000 * 1000);
  out.endAt(at);
}

void appendBase64(TextBuffer& out, std::string_view bytes) {
  static constexpr char kAlphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const auto byte = [&bytes](std::size_t index) -> unsigned {
    return index < bytes.size() ? static_cast<unsigned char>(bytes[index]) : 0U;
  };
  char* to = out.room(bytes.size() / 3 * 4 + 4);
  for (std::size_t at = 0; at < bytes.size(); at += 3) {
    const unsigned group = byte(at) << 16U | byte(at + 1) << 8U | byte(at + 2);
    *to++ = kAlphabet[group >> 18U & 63U];
    *to++ = kAlphabet[group >> 12U & 63U];
    *to++ = at + 1 < bytes.size() ? kAlphabet[group >> 6U & 63U] : '=';
    *to++ = at + 2 < bytes.size() ? kAlphabet[group & 63U] : '=';
  }
  out.endAt(to);
}

/// DuckDB stores UUIDs with the highest bit turned, so that they sort as numbers.
void appendUuid(TextBuffer& out, const duckdb_hugeint& value) {
  static constexpr char kDigits[] = "0123456789abcdef";
  const std::uint64_t upper = static_cast<std::uint64_t>(value.upper) ^ (std::uint64_t{1} << 63U);
  char* at = out.room(36);
  for (int digit = 0; digit < 32; ++digit) {
    if (digit == 8 || digit == 12 || digit == 16 || digit == 20) *at++ = '-';
    const std::uint64_t half = digit < 16 ? upper : value.lower;
    *at++ = kDigits[half >> (60U - 4U * static_cast<unsigned>(digit % 16)) & 15U];
  }
  out.endAt(at);
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
void appendScalar(TextBuffer& out, const VectorView& view, std::uint64_t index) {
  switch (view.type->id) {
    case DUCKDB_TYPE_BOOLEAN:
      return out.append(std::string_view(view.at<bool>(index) ? "true" : "false"));
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
      return appendTimestamp<1>(out, view.at<std::int64_t>(index));
    case DUCKDB_TYPE_TIMESTAMP_MS:
      return appendTimestamp<1'000>(out, view.at<std::int64_t>(index));
    case DUCKDB_TYPE_TIMESTAMP:
    case DUCKDB_TYPE_TIMESTAMP_TZ:
      return appendTimestamp<1'000'000>(out, view.at<std::int64_t>(index));
    case DUCKDB_TYPE_TIMESTAMP_NS:
      return appendTimestamp<1'000'000'000>(out, view.at<std::int64_t>(index));
    case DUCKDB_TYPE_VARCHAR:
      return out.append(view.text(index));
    case DUCKDB_TYPE_BLOB:
      return appendBase64(out, view.text(index));
    case DUCKDB_TYPE_ENUM:
      return out.append(labelAt(view, index));
    case DUCKDB_TYPE_UUID:
      return appendUuid(out, view.at<duckdb_hugeint>(index));
    default:
      return;
  }
}

/// A table, since every letter of every text is asked for.
constexpr auto kNeedsEscape = [] {
  std::array<bool, 256> table{};
  for (std::size_t code = 0; code < 0x20; ++code) table[code] = true;
  table['"'] = table['\\'] = true;
  return table;
}();

constexpr std::uint64_t eachByte(unsigned char value) {
  return value * std::uint64_t{0x0101010101010101};
}

/// Whether any of eight bytes is `value`.
constexpr bool holds(std::uint64_t bytes, unsigned char value) {
  const std::uint64_t others = bytes ^ eachByte(value);
  return ((others - eachByte(1)) & ~others & eachByte(0x80)) != 0;
}

/// Whether any of eight bytes needs an escape in JSON.
constexpr bool needEscapes(std::uint64_t bytes) {
  const bool controls = ((bytes - eachByte(0x20)) & ~bytes & eachByte(0x80)) != 0;
  return controls || holds(bytes, '"') || holds(bytes, '\\');
}

template <Quotes quotes>
constexpr std::string_view kQuote = quotes == Quotes::doubled ? R"("")" : R"(")";

template <Quotes quotes>
char* putQuote(char* at) {
  std::memcpy(at, kQuote<quotes>.data(), kQuote<quotes>.size());
  return at + kQuote<quotes>.size();
}

template <Quotes quotes>
char* putEscape(char* at, char letter) {
  *at++ = '\\';
  switch (letter) {
    case '"':
      return putQuote<quotes>(at);
    case '\\':
      *at++ = '\\';
      return at;
    case '\n':
      *at++ = 'n';
      return at;
    case '\r':
      *at++ = 'r';
      return at;
    case '\t':
      *at++ = 't';
      return at;
    default:
      at += std::string_view("u00").copy(at, 3);
      *at++ = "0123456789abcdef"[static_cast<unsigned char>(letter) >> 4U];
      *at++ = "0123456789abcdef"[static_cast<unsigned char>(letter) & 15U];
      return at;
  }
}

/// `text` as a JSON string.
template <Quotes quotes>
void appendJsonString(TextBuffer& out, std::string_view text) {
  constexpr std::size_t kEight = sizeof(std::uint64_t);
  constexpr std::size_t kLongestEscape = 6;
  char* to = putQuote<quotes>(out.room(text.size() + 2 * kQuote<quotes>.size()));
  std::size_t at = 0;
  for (; at + kEight <= text.size(); at += kEight) {
    std::uint64_t bytes = 0;
    std::memcpy(&bytes, text.data() + at, kEight);
    if (needEscapes(bytes)) break;
    std::memcpy(to, &bytes, kEight);
    to += kEight;
  }
  for (; at < text.size() && !kNeedsEscape[static_cast<unsigned char>(text[at])]; ++at) *to++ = text[at];
  if (at < text.size()) {
    out.endAt(to);
    to = out.room(kLongestEscape * (text.size() - at) + kQuote<quotes>.size());
    for (const char letter : text.substr(at)) {
      if (kNeedsEscape[static_cast<unsigned char>(letter)]) {
        to = putEscape<quotes>(to, letter);
      } else {
        *to++ = letter;
      }
    }
  }
  out.endAt(putQuote<quotes>(to));
}

/// JSON on one line: line ends can stand between its tokens only.
template <Quotes quotes>
void appendRawJson(TextBuffer& out, std::string_view json) {
  char* at = out.room(json.size() * kQuote<quotes>.size());
  for (const char letter : json) {
    if (letter == '"') {
      at = putQuote<quotes>(at);
    } else {
      *at++ = letter == '\n' || letter == '\r' ? ' ' : letter;
    }
  }
  out.endAt(at);
}

template <Quotes quotes>
void appendScalarJson(TextBuffer& out, const VectorView& view, std::uint64_t index) {
  switch (view.type->id) {
    case DUCKDB_TYPE_SQLNULL:
      return out.append("null");
    case DUCKDB_TYPE_DOUBLE:
      if (!std::isfinite(view.at<double>(index))) return out.append("null");
      return appendFloat(out, view.at<double>(index));
    case DUCKDB_TYPE_FLOAT:
      if (!std::isfinite(view.at<float>(index))) return out.append("null");
      return appendFloat(out, view.at<float>(index));
    case DUCKDB_TYPE_VARCHAR:
      if (view.type->json) return appendRawJson<quotes>(out, view.text(index));
      return appendJsonString<quotes>(out, view.text(index));
    case DUCKDB_TYPE_ENUM:
      return appendJsonString<quotes>(out, labelAt(view, index));
    default:
      break;
  }
  // Numbers and truth values stand bare; times, Base64 and UUIDs need no escapes.
  const bool bare = view.type->id == DUCKDB_TYPE_BOOLEAN || view.type->isNumeric();
  if (!bare) out.append(kQuote<quotes>);
  appendScalar(out, view, index);
  if (!bare) out.append(kQuote<quotes>);
}

template <Quotes quotes>
void appendListJson(TextBuffer& out, const VectorView& view, std::uint64_t index) {
  const Elements elements = elementsAt(view, index);
  out.append('[');
  for (std::uint64_t offset = 0; offset < elements.count; ++offset) {
    if (offset > 0) out.append(',');
    appendJson<quotes>(out, view.children[0], elements.from + offset);
  }
  out.append(']');
}

template <Quotes quotes>
void appendMapJson(TextBuffer& out, const VectorView& view, std::uint64_t index) {
  const Elements elements = elementsAt(view, index);
  const VectorView& keys = view.children[0].children[0];
  const VectorView& values = view.children[0].children[1];
  out.append('{');
  for (std::uint64_t offset = 0; offset < elements.count; ++offset) {
    if (offset > 0) out.append(',');
    if (keys.type->id == DUCKDB_TYPE_VARCHAR) {
      appendJsonString<quotes>(out, keys.text(elements.from + offset));
    } else {
      TextBuffer key;
      appendText(key, keys, elements.from + offset);
      appendJsonString<quotes>(out, key.view());
    }
    out.append(':');
    appendJson<quotes>(out, values, elements.from + offset);
  }
  out.append('}');
}

template <Quotes quotes>
void appendStructJson(TextBuffer& out, const VectorView& view, std::uint64_t index) {
  out.append('{');
  std::size_t comma = 1;  // the first key has none
  for (const VectorView& field : view.children) {
    out.append(std::string_view(quotes == Quotes::doubled ? field.quotedKey : field.key).substr(comma));
    appendJson<quotes>(out, field, index);
    comma = 0;
  }
  out.append('}');
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

void TextBuffer::grow(std::size_t count) {
  constexpr std::size_t kLeast = 256;
  const std::size_t capacity = std::max({2 * capacity_, size_ + count, kLeast});
  auto larger = std::make_unique_for_overwrite<char[]>(capacity);
  if (size_ > 0) std::memcpy(larger.get(), data_.get(), size_);
  data_ = std::move(larger);
  capacity_ = capacity;
}

void TextBuffer::insert(std::size_t at, char letter) {
  char* const end = room(1);
  char* const place = data_.get() + at;
  std::memmove(place + 1, place, static_cast<std::size_t>(end - place));
  *place = letter;
  ++size_;
}

void TextBuffer::erase(std::size_t at, std::size_t count) {
  std::memmove(data_.get() + at, data_.get() + at + count, size_ - at - count);
  size_ -= count;
}

VectorView::VectorView(const Type& vectorType) : type(&vectorType) {
  TextBuffer name;
  appendJsonString<Quotes::plain>(name, vectorType.name);
  key.append(",").append(name.view()).append(":");
  name.clear();
  appendJsonString<Quotes::doubled>(name, vectorType.name);
  quotedKey.append(",").append(name.view()).append(":");
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

Elements elementsAt(const VectorView& list, std::uint64_t index) {
  if (list.type->id == DUCKDB_TYPE_ARRAY) return {index * list.type->arraySize, list.type->arraySize};
  const auto& entry = list.at<duckdb_list_entry>(index);
  return {entry.offset, entry.length};
}

void appendText(TextBuffer& out, const VectorView& view, std::uint64_t index) {
  if (view.isNull(index)) return;
  if (!view.type->children.empty()) {
    appendJson<Quotes::plain>(out, view, index);
  } else {
    appendScalar(out, view, index);
  }
}

template <Quotes quotes>
void appendJson(TextBuffer& out, const VectorView& view, std::uint64_t index) {
  if (view.isNull(index)) return out.append("null");
  switch (view.type->id) {
    case DUCKDB_TYPE_LIST:
    case DUCKDB_TYPE_ARRAY:
      return appendListJson<quotes>(out, view, index);
    case DUCKDB_TYPE_MAP:
      return appendMapJson<quotes>(out, view, index);
    case DUCKDB_TYPE_STRUCT:
      return appendStructJson<quotes>(out, view, index);
    default:
      return appendScalarJson<quotes>(out, view, index);
  }
}
template void appendJson<Quotes::plain>(TextBuffer& out, const VectorView& view, std::uint64_t index);
template void appendJson<Quotes::doubled>(TextBuffer& out, const VectorView& view, std::uint64_t index);

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

bool appendFixed(TextBuffer& out, const VectorView& view, std::uint64_t index) {
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
  if (text.find('.') == text.npos) out.append(".0");
  return true;
}

std::vector<std::string> CellWriter::cells(std::uint64_t row) const {
  std::vector<std::string> cells;
  for (const Leaf& leaf : leaves_) cells.push_back(leaf.isNull(row) ? std::string() : cell(leaf, row));
  return cells;
}

std::string CellWriter::cell(const Leaf& leaf, std::uint64_t row) const {
  TextBuffer text;
  if (!appendFixed(text, *leaf.view, row)) appendText(text, *leaf.view, row);
  return core::printable(text.view());
}

}  // namespace caiexport::reader
