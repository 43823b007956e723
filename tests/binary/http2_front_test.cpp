// What stands before the simulator and speaks HTTP/2 changes nothing but the protocol.
#include "binary/http2_front.h"

#include <algorithm>
#include <fstream>
#include <map>

namespace caiexport::binary {
namespace {

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::Gt;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

class Http2Front : public Http2Test {
 protected:
  std::unique_ptr<support::Process> startCurl(const std::vector<std::string>& options) {
    std::vector<std::string> words{"-sS", "--noproxy", "*", "--http2", "--max-time", "100", "--cacert", path("ca.pem")};
    words.insert(words.end(), options.begin(), options.end());
    return std::make_unique<support::Process>("/usr/bin/curl", words, support::Environment{}, path("curl-of-test"));
  }
  Ended curl(const std::vector<std::string>& options) {
    const auto process = startCurl(options);
    Ended ended;
    ended.code = process->wait();
    ended.out = process->output();
    ended.err = process->errors();
    return ended;
  }
};

TEST_F(Http2Front, PassesOnRequestsAndAnswers) {
  startBehindHttp2();
  changeScenario(
      R"({"faults": [{"match": {"method": "POST", "path": "^/any\\?a=1$", "header": "x-mine"}, "times": -1,
          "do": {"status": 418, "headers": {"X-Theirs": "{scheme}://{authority}"}, "body": "a teapot"}}]})");
  const Ended posted =
      curl({"-d", "text", "-H", "x-mine: 1", "-i", "-w", " over %{http_version}", frontUrl_ + "/any?a=1"});
  EXPECT_EQ(posted.code, 0) << posted.err;
  EXPECT_THAT(posted.out,
              AllOf(HasSubstr("HTTP/2 418"), HasSubstr("x-theirs: " + frontUrl_), HasSubstr("content-length: 8"),
                    HasSubstr("a teapot over 2"), Not(HasSubstr("connection:"))));
  EXPECT_EQ(
      curl({"--http1.1", "-d", "text", "-H", "x-mine: 1", "-w", " over %{http_version}", frontUrl_ + "/any?a=1"}).out,
      "a teapot over 1.1");
  EXPECT_THAT(curl({"-I", frontUrl_ + "/_simulator/state"}).out, HasSubstr("HTTP/2 "));
  EXPECT_THAT(endFront(), AllOf(HasSubstr("connections: 3\nof HTTP/2: 2\nrequests: 3\n"), Not(HasSubstr("violation"))));
}

TEST_F(Http2Front, HoldsUpNoStreamForAnother) {
  startBehindHttp2();
  changeScenario(R"({"faults": [{"match": {"path": "^/slow"}, "do": {"stall_headers": true}},
                                {"match": {"path": "^/half"}, "do": {"status": 200, "body": "0123456789", "stall_body": 4}},
                                {"match": {"path": "^/fast"}, "do": {"status": 200, "body": "fast"}}]})");
  const auto process = startCurl({"-Z", "-N", frontUrl_ + "/slow", "-o", path("slow"), frontUrl_ + "/half", "-o",
                                  path("half"), frontUrl_ + "/fast", "-o", path("fast")});
  EXPECT_TRUE(support::eventually([&] { return support::Process::contentOf(path("fast")) == "fast"; }));
  EXPECT_TRUE(support::eventually([&] { return support::Process::contentOf(path("half")) == "0123"; }));
  EXPECT_FALSE(process->hasEnded());
  EXPECT_EQ(support::Process::contentOf(path("slow")), "");
  process->signal(SIGKILL);
  process->wait();
  EXPECT_THAT(endFront(), AllOf(HasSubstr("connections: 1\n"), HasSubstr("most streams at a time: 3\n")));
}

TEST_F(Http2Front, ResetsAStreamWhereTheConnectionBehindBreaks) {
  startBehindHttp2();
  changeScenario(
      R"({"faults": [{"match": {"path": "^/cut"}, "times": -1, "do": {"status": 200, "body": "0123456789", "short_body": 4}},
                     {"match": {"path": "^/chunks"}, "do": {"status": 200, "body": "0123456789", "truncated_chunked": true}},
                     {"match": {"path": "^/lost"}, "do": {"close_without_answer": true}}]})");
  // Not the bytes before: curl drops those that come together with the reset.
  constexpr int kStreamError = 92;
  const Ended cut = curl({frontUrl_ + "/cut"});
  EXPECT_EQ(cut.code, kStreamError) << cut.err;
  const Ended lost = curl({frontUrl_ + "/lost"});
  EXPECT_EQ(lost.code, kStreamError) << lost.err;
  EXPECT_EQ(curl({frontUrl_ + "/chunks"}).code, kStreamError);
  EXPECT_NE(curl({"--http1.1", frontUrl_ + "/cut"}).code, 0);
}

TEST_F(Http2Front, LimitsStreams) {
  startBehindHttp2({}, {"--max-streams", "1"});
  const std::string url = frontUrl_ + "/_simulator/state";
  const Ended both = curl({"-Z", "-f", url, "-o", path("one"), url, "-o", path("other"), url, "-o", path("third")});
  EXPECT_EQ(both.code, 0) << both.err;
  EXPECT_THAT(endFront(), AllOf(HasSubstr("requests: 3\n"), HasSubstr("most streams at a time: 1\n")));
}

TEST_F(Http2Front, LetsCaiexportWork) {
  startBehindHttp2();
  const Ended ended = run({"dataset", "--id", kScoreDataset});
  EXPECT_EQ(ended.code, 0) << ended.err;
  EXPECT_EQ(run({"verify", "1"}).code, 0);
  EXPECT_THAT(endFront(), Not(HasSubstr("violation")));
}

/// Answers take as long as from far away.
class FarAway : public Http2Test {
 protected:
  static constexpr int kFiles = 300;

  void startFarAway() {
    startBehindHttp2({"--files", std::to_string(kFiles), "--file-bytes", "5000"});
    changeScenario(
        R"({"faults": [{"match": {"path": "^/data/"}, "times": -1, "do": {"stall_headers": true, "stall_ms": 15, "carry_out": true}}]})");
  }
  int parquetFiles() {
    return static_cast<int>(
        std::ranges::count_if(filesUnder("out"), [](const std::string& name) { return name.ends_with(".parquet"); }));
  }
  std::map<std::string, int> loggedRequestsByVersion() {
    std::map<std::string, int> requests;
    std::ifstream events(path("events"));
    for (std::string line; std::getline(events, line);) {
      const auto event = parseObject(line);
      if (event->getValue<std::string>("event") == "request") ++requests[event->getValue<std::string>("http")];
    }
    return requests;
  }
  static std::vector<std::string> download() { return {"dataset", "--id", kScoreDataset, "--verify", "size"}; }
};

TEST_F(FarAway, SmallFilesComeOverHttp2) {
  startFarAway();
  std::vector<std::string> arguments = download();
  arguments.insert(arguments.end(), {"--log-file", path("events"), "--log-level", "debug"});
  const Ended ended = run(arguments);
  ASSERT_EQ(ended.code, 0) << ended.err;
  EXPECT_EQ(parquetFiles(), kFiles);
  // Files over HTTP/2, the token and the lists before them over HTTP/1.1.
  EXPECT_THAT(loggedRequestsByVersion(), UnorderedElementsAre(Pair("1.1", Gt(0)), Pair("2", kFiles)));
  const auto state = platformState();
  EXPECT_EQ(state->getObject("requests")->getValue<int>("GET /data/foundation/export/files/{id}?path"), kFiles);
  const std::string seen = endFront();
  EXPECT_THAT(seen, AllOf(ContainsRegex("of HTTP/2: [1-9]"), Not(ContainsRegex("most streams at a time: [01]\n")),
                          Not(HasSubstr("violation"))));
}

TEST_F(FarAway, OneThatIsKilledGoesOn) {
  startFarAway();
  const auto process = start(download());
  EXPECT_TRUE(support::eventually([&] { return platformState()->getValue<int>("file_bytes_served") > 50 * 5000; }));
  process->signal(SIGKILL);
  process->wait();
  const Ended ended = run({"resume", "1"});
  ASSERT_EQ(ended.code, 0) << ended.err;
  EXPECT_EQ(parquetFiles(), kFiles);
}

}  // namespace
}  // namespace caiexport::binary
