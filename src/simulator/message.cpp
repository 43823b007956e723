#include "simulator/message.h"

#include <Poco/DateTimeFormat.h>
#include <Poco/DateTimeFormatter.h>
#include <Poco/Timestamp.h>

#include <algorithm>
#include <stdexcept>

#include "caiexport/core/text.h"

namespace caiexport::simulator {
namespace {

int hexValue(char digit) {
  if (digit >= '0' && digit <= '9') return digit - '0';
  if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
  return digit >= 'A' && digit <= 'F' ? digit - 'A' + 10 : -1;
}

RangeAnswer partOf(std::uint64_t first, std::uint64_t last, std::uint64_t totalBytes) {
  if (first >= totalBytes) return {.kind = RangeKind::unsatisfiable};
  last = std::min(last, totalBytes - 1);
  return {.kind = RangeKind::part, .range = {.offsetBytes = first, .lengthBytes = last - first + 1}};
}

}  // namespace

std::optional<std::string_view> headerOf(const Headers& headers, std::string_view name) {
  const std::string wanted = core::toLower(name);
  for (const auto& [key, value] : headers) {
    if (core::toLower(key) == wanted) return value;
  }
  return std::nullopt;
}

void Response::setHeader(std::string_view name, std::string value) {
  const std::string wanted = core::toLower(name);
  for (auto& [key, present] : headers) {
    if (core::toLower(key) == wanted) {
      present = std::move(value);
      return;
    }
  }
  headers.emplace_back(name, std::move(value));
}

std::string bodyText(const Response& response) {
  if (!response.content) return response.body;
  std::string text(response.lengthBytes, '\0');
  response.content->read(response.offsetBytes, std::as_writable_bytes(std::span(text)));
  return text;
}

std::string percentDecode(std::string_view text, bool plusIsBlank) {
  std::string decoded;
  decoded.reserve(text.size());
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] == '+' && plusIsBlank) {
      decoded += ' ';
    } else if (text[at] != '%') {
      decoded += text[at];
    } else {
      const int high = at + 2 < text.size() ? hexValue(text[at + 1]) : -1;
      const int low = at + 2 < text.size() ? hexValue(text[at + 2]) : -1;
      if (high < 0 || low < 0) throw std::invalid_argument("bad percent code");
      decoded += static_cast<char>(high * 16 + low);
      at += 2;
    }
  }
  return decoded;
}

Query::Query(std::string_view encoded) {
  while (!encoded.empty()) {
    const std::size_t end = encoded.find('&');
    const std::string_view piece = encoded.substr(0, end);
    encoded = end == std::string_view::npos ? std::string_view{} : encoded.substr(end + 1);
    if (piece.empty()) continue;
    const std::size_t equals = piece.find('=');
    const std::string_view value = equals == std::string_view::npos ? std::string_view{} : piece.substr(equals + 1);
    pairs_.emplace_back(percentDecode(piece.substr(0, equals), true), percentDecode(value, true));
  }
}

std::optional<std::string> Query::get(std::string_view name) const {
  for (const auto& [key, value] : pairs_) {
    if (key == name) return value;
  }
  return std::nullopt;
}

RangeAnswer readRange(std::optional<std::string_view> header, std::uint64_t totalBytes) {
  constexpr std::string_view kUnit = "bytes=";
  const RangeAnswer whole{.kind = RangeKind::whole, .range = {.offsetBytes = 0, .lengthBytes = totalBytes}};
  if (!header || !header->starts_with(kUnit)) return whole;
  const std::string_view range = header->substr(kUnit.size());
  const std::size_t dash = range.find('-');
  if (dash == std::string_view::npos) return whole;
  const auto first = core::parseUnsigned(range.substr(0, dash));
  const auto last = core::parseUnsigned(range.substr(dash + 1));
  if (first && range.size() == dash + 1) return partOf(*first, UINT64_MAX, totalBytes);
  if (first && last && *first <= *last) return partOf(*first, *last, totalBytes);
  if (dash == 0 && last) {
    return *last == 0 ? RangeAnswer{.kind = RangeKind::unsatisfiable}
                      : partOf(totalBytes - std::min(*last, totalBytes), UINT64_MAX, totalBytes);
  }
  return whole;
}

std::string contentRange(std::uint64_t offsetBytes, std::uint64_t lengthBytes, std::uint64_t totalBytes) {
  const std::string total = std::to_string(totalBytes);
  if (lengthBytes == 0) return "bytes */" + total;
  return "bytes " + std::to_string(offsetBytes) + "-" + std::to_string(offsetBytes + lengthBytes - 1) + "/" + total;
}

std::string httpDate(core::TimePoint time) {
  const Poco::Timestamp stamp(time.time_since_epoch().count() * 1000);
  return Poco::DateTimeFormatter::format(stamp, Poco::DateTimeFormat::HTTP_FORMAT);
}

}  // namespace caiexport::simulator
