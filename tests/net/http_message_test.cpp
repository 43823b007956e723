#include "net/http_message.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "caiexport/core/error.h"

namespace caiexport::net {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

ResponseHead parse(const std::string& fields, const std::string& statusLine = "HTTP/1.1 200 OK") {
  return parseHead(statusLine + "\r\n" + fields + "\r\n");
}

Framing frame(const std::string& fields, const std::string& method = "GET",
              const std::string& statusLine = "HTTP/1.1 200 OK") {
  return framingOf(parse(fields, statusLine), method);
}

void expectBroken(const std::function<void()>& action, const std::string& what) {
  try {
    action();
    ADD_FAILURE() << what << ": accepted";
  } catch (const AttemptFailure& failure) {
    EXPECT_EQ(failure.kind(), AttemptFailure::Kind::protocol) << what;
  }
}

TEST(HeadLength, FindsTheBlankLine) {
  EXPECT_EQ(headLength("HTTP/1.1 200 OK\r\nA: b\r\n"), std::nullopt);
  EXPECT_EQ(headLength("HTTP/1.1 200 OK\r\nA: b\r\n\r"), std::nullopt);
  EXPECT_EQ(headLength("HTTP/1.1 200 OK\r\n\r\nbody\r\n\r\n"), 19U);
  EXPECT_EQ(headLength("HTTP/1.1 200 OK\n\nbody"), 17U);
}

TEST(HeadLength, IsLimited) {
  expectBroken([] { headLength(std::string(kMostHeadBytes, 'a')); }, "endless line");
  std::string lines;
  while (lines.size() < kMostHeadBytes) lines += "no colon here\r\n";
  expectBroken([&] { headLength(lines); }, "endless lines");
}

TEST(ParseHead, KeepsValuesAsTheyAre) {
  const ResponseHead head = parse(
      "ETag:  \"a=?x?b\" \r\nLocation: /x?=?utf-8?B?DQo=?=\r\nX-Byte: a\xff"
      "b\r\nEmpty:\r\n");
  EXPECT_EQ(head.response.status, 200);
  EXPECT_EQ(head.response.reason, "OK");
  EXPECT_EQ(head.response.headers.get("etag"), "\"a=?x?b\"");
  EXPECT_EQ(head.response.headers.get("location"), "/x?=?utf-8?B?DQo=?=");
  EXPECT_EQ(head.response.headers.get("x-byte"),
            "a\xff"
            "b");
  EXPECT_EQ(head.response.headers.get("empty"), "");
}

TEST(ParseHead, JoinsFoldedLines) {
  EXPECT_EQ(parse("A: b\r\n\t c\r\n").response.headers.get("A"), "b c");
}

TEST(ParseHead, RefusesWhatIsNotHttp) {
  for (const char* line : {"", "HTTP/2 200", "HTTP/1.1 20 OK", "HTTP/1.1 2000 OK", "HTTP/1.1 099 No", "ICY 200 OK",
                           "HTTP/1.1  200", "HTTP/1.x 200 OK"}) {
    expectBroken([&] { parse("", line); }, line);
  }
  for (const char* fields : {"no colon\r\n", ": no name\r\n", "Na me: x\r\n", "Name : x\r\n", " folded: first\r\n",
                             "A: b\rc\r\n", "A: \x01\r\n"}) {
    expectBroken([&] { parse(fields); }, fields);
  }
  expectBroken([] { parse(std::string("A: b\0c\r\n", 8)); }, "NUL");
  std::string many;
  for (std::size_t i = 0; i <= kMostFields; ++i) many += "A: b\r\n";
  expectBroken([&] { parse(many); }, "many fields");
}

TEST(Framing, ReadsContentLength) {
  EXPECT_EQ(frame("Content-Length: 18446744073709551615\r\n").declaredBytes, 18446744073709551615ULL);
  EXPECT_EQ(frame("Content-Length: 7\r\ncontent-length: 7\r\n").declaredBytes, 7U);
  EXPECT_EQ(frame("Content-Length: 2, 2\r\n").declaredBytes, 2U);
  EXPECT_EQ(frame("Content-Length: 0\r\n").kind, Framing::Kind::length);
}

TEST(Framing, RefusesOtherLengths) {
  for (const char* value : {"-1", "+1", "1 2", "0x10", "", "1,2", "1,", "18446744073709551616", "12a", "1.0"}) {
    expectBroken([&] { frame("Content-Length: " + std::string(value) + "\r\n"); }, value);
  }
  expectBroken([] { frame("Content-Length: 1\r\nContent-Length: 2\r\n"); }, "two that differ");
}

TEST(Framing, KnowsOneTransferCoding) {
  EXPECT_EQ(frame("Transfer-Encoding: Chunked\r\n").kind, Framing::Kind::chunked);
  expectBroken([] { frame("Transfer-Encoding: gzip, chunked\r\n"); }, "gzip, chunked");
  expectBroken([] { frame("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n"); }, "two fields");
  expectBroken([] { frame("Transfer-Encoding: identity\r\n"); }, "identity");
  expectBroken([] { frame("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"); }, "with a length");
  expectBroken([] { frame("Transfer-Encoding: chunked\r\n", "GET", "HTTP/1.0 200 OK"); }, "1.0");
}

TEST(Framing, RefusesATransferCodingGivenTwice) {
  for (const char* second : {"chunked", "CHUNKED", "identity", "", "gzip"}) {
    expectBroken([&] { frame("Transfer-Encoding: chunked\r\ntransfer-encoding: " + std::string(second) + "\r\n"); },
                 second);
  }
  expectBroken([] { frame("Transfer-Encoding: chunked, chunked\r\n"); }, "in one field");
}

TEST(Framing, KnowsAnswersWithoutBody) {
  const Framing head = frame("Content-Length: 99\r\n", "HEAD");
  EXPECT_EQ(head.kind, Framing::Kind::none);
  EXPECT_EQ(head.declaredBytes, 99U);
  EXPECT_EQ(frame("Content-Length: 99\r\n", "GET", "HTTP/1.1 304 Not Modified").kind, Framing::Kind::none);
  EXPECT_EQ(frame("", "GET", "HTTP/1.1 204 No Content").kind, Framing::Kind::none);
  EXPECT_EQ(frame("Transfer-Encoding: chunked\r\n", "HEAD").kind, Framing::Kind::none);
  EXPECT_EQ(frame("").kind, Framing::Kind::untilClose);
}

TEST(KeepsAlive, ReadsTheConnectionField) {
  EXPECT_TRUE(keepsAlive(parse("")));
  EXPECT_FALSE(keepsAlive(parse("Connection: Close\r\n")));
  EXPECT_FALSE(keepsAlive(parse("Connection: x, close\r\n")));
  EXPECT_FALSE(keepsAlive(parse("", "HTTP/1.0 200 OK")));
  EXPECT_TRUE(keepsAlive(parse("Connection: keep-alive\r\n", "HTTP/1.0 200 OK")));
}

struct Decoded {
  std::string payload;
  std::string rest;
  bool complete;
};

Decoded decodeInTwo(const std::string& wire, std::size_t split) {
  ChunkDecoder decoder;
  Decoded result{};
  std::string pieces[] = {wire.substr(0, split), wire.substr(split)};
  for (std::string& piece : pieces) {
    const ChunkDecoder::Result step = decoder.decode(piece);
    result.payload += piece.substr(0, step.payloadBytes);
    result.rest += piece.substr(step.consumedBytes);
  }
  result.complete = decoder.complete();
  return result;
}

TEST(ChunkDecoder, DecodesWhateverTheSplit) {
  const std::string wire = "5\r\nhello\r\n0A;name=\"value\"\r\n, 10 bytes\r\n0\r\nTrailer: x\r\nOther: y\r\n\r\n";
  for (std::size_t split = 0; split <= wire.size(); ++split) {
    const Decoded decoded = decodeInTwo(wire, split);
    EXPECT_EQ(decoded.payload, "hello, 10 bytes") << split;
    EXPECT_TRUE(decoded.complete) << split;
    EXPECT_EQ(decoded.rest, "") << split;
  }
}

TEST(ChunkDecoder, IsIncompleteWhereverItIsCut) {
  const std::string wire = "5\r\nhello\r\n3\r\nabc\r\n0\r\n\r\n";
  for (std::size_t length = 0; length < wire.size(); ++length) {
    EXPECT_FALSE(decodeInTwo(wire.substr(0, length), length / 2).complete) << length;
  }
}

TEST(ChunkDecoder, LeavesWhatFollows) {
  EXPECT_EQ(decodeInTwo("1\r\na\r\n0\r\n\r\nHTTP/1.1 200", 6).rest, "HTTP/1.1 200");
}

TEST(ChunkDecoder, RefusesBrokenChunks) {
  for (const char* wire : {"\r\n", "x\r\n", "-1\r\n", "5\nhello", "5\r\nhello!\r\n", "5\r\nhello\n", "5;a\nhello",
                           "12345678901234567\r\n", "5\rxhello", ";ext\r\n", "0\r\n\rx"}) {
    expectBroken([&] { decodeInTwo(wire, 1); }, wire);
  }
  expectBroken([] { decodeInTwo("5;" + std::string(kMostHeadBytes + 1, 'x'), 1); }, "endless extension");
  std::string trailers = "0\r\n";
  while (trailers.size() <= kMostHeadBytes + 100) trailers += "A: b\r\n";
  expectBroken([&] { decodeInTwo(trailers, 1); }, "endless trailers");
}

TEST(CheckRequest, RefusesWhatReachesBeyondItsPlace) {
  const auto refused = [](HttpRequest request) {
    try {
      checkRequest(request);
      return std::string("accepted");
    } catch (const core::Error& e) {
      EXPECT_EQ(e.category(), core::Category::config);
      return std::string(e.what());
    }
  };
  EXPECT_THAT(refused({.method = "GET /evil"}), HasSubstr("method"));
  EXPECT_THAT(refused({.method = ""}), HasSubstr("method"));
  for (const std::string& value :
       {std::string("a\r\nX: y"), std::string("a\nb"), std::string("a\0b", 3), std::string("a\x7f")}) {
    HttpRequest request;
    request.headers.add("Authorization", "geheim" + value);
    const std::string message = refused(request);
    EXPECT_THAT(message, HasSubstr("Authorization"));
    EXPECT_THAT(message, Not(HasSubstr("geheim")));
  }
  for (const char* name : {"", "a b", "a:b", "a\r\nb", "Host", "content-length", "Transfer-Encoding", "Connection"}) {
    HttpRequest request;
    request.headers.add(name, "x");
    EXPECT_NE(refused(request), "accepted") << name;
  }
}

TEST(WriteHead, WritesHostAndLength) {
  const auto head = [](HttpRequest request) { return writeHead(request, parseUrl(request.url), "agent/1"); };
  EXPECT_EQ(head({.url = "https://H:443/a?b"}),
            "GET /a?b HTTP/1.1\r\nHost: h\r\nUser-Agent: agent/1\r\nAccept-Encoding: identity\r\n\r\n");
  EXPECT_THAT(head({.url = "http://[::1]:443/"}), HasSubstr("Host: [::1]:443\r\n"));
  EXPECT_THAT(head({.method = "POST", .url = "https://h/"}), HasSubstr("Content-Length: 0\r\n"));
  EXPECT_THAT(head({.method = "POST", .url = "https://h/", .body = "abc"}), HasSubstr("Content-Length: 3\r\n"));
}

TEST(DisplayUrl, HidesWhatMayBeSecret) {
  EXPECT_EQ(displayUrl("https://h/p?limit=5&X-Amz-Signature=abc&access_token=def&flag"),
            "https://h/p?limit=5&X-Amz-Signature=***&access_token=***&flag");
  EXPECT_EQ(displayUrl("https://h/p"), "https://h/p");
  EXPECT_EQ(displayUrl("https://h/p?"), "https://h/p?");
}

}  // namespace
}  // namespace caiexport::net
