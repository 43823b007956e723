#include "caiexport/net/http.h"

#include <gtest/gtest.h>

#include "caiexport/core/error.h"

namespace caiexport::net {
namespace {

TEST(ParseUrl, KeepsEveryByteOfPathAndQuery) {
  const Url url = parseUrl("https://Platform.Adobe.IO/a%2Fb,c/../x?start=1&q=%2B+a=?x?b");
  EXPECT_EQ(url.origin, (Origin{"https", "platform.adobe.io", 443}));
  EXPECT_EQ(url.target, "/a%2Fb,c/../x?start=1&q=%2B+a=?x?b");
}

TEST(ParseUrl, FillsInPathAndPort) {
  EXPECT_EQ(parseUrl("https://h").target, "/");
  EXPECT_EQ(parseUrl("https://h?x=1").target, "/?x=1");
  EXPECT_EQ(parseUrl("http://h").origin.port, 80);
  EXPECT_EQ(parseUrl("HTTPS://h:8443/").origin, (Origin{"https", "h", 8443}));
  EXPECT_EQ(parseUrl("https://h:443/").origin, parseUrl("https://H").origin);
}

TEST(ParseUrl, ReadsIpv6Literals) {
  const Url url = parseUrl("https://[0:0:0:0:0:0:0:1]:8443/x");
  EXPECT_EQ(url.origin, (Origin{"https", "::1", 8443}));
  EXPECT_EQ(url.origin.toString(), "https://[::1]:8443");
}

TEST(ParseUrl, WritesOriginsWithoutDefaultPorts) {
  EXPECT_EQ(parseUrl("https://h:443/").origin.toString(), "https://h");
  EXPECT_EQ(parseUrl("http://h:443/").origin.toString(), "http://h:443");
  EXPECT_EQ(parseUrl("https://h:80/").origin.toString(), "https://h:80");
}

class BadUrl : public ::testing::TestWithParam<std::string> {};

TEST_P(BadUrl, IsRefused) {
  try {
    parseUrl(GetParam());
    FAIL() << "accepted";
  } catch (const core::Error& e) {
    EXPECT_EQ(e.category(), core::Category::protocol);
  }
}

INSTANTIATE_TEST_SUITE_P(ParseUrl, BadUrl,
                         ::testing::Values("", "h.com/x", "https:///x", "https://", "ftp://h/", "file:///etc/passwd",
                                           "https://user@h/", "https://user:secret@h/", "https://h\\@evil/",
                                           "https://a@b@c/", "https://h/a b", "https://h/x?a=b c",
                                           "https://h/x?a=b\r\nX: y", std::string("https://h/\0", 11), "https://h/\x7f",
                                           "https://h/\xc3\xa9", "https://h/#top", "https://h:0/", "https://h:65536/",
                                           "https://h:/", "https://h:8x/", "https://[::1/", "https://[::1]8/",
                                           "https://[fe80::1%25eth0]/", "https://[1.2.3.4]/", "https://h%2e/",
                                           "https://h,x/", "https:/h/", "https//h/"));

TEST(ParseUrl, NeverShowsAPassword) {
  try {
    parseUrl("https://user:geheim@h/");
    FAIL() << "accepted";
  } catch (const core::Error& e) {
    EXPECT_EQ(std::string(e.what()).find("geheim"), std::string::npos) << e.what();
  }
}

struct Resolution {
  std::string reference;
  std::string result;
};

class Resolve : public ::testing::TestWithParam<Resolution> {};

TEST_P(Resolve, FollowsRfc3986) {
  EXPECT_EQ(resolveReference("http://a/b/c/d;p?q", GetParam().reference), GetParam().result);
}

// RFC 3986, 5.4, as far as the references stay within http; fragments are dropped.
INSTANTIATE_TEST_SUITE_P(
    Rfc3986, Resolve,
    ::testing::Values(
        Resolution{"g", "http://a/b/c/g"}, Resolution{"./g", "http://a/b/c/g"}, Resolution{"g/", "http://a/b/c/g/"},
        Resolution{"/g", "http://a/g"}, Resolution{"//g", "http://g/"}, Resolution{"?y", "http://a/b/c/d;p?y"},
        Resolution{"g?y", "http://a/b/c/g?y"}, Resolution{"#s", "http://a/b/c/d;p?q"},
        Resolution{"g#s", "http://a/b/c/g"}, Resolution{";x", "http://a/b/c/;x"},
        Resolution{"g;x?y#s", "http://a/b/c/g;x?y"}, Resolution{"", "http://a/b/c/d;p?q"},
        Resolution{".", "http://a/b/c/"}, Resolution{"./", "http://a/b/c/"}, Resolution{"..", "http://a/b/"},
        Resolution{"../", "http://a/b/"}, Resolution{"../g", "http://a/b/g"}, Resolution{"../..", "http://a/"},
        Resolution{"../../g", "http://a/g"}, Resolution{"../../../g", "http://a/g"}, Resolution{"/./g", "http://a/g"},
        Resolution{"/../g", "http://a/g"}, Resolution{"g.", "http://a/b/c/g."}, Resolution{"..g", "http://a/b/c/..g"},
        Resolution{"./../g", "http://a/b/g"}, Resolution{"g/./h", "http://a/b/c/g/h"},
        Resolution{"g/../h", "http://a/b/c/h"}, Resolution{"g?y/../x", "http://a/b/c/g?y/../x"}));

TEST(ResolveReference, KeepsTheBytesOfOpaqueLinks) {
  const std::string base = "https://platform.adobe.io:443/data/core/ups/export/jobs?limit=1";
  EXPECT_EQ(resolveReference(base, "/data/x?next=%7B%22a%22%3A1%7D&b=,"),
            "https://platform.adobe.io/data/x?next=%7B%22a%22%3A1%7D&b=,");
  EXPECT_EQ(resolveReference(base, "https://other:8443/a%2Fb//c?d"), "https://other:8443/a%2Fb//c?d");
  EXPECT_EQ(resolveReference("https://[::1]:8443/x/y", "z"), "https://[::1]:8443/x/z");
}

TEST(ResolveReference, RefusesOtherSchemesAndBadBytes) {
  for (const char* reference :
       {"mailto:x", "ftp://h/x", "https:z", "javascript:alert(1)", "a b", "//u@h/", "\\\\evil", "a\nb"}) {
    EXPECT_THROW(resolveReference("https://h/x", reference), core::Error) << reference;
  }
}

TEST(IsLoopback, KnowsThisMachineOnly) {
  for (const char* host : {"localhost", "LOCALHOST", "127.0.0.1", "127.255.3.4", "::1", "0:0:0:0:0:0:0:1"}) {
    EXPECT_TRUE(isLoopback(host)) << host;
  }
  for (const char* host : {"", "localhost.evil.com", "128.0.0.1", "127.0.0.1.evil.com", "127.1", "0.0.0.0", "::", "::2",
                           "127", "10.0.0.1"}) {
    EXPECT_FALSE(isLoopback(host)) << host;
  }
}

TEST(Headers, CompareNamesWithoutCase) {
  Headers headers;
  headers.add("X-Api-Key", "1");
  headers.add("Other", "2");
  headers.add("x-api-key", "3");
  EXPECT_EQ(headers.get("X-API-KEY"), "1");
  headers.set("X-API-key", "4");
  EXPECT_EQ(headers.all().size(), 2U);
  EXPECT_EQ(headers.get("x-api-key"), "4");
  EXPECT_EQ(headers.get("missing"), std::nullopt);
}

}  // namespace
}  // namespace caiexport::net
