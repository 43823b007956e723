#include "content_coding.h"

#include <Poco/Exception.h>
#include <Poco/InflatingStream.h>
#include <Poco/MemoryStream.h>

#include <array>
#include <string>

#include "attempt_failure.h"
#include "caiexport/core/text.h"

namespace caiexport::net {
namespace {

using Kind = AttemptFailure::Kind;

std::string inflated(const std::string& packed, Poco::InflatingStreamBuf::StreamType type, std::uint64_t mostBytes) {
  Poco::MemoryInputStream input(packed.data(), static_cast<std::streamsize>(packed.size()));
  Poco::InflatingInputStream plain(input, type);
  // What zlib finds wrong comes out as it was thrown.
  plain.exceptions(std::ios::badbit);
  std::string body;
  std::array<char, 16384> piece{};
  do {
    plain.read(piece.data(), static_cast<std::streamsize>(piece.size()));
    body.append(piece.data(), static_cast<std::size_t>(plain.gcount()));
    if (body.size() > mostBytes) {
      throw AttemptFailure(Kind::protocol, "the answer unpacks to more than " + core::formatBytes(mostBytes));
    }
  } while (plain);
  return body;
}

}  // namespace

void decodeBody(HttpResponse& response, std::uint64_t mostBytes) {
  const std::string coding = core::toLower(response.headers.get("Content-Encoding").value_or("identity"));
  if (coding == "identity" || coding.empty() || response.body.empty()) return;
  const bool gzip = coding == "gzip" || coding == "x-gzip";
  if (!gzip && coding != "deflate") {
    throw AttemptFailure(Kind::protocol,
                         "the answer is packed with '" + core::printable(coding, 40) + "', which nobody asked for");
  }
  const auto type = gzip ? Poco::InflatingStreamBuf::STREAM_GZIP : Poco::InflatingStreamBuf::STREAM_ZLIB;
  try {
    response.body = inflated(response.body, type, mostBytes);
  } catch (const Poco::Exception&) {
    throw AttemptFailure(Kind::protocol, "the answer is packed with " + coding + ", and cannot be unpacked");
  }
  response.headers.set("Content-Encoding", "identity");
}

}  // namespace caiexport::net
