/// A chunked body: whole, and byte by byte, is the same.

#include <vector>

#include "fuzz/target.h"
#include "net/http_message.h"

using namespace caiexport;

namespace {

struct Decoded {
  std::string payload = {};
  std::size_t consumed = 0;
  bool complete = false;
  bool refused = false;
};

Decoded decode(std::string_view input, std::size_t pieceBytes) {
  net::ChunkDecoder decoder;
  Decoded result;
  try {
    while (result.consumed < input.size() && !decoder.complete()) {
      const std::string_view next = input.substr(result.consumed, pieceBytes);
      std::vector<char> piece(next.begin(), next.end());
      const net::ChunkDecoder::Result step = decoder.decode(piece);
      fuzz::require(step.payloadBytes <= step.consumedBytes && step.consumedBytes <= piece.size(), "more than came");
      fuzz::require(step.consumedBytes == piece.size() || decoder.complete(), "bytes are left over");
      result.payload.append(piece.data(), step.payloadBytes);
      result.consumed += step.consumedBytes;
    }
    result.complete = decoder.complete();
  } catch (const net::AttemptFailure&) {
    result.refused = true;
  }
  return result;
}

}  // namespace

CAIEXPORT_FUZZ_TARGET(http_chunks) {
  const Decoded whole = decode(input, input.size() + 1);
  const Decoded bytewise = decode(input, 1);
  fuzz::require(whole.refused == bytewise.refused, "pieces change what is refused");
  if (whole.refused) return;
  fuzz::require(whole.payload == bytewise.payload, "pieces change the body");
  fuzz::require(whole.complete == bytewise.complete && whole.consumed == bytewise.consumed, "pieces change the end");
}
