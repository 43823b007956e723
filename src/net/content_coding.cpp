#include "content_coding.h"

#include <zlib.h>

#include <array>
#include <string>

#include "attempt_failure.h"
#include "caiexport/core/text.h"

namespace caiexport::net {
namespace {

using Kind = AttemptFailure::Kind;

/// zlib's state, freed however the unpacking ends.
class Inflation {
 public:
  /// Takes gzip as well as zlib's own form.
  Inflation() { ready_ = inflateInit2(&stream_, MAX_WBITS + 32) == Z_OK; }
  ~Inflation() {
    if (ready_) inflateEnd(&stream_);
  }
  Inflation(const Inflation&) = delete;
  Inflation& operator=(const Inflation&) = delete;

  /// False if the bytes are damaged or end before their end.
  bool unpack(std::string& packed, std::string& body, std::uint64_t mostBytes) {
    std::array<unsigned char, 65536> piece{};
    stream_.next_in = reinterpret_cast<unsigned char*>(packed.data());
    stream_.avail_in = static_cast<uInt>(packed.size());
    for (int result = Z_OK; ready_ && result == Z_OK;) {
      stream_.next_out = piece.data();
      stream_.avail_out = piece.size();
      result = inflate(&stream_, Z_NO_FLUSH);
      body.append(reinterpret_cast<const char*>(piece.data()), piece.size() - stream_.avail_out);
      if (body.size() > mostBytes) {
        throw AttemptFailure(Kind::protocol, "the answer unpacks to more than " + core::formatBytes(mostBytes));
      }
      if (result == Z_STREAM_END) return stream_.avail_in == 0;
    }
    return false;
  }

 private:
  z_stream stream_{};
  bool ready_ = false;
};

}  // namespace

void decodeBody(HttpResponse& response, std::uint64_t mostBytes) {
  const std::string coding = core::toLower(response.headers.get("Content-Encoding").value_or("identity"));
  if (coding == "identity" || coding.empty() || response.body.empty()) return;
  const bool known = coding == "gzip" || coding == "x-gzip" || coding == "deflate";
  std::string body;
  if (known && Inflation().unpack(response.body, body, mostBytes)) {
    response.body = std::move(body);
  } else if (response.status / 100 == 2) {
    throw AttemptFailure(Kind::protocol, "the answer is packed with '" + core::printable(coding, 40) + "', " +
                                             (known ? "and cannot be unpacked" : "which nobody asked for"));
  } else {
    // What the status says stands, whatever the text would have been.
    response.body.clear();
  }
  response.headers.set("Content-Encoding", "identity");
}

}  // namespace caiexport::net
