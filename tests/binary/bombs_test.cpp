/// Answers that are small on the wire and large in memory, from a server that is no simulator.

#include "binary/fixture.h"

namespace caiexport::binary {
namespace {

using testing::HasSubstr;

/// Answers every request with the text of the file `answer`.
const char* const kServer = R"(
import http.server, sys
folder = sys.argv[1]
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        with open(folder + "/answer", "rb") as file:
            body = file.read()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *arguments):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
with open(folder + "/port.new", "w") as file:
    file.write(str(server.server_address[1]))
import os
os.rename(folder + "/port.new", folder + "/port")
server.serve_forever()
)";

class Bombs : public BinaryTest {
 protected:
  void SetUp() override {
    std::ofstream(folder_ / "server.py") << kServer;
    const support::Environment usual{{"PATH", std::getenv("PATH")}, {"HOME", folder_.path().string()}};
    server_ = std::make_unique<support::Process>(
        "/usr/bin/env", std::vector<std::string>{"python3", path("server.py"), path("")}, usual, folder_ / "server");
    ASSERT_TRUE(support::eventually([&] { return std::filesystem::exists(folder_ / "port") || server_->hasEnded(); }));
    ASSERT_FALSE(server_->hasEnded()) << server_->errors();
    environment["CAIEXPORT_BASE_URL"] = "http://127.0.0.1:" + support::Process::contentOf(folder_ / "port");
    environment["CAIEXPORT_ACCESS_TOKEN"] = "some-access-token";
    environment["CAIEXPORT_RETRIES"] = "0";
  }

  /// How `datasets` ends with this answer, and how much memory it took.
  std::pair<Ended, std::uint64_t> listWith(const std::string& answer) {
    std::ofstream(folder_ / "answer") << answer;
    const auto process = start({"datasets", "--limit", "3"});
    Ended ended;
    ended.code = process->wait();
    ended.out = process->output();
    ended.err = process->errors();
    return {ended, process->mostMemory()};
  }

  static std::string repeated(const std::string& piece, std::size_t bytes, const std::string& first,
                              const std::string& last) {
    std::string text = first;
    while (text.size() + piece.size() + last.size() <= bytes) text += piece;
    return text + last;
  }

  std::unique_ptr<support::Process> server_;
};

TEST_F(Bombs, OfJsonCostNoMoreThanTheirText) {
  constexpr std::size_t kBytes = 16U << 20U;
  const std::uint64_t usual = listWith("{}").second;
  for (const auto& [piece, first, last] : std::vector<std::array<std::string, 3>>{
           {"{},", "[", "{}]"}, {"0,", "[", "0]"}, {"\"\":0,", "{", "\"\":0}"}, {"[[]],", "{\"a\":[", "0]}"}}) {
    const auto [ended, memory] = listWith(repeated(piece, kBytes, first, last));
    EXPECT_EQ(ended.code, 8) << ended.err;
    EXPECT_THAT(ended.err, HasSubstr("holds more than 1000000 values")) << piece;
    if (!support::kSanitized) {
      EXPECT_LT(memory, usual + 8 * kBytes) << piece;
    }
  }
  if (support::kSanitized) {
    GTEST_SKIP()
        << "NOT CHECKED: the memory, of which a sanitizer keeps what was freed; the rest was checked and holds";
  }
}

/// Quadratic work takes half a minute here.
TEST_F(Bombs, AHundredThousandEntriesAreRead) {
  std::string answer = "{";
  for (int i = 0; i < 100'000; ++i) {
    const std::string digits = std::to_string(1'000'000 + i);
    answer += (i == 0 ? "\"5f" : ",\"5f") + digits + "\":{\"name\":\"n" + digits + "\",\"created\":1780000" +
              digits.substr(1) + "}";
  }
  const auto [ended, memory] = listWith(answer + "}");
  EXPECT_EQ(ended.code, 0) << ended.err;
  EXPECT_THAT(ended.err, HasSubstr("the newest 3 of 100,000"));
}

}  // namespace
}  // namespace caiexport::binary
