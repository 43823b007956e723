/// The fault matrix: one row a fault. The real programs, undisturbed first, then with the fault, then mended.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <csignal>
#include <map>

#include "binary/fixture.h"

namespace caiexport::binary {
namespace {

using testing::HasSubstr;

/// How a row goes on after the disturbed run.
enum class Then {
  complete,  ///< The run itself brought everything.
  resume,    ///< It does so after the platform is mended and the job resumed.
  end        ///< The job is not to be resumed.
};

struct Fault {
  std::string name;
  std::string scenario;  ///< Keys that are changed before the disturbed run.
  int code = 0;
  Then then = Then::complete;
  std::vector<std::string> words = {};  ///< Expected on standard error.
  std::vector<std::string> arguments = {};
  std::string mend = R"({"faults": []})";
  int fired = -1;  ///< So often the fault was met; -1: at least once; -2: no rule, it is the platform's behaviour.
  int tokens = -1;
};

std::ostream& operator<<(std::ostream& out, const Fault& fault) {
  return out << fault.scenario;
}

const char* const kContent = "path=";
const char* const kCatalog = "/catalog/batches";
const char* const kListing = "/export/batches/";
// After the first page.
const char* const kNextPage = "/export/files/[^?]*[?&].*start=";
const char* const kToken = "/ims/token";
constexpr int kEver = -1;

std::string rule(const std::string& path, const std::string& action, int times = 1, const std::string& method = "") {
  return R"({"match": {"path": ")" + path + '"' + (method.empty() ? "" : R"(, "method": ")" + method + '"') +
         R"(}, "times": )" + std::to_string(times) + R"(, "do": )" + action + "}";
}

std::string rules(const std::vector<std::string>& list) {
  std::string text;
  for (const std::string& one : list) text += (text.empty() ? "" : ", ") + one;
  return R"({"faults": [)" + text + "]}";
}

std::string meet(const std::string& path, const std::string& action, int times = 1, const std::string& method = "") {
  return rules({rule(path, action, times, method)});
}

/// Name, size and SHA-256 of every file of a job as `show` tells them.
using Contents = std::map<std::string, std::pair<std::uint64_t, std::string>>;

class FaultTest : public BinaryTest, public testing::WithParamInterface<Fault> {
 protected:
  FaultTest() {
    environment["CAIEXPORT_READ_TIMEOUT"] = "20s";
    environment["CAIEXPORT_CONNECT_TIMEOUT"] = "20s";
  }

  /// What arrives from a platform of the same shape without faults.
  Contents undisturbed(const std::string& shape) {
    std::filesystem::create_directory(folder_ / "reference");
    std::ofstream(folder_ / "shape.json") << shape;
    const Simulator quiet(folder_ / "reference", {"--scenario", path("shape.json")}, "http");
    const support::Environment disturbed = environment;
    environment["CAIEXPORT_BASE_URL"] = environment["CAIEXPORT_IMS_URL"] = quiet.url();
    environment["CAIEXPORT_DATABASE"] = path("reference.db");
    environment["CAIEXPORT_OUTPUT"] = path("reference/out");
    environment["HOME"] = path("reference");
    const Ended ended = run(command());
    EXPECT_EQ(ended.code, 0) << ended.err;
    Contents contents = contentsOfJob();
    environment = disturbed;
    return contents;
  }

  Contents contentsOfJob() {
    const Ended shown = run({"show", "1", "--format", "json"});
    EXPECT_EQ(shown.code, 0) << shown.err;
    Contents contents;
    const auto files = parseObject(shown.out)->getArray("file_list");
    for (unsigned at = 0; at < files->size(); ++at) {
      const auto file = files->getObject(at);
      contents[file->getValue<std::string>("name")] = {file->getValue<std::uint64_t>("bytes"),
                                                       file->getValue<std::string>("sha256")};
    }
    return contents;
  }

  void play(const std::string& shape) {
    const Fault& fault = GetParam();
    const Contents expected = undisturbed(shape);
    startWith(shape);
    changeScenario(fault.scenario);

    const Ended ended = run(command());
    ASSERT_EQ(ended.code, fault.code) << ended.err;
    for (const std::string& word : fault.words) EXPECT_THAT(ended.err, HasSubstr(word));
    if (fault.fired == -1) {
      EXPECT_GT(counted("faults_fired"), 0U);
    } else if (fault.fired >= 0) {
      EXPECT_EQ(counted("faults_fired"), static_cast<std::uint64_t>(fault.fired));
    }
    if (fault.tokens >= 0) {
      EXPECT_EQ(counted("tokens_issued"), static_cast<std::uint64_t>(fault.tokens));
    }
    if (fault.then == Then::resume) {
      changeScenario(fault.mend);
      const Ended resumed = run({"resume", "--last"});
      ASSERT_EQ(resumed.code, 0) << resumed.err;
    }
    if (fault.then != Then::end) expectComplete(expected);
    for (const std::string& name : filesUnder("out")) EXPECT_FALSE(fault.then != Then::end && name.ends_with(".part"));
  }

  void expectComplete(const Contents& expected) {
    EXPECT_EQ(contentsOfJob(), expected);
    const Ended verified = run({"verify", "1"});
    EXPECT_EQ(verified.code, 0) << verified.out << verified.err;
  }

  virtual std::vector<std::string> command() const = 0;
};

std::vector<std::string> with(std::vector<std::string> words, const std::vector<std::string>& more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

// --- the dataset path

class DatasetFault : public FaultTest {
 protected:
  std::vector<std::string> command() const override {
    return with({"dataset", "--id", kScoreDataset, "--verify", "size"}, GetParam().arguments);
  }
};

/// Seven files, two to a page: four pages.
TEST_P(DatasetFault, IsSurvived) {
  play(R"({"batches": 1, "failed_batches": 1, "files": 7, "file_bytes": 300000, "page_limit": 2})");
}

std::string nameOf(const testing::TestParamInfo<Fault>& row) {
  return row.param.name;
}

#define CAIEXPORT_FAULTS(group, suite, ...) \
  INSTANTIATE_TEST_SUITE_P(group, suite, testing::ValuesIn(std::vector<Fault> __VA_ARGS__), nameOf)

CAIEXPORT_FAULTS(
    Throttling, DatasetFault,
    {
        {.name = "RetryAfterInSeconds", .scenario = meet(kContent, R"({"status": 429, "retry_after": 1})", 2)},
        {.name = "RetryAfterAsADate", .scenario = meet(kContent, R"({"status": 429, "retry_after": "date+1"})", 2)},
        {.name = "NoRetryAfter",
         .scenario = meet(kContent,
                          R"({"status": 429, "body": {"error_code": "429050", "message": "Too many requests"}})", 4)},
        {.name = "RetryAfterMsInAnArray",
         .scenario = meet(kContent, R"({"status": 429, "body": [{"message": "Too many requests", "cause": "load",
                                        "retryAfterMs": "50", "statusCode": "429"}]})",
                          4)},
        {.name = "OfTheCatalog", .scenario = meet(kCatalog, R"({"status": 429, "retry_after": 0})", 3), .fired = 3},
        {.name = "OfTheToken", .scenario = meet(kToken, R"({"status": 429, "retry_after": 0})", 3), .fired = 3},
        {.name = "Stays",
         .scenario = meet(kContent, R"({"status": 429, "retry_after": 0})", kEver),
         .code = 7,
         .then = Then::resume,
         .words = {"429", "caiexport resume 1"}},
        {.name = "StaysInTheCatalog",
         .scenario = meet(kCatalog, R"({"status": 429, "retry_after": 0})", kEver),
         .code = 7,
         .then = Then::resume,
         .words = {"429", "6 tries"},
         .fired = 6},
    });

std::vector<Fault> serverErrors() {
  std::vector<Fault> faults;
  for (const char* status : {"500", "502", "503", "504"}) {
    const std::string action = std::string(R"({"status": )") + status + "}";
    const std::string name = std::string("Status") + status;
    faults.push_back({.name = name + "OfFiles", .scenario = meet(kContent, action, 5), .fired = 5});
    faults.push_back(
        {.name = name + "OfLists", .scenario = rules({rule(kCatalog, action, 2), rule(kListing, action, 2)})});
    faults.push_back({.name = name + "Stays",
                      .scenario = meet(kCatalog, action, kEver),
                      .code = 7,
                      .then = Then::resume,
                      .words = {status, "6 tries"},
                      // What is too slow is asked for less at once.
                      .fired = status == std::string_view("504") ? 7 : 6});
    faults.push_back({.name = name + "StaysOnOneFile",
                      .scenario = meet("path=part-00003", action, kEver),
                      .code = 7,
                      .then = Then::resume,
                      .words = {status, "1 of "}});
    faults.push_back({.name = name + "OfTheToken", .scenario = meet(kToken, action, 2), .fired = 2});
  }
  faults.push_back({.name = "NoRetriesWanted",
                    .scenario = meet(kCatalog, R"({"status": 503})", kEver),
                    .code = 7,
                    .then = Then::resume,
                    .words = {"one try"},
                    .arguments = {"--retries", "0"},
                    .mend = R"({"faults": []})",
                    .fired = 1});
  return faults;
}

INSTANTIATE_TEST_SUITE_P(ServerErrors, DatasetFault, testing::ValuesIn(serverErrors()), nameOf);

std::vector<Fault> refusals() {
  std::vector<Fault> faults;
  const std::vector<std::array<const char*, 3>> codes{{"403010", "Oauth token is missing.", "proxy"},
                                                      {"403000", "Api Key is required", "client_id"},
                                                      {"403003", "Api Key is invalid", "client_id"},
                                                      {"403025", "Profile is not valid", "org_id"},
                                                      {"403027", "User region is missing", "org_id"}};
  for (const auto& [code, text, remedy] : codes) {
    faults.push_back({.name = std::string("Gateway") + code,
                      .scenario = meet("/data/",
                                       std::string(R"({"status": 403, "body": {"error_code": ")") + code +
                                           R"(", "message": ")" + text + R"("}})",
                                       kEver),
                      .code = 3,
                      .then = Then::resume,
                      .words = {code, text, remedy},
                      .fired = 1});
  }
  // Of the same family, but its first digits are another status.
  faults.push_back(
      {.name = "Gateway400003",
       .scenario =
           meet("/data/", R"({"status": 400, "body": {"error_code": "400003", "message": "Missing header"}})", kEver),
       .code = 2,
       .then = Then::resume,
       .words = {"400003", "Missing header", "org_id"},
       .fired = 1});
  faults.push_back({.name = "Gateway429050",
                    .scenario = meet("/data/", R"({"status": 429, "retry_after": 0,
                                     "body": {"error_code": "429050", "message": "Too many requests"}})",
                                     kEver),
                    .code = 7,
                    .then = Then::resume,
                    .words = {"429050", "Too many requests", "fewer requests", "6 tries"},
                    .fired = 6});
  const char* const kExpired =
      R"({"status": 401, "body": {"error_code": "401013", "message": "Oauth token is not valid"}})";
  faults.push_back(
      {.name = "TokenExpiresInMidRun",
       .scenario = R"({"faults": [{"match": {"path": "path="}, "skip": 3, "do": )" + std::string(kExpired) + "}]}",
       .fired = 1,
       .tokens = 2});
  faults.push_back(
      {.name = "TokenExpiresInTheLists", .scenario = meet(kListing, kExpired, 1), .fired = 1, .tokens = 2});
  faults.push_back({.name = "TokenIsNeverAccepted",
                    .scenario = meet("/data/", kExpired, kEver),
                    .code = 3,
                    .then = Then::resume,
                    .words = {"401013"},
                    .fired = 2,
                    .tokens = 2});
  faults.push_back({.name = "FilesNeverAcceptTheToken",
                    .scenario = meet(kContent, kExpired, kEver),
                    .code = 3,
                    .then = Then::resume,
                    .words = {"401013"}});
  faults.push_back({.name = "FilesAreForbidden",
                    .scenario = meet(kContent, R"({"status": 403})", kEver),
                    .code = 3,
                    .then = Then::resume,
                    .words = {"403"}});
  faults.push_back({.name = "ClientIsUnknown",
                    .scenario = meet(kToken, R"({"status": 400, "body": {"error": "invalid_client"}})", kEver),
                    .code = 3,
                    .then = Then::resume,
                    .words = {"invalid_client", "client_secret"},
                    .fired = 1});
  faults.push_back({.name = "TokenServiceSpeaksHtml",
                    .scenario = meet(kToken, R"({"status": 200, "body_html": "<html>Sign in</html>"})", kEver),
                    .code = 8,
                    .then = Then::resume});
  return faults;
}

INSTANTIATE_TEST_SUITE_P(Refusals, DatasetFault, testing::ValuesIn(refusals()), nameOf);

std::vector<Fault> brokenConnections() {
  const std::vector<std::pair<const char*, const char*>> actions{
      {"ResetBeforeHeaders", R"({"reset_before_headers": true})"},
      {"ClosedWithoutAnswer", R"({"close_without_answer": true})"},
      {"ResetInBody", R"({"reset_in_body": 20})"},
      {"ShortBody", R"({"short_body": 20})"},
      {"StallInHeaders", R"({"stall_headers": true})"},
      {"StallInBody", R"({"stall_body": 20})"},
      {"LastChunkMissing", R"({"truncated_chunked": true})"},
      {"StaleKeepAlive", R"({"stale_keep_alive": true})"},
  };
  std::vector<Fault> faults;
  for (const auto& [name, action] : actions) {
    const bool stalls = std::string(name).starts_with("Stall");
    const std::vector<std::string> arguments =
        stalls ? std::vector<std::string>{"--read-timeout", "0.5s"} : std::vector<std::string>{};
    faults.push_back(
        {.name = std::string(name) + "OfFiles", .scenario = meet(kContent, action, 4), .arguments = arguments});
    faults.push_back({.name = std::string(name) + "OfLists",
                      .scenario = rules({rule(kCatalog, action), rule(kListing, action), rule(kNextPage, action)}),
                      .arguments = arguments});
    faults.push_back(
        {.name = std::string(name) + "OfTheToken", .scenario = meet(kToken, action), .arguments = arguments});
    if (std::string(name) == "StaleKeepAlive") continue;  // such an answer is a good one
    faults.push_back({.name = std::string(name) + "Stays",
                      .scenario = meet(kCatalog, action, kEver),
                      .code = 7,
                      .then = Then::resume,
                      .words = {"6 tries"},
                      .arguments = arguments});
  }
  return faults;
}

INSTANTIATE_TEST_SUITE_P(Connections, DatasetFault, testing::ValuesIn(brokenConnections()), nameOf);

CAIEXPORT_FAULTS(
    Bodies, DatasetFault,
    {
        {.name = "LongBody", .scenario = meet(kContent, R"({"long_body": 1000})", 3)},
        {.name = "LongBodyOfLists", .scenario = meet(kListing, R"({"long_body": 1000})")},
        {.name = "ResetInMidFile", .scenario = meet(kContent, R"({"reset_in_body": 150000})", 5)},
        {.name = "CloseInMidFile", .scenario = meet(kContent, R"({"short_body": 150000})", 5)},
        {.name = "StallInMidFile",
         .scenario = meet(kContent, R"({"stall_body": 150000})", 5),
         .arguments = {"--read-timeout", "0.5s"}},
        {.name = "EveryFileBreaksOff", .scenario = meet(kContent, R"({"reset_in_body": 40000})", kEver)},
        {.name = "NoFileHasABody",
         .scenario = meet(kContent, R"({"reset_in_body": 0})", kEver),
         .code = 7,
         .then = Then::resume,
         .words = {"caiexport resume 1"}},
        {.name = "EveryResponseIsCut", .scenario = meet(kContent, R"({"drip": 400000, "cut_after_ms": 300})", kEver)},
        {.name = "SlowDrip", .scenario = meet(kContent, R"({"drip": 600000})", 3)},
        {.name = "Chunked", .scenario = meet("/data/", R"({"chunked": true})", kEver)},
        {.name = "Interim", .scenario = meet("/data/", R"({"interim_1xx": {"status": 103, "count": 3}})", kEver)},
        {.name = "NoContent", .scenario = meet(kCatalog, R"({"status": 204})", kEver), .code = 8, .then = Then::resume},
        {.name = "RateLimited",
         .scenario = meet(kContent, R"({"reset_in_body": 100000})", 3),
         .arguments = {"--max-rate", "4M"}},
    });

/// A first rule breaks files off, so that the rest is asked for as a range.
std::string ranged(const std::string& action, int times) {
  return rules({rule(kContent, R"({"reset_in_body": 100000})", 3),
                R"({"match": {"path": "path=", "header": "Range"}, "times": )" + std::to_string(times) + R"(, "do": )" +
                    action + "}"});
}

CAIEXPORT_FAULTS(
    Ranges, DatasetFault,
    {
        {.name = "Ignored", .scenario = ranged(R"({"ignore_range": true})", kEver)},
        {.name = "LaterThanAsked", .scenario = ranged(R"({"wrong_range": {"shift": 100}})", 2)},
        {.name = "EarlierThanAsked", .scenario = ranged(R"({"wrong_range": {"shift": -100}})", 2)},
        {.name = "NeverTheEnd",
         .scenario = ranged(R"({"wrong_range": {"shift": -100}})", kEver),
         .code = 7,
         .then = Then::resume,
         .words = {"holds none of the bytes 299900-300000", "6 tries"}},
        {.name = "ShorterThanAsked", .scenario = ranged(R"({"wrong_range": {"shorter": 10}})", 2)},
        {.name = "WithoutContentRange",
         .scenario = ranged(R"({"status": 206, "body": "no"})", kEver),
         .code = 8,
         .then = Then::resume,
         .words = {"Content-Range"}},
        {.name = "NotSatisfiable", .scenario = ranged(R"({"status": 416})", kEver), .words = {"416", "listed again"}},
    });

CAIEXPORT_FAULTS(
    Lists, DatasetFault,
    {
        {.name = "NextLoops",
         .scenario = meet(kNextPage, R"({"loop_next": true})", kEver),
         .code = 8,
         .then = Then::resume,
         .words = {"the list loops"}},
        {.name = "AnEmptyPageLeadsOn",
         .scenario = meet(kNextPage, R"({"empty_page_with_next": true})"),
         .code = 8,
         .then = Then::resume,
         .words = {"the list loops"}},
        {.name = "EmptyPagesForEver",
         .scenario = meet(kNextPage, R"({"empty_page_with_next": true})", kEver),
         .code = 8,
         .then = Then::resume},
        {.name = "APageAgain",
         .scenario = meet(kNextPage, R"({"repeat_page": true})"),
         .code = 8,
         .then = Then::resume},
        {.name = "EntriesCame", .scenario = meet(kNextPage, R"({"shift_start": -1})")},
        {.name = "LengthsAsNumbers", .scenario = R"({"lengths_as_numbers": true})", .fired = -2},
        {.name = "CountsOfPages", .scenario = R"({"count_meaning": "page"})", .fired = -2},
        {.name = "CountsOfAll", .scenario = R"({"count_meaning": "total"})", .fired = -2},
        {.name = "LinksWithThePort", .scenario = R"({"href_port": "explicit"})", .fired = -2},
        {.name = "Gone", .scenario = meet(kListing, R"({"status": 404})", kEver), .code = 4, .then = Then::resume},
        {.name = "AFileIsGone",
         .scenario = meet("path=part-00002", R"({"status": 404})", kEver),
         .code = 7,
         .then = Then::resume,
         .words = {"404", "1 of 7 files"}},
        {.name = "ListedTooShort",
         .scenario = R"({"listed_length_delta": -5})",
         .code = 8,
         .then = Then::resume,
         .words = {"listed"},
         .mend = R"({"listed_length_delta": 0})",
         .fired = -2},
        {.name = "ListedTooLong",
         .scenario = R"({"listed_length_delta": 5})",
         .code = 8,
         .then = Then::resume,
         .words = {"listed"},
         .mend = R"({"listed_length_delta": 0})",
         .fired = -2},
    });

CAIEXPORT_FAULTS(
    Json, DatasetFault,
    {
        {.name = "Html",
         .scenario = meet(kCatalog, R"({"body_html": "<html><title>Maintenance</title></html>"})", kEver),
         .code = 8,
         .then = Then::resume,
         .words = {"cannot list the batches", "not JSON"}},
        {.name = "HtmlOfAProxy",
         .scenario = meet(kListing, R"({"status": 502, "body_html": "<html>Bad Gateway</html>"})", 2)},
        {.name = "Empty", .scenario = meet(kCatalog, R"({"body": ""})", kEver), .code = 8, .then = Then::resume},
        {.name = "FiftyMegabytes",
         .scenario = meet(kCatalog, R"({"huge_json": 50000000})", kEver),
         .code = 8,
         .then = Then::resume},
        {.name = "AHundredThousandLevels",
         .scenario = meet(kListing, R"({"deep_json": 100000})", kEver),
         .code = 8,
         .then = Then::resume},
        {.name = "DuplicateKeys",
         .scenario = meet(kListing, R"({"body": "{\"data\": [], \"data\": [{}], \"_page\": {}}"})", kEver),
         .code = 8,
         .then = Then::resume},
        {.name = "BrokenOff",
         .scenario = meet(kListing, R"({"body": "{\"data\": [{\"dataSetFileId\": \"x"})", kEver),
         .code = 8,
         .then = Then::resume},
        {.name = "OtherTypes",
         .scenario = meet(kListing, R"({"body": {"data": "none"}})", kEver),
         .code = 8,
         .then = Then::resume},
    });

// --- the segment path

class SegmentFault : public FaultTest {
 protected:
  std::vector<std::string> command() const override {
    return with({"segment", "--id", kSegment, "--verify", "size", "--poll-interval", "0.02", "--poll-max", "0.05"},
                GetParam().arguments);
  }
};

/// Whatever happens, nothing is created twice.
TEST_P(SegmentFault, IsSurvived) {
  play(R"({"files": 2, "export_files": 3, "file_bytes": 200000, "export_polls": 3})");
  EXPECT_LE(counted("datasets_created"), 1U);
  EXPECT_LE(counted("export_jobs_accepted"), 1U);
  EXPECT_LE(counted("segment_jobs_accepted"), 1U);
  EXPECT_EQ(counted("unfiltered_exports"), 0U);
}

const char* const kDatasets = "/catalog/dataSets";
const char* const kExports = "/ups/export/jobs";
const char* const kSegmentJobs = "/ups/segment/jobs";

std::vector<Fault> lostAnswers() {
  std::vector<Fault> faults;
  const std::vector<std::pair<const char*, const char*>> posts{
      {"Dataset", kDatasets}, {"Export", kExports}, {"Evaluation", kSegmentJobs}};
  const std::vector<std::pair<const char*, const char*>> actions{
      {"AnswerLost", R"({"take_then_lose": true})"},
      {"RequestLost", R"({"close_without_answer": true})"},
      {"Reset", R"({"reset_before_headers": true})"},
      {"TakenWith500", R"({"status": 500, "carry_out": true})"},
      {"NotTakenWith503", R"({"status": 503})"},
      {"TakenButCutInBody", R"({"reset_in_body": 5})"},
      {"Html", R"({"status": 200, "body_html": "<html/>", "carry_out": true})"},
  };
  for (const auto& [what, path] : posts) {
    const bool evaluates = std::string(what) == "Evaluation";
    const std::vector<std::string> arguments =
        evaluates ? std::vector<std::string>{"--evaluate"} : std::vector<std::string>{};
    for (const auto& [how, action] : actions) {
      faults.push_back({.name = std::string(what) + how,
                        .scenario = meet(path, action, 1, "POST"),
                        .arguments = arguments,
                        .fired = 1});
    }
    faults.push_back({.name = std::string(what) + "Throttled",
                      .scenario = meet(path, R"({"status": 429, "retry_after": 0})", 3, "POST"),
                      .arguments = arguments,
                      .fired = 3});
    faults.push_back({.name = std::string(what) + "AnswerLostAndNoLookUp",
                      .scenario = rules({rule(path, R"({"take_then_lose": true})", 1, "POST"),
                                         rule("/data/", R"({"status": 503})", kEver)}),
                      .code = 7,
                      .then = Then::resume,
                      .arguments = with(arguments, {"--retries", "1"})});
  }
  return faults;
}

INSTANTIATE_TEST_SUITE_P(Posts, SegmentFault, testing::ValuesIn(lostAnswers()), nameOf);

CAIEXPORT_FAULTS(
    Exports, SegmentFault,
    {
        {.name = "Fails",
         .scenario = R"({"export_result": "FAILED"})",
         .code = 5,
         .then = Then::end,
         .words = {"FAILED"},
         .fired = -2},
        {.name = "IsCancelled",
         .scenario = R"({"export_result": "CANCELLED"})",
         .code = 5,
         .then = Then::end,
         .words = {"CANCEL"},
         .fired = -2},
        {.name = "Vanishes",
         .scenario = R"({"export_result": "VANISHED"})",
         .code = 5,
         .then = Then::end,
         .words = {"export job"},
         .fired = -2},
        {.name = "SucceedsWithErrors", .scenario = R"({"export_result": "SUCCEEDED_WITH_ERRORS"})", .fired = -2},
        {.name = "HasAnUnknownStatus", .scenario = R"({"unknown_status": "PONDERING"})", .fired = -2},
        {.name = "EvaluationFails",
         .scenario = R"({"segment_job_result": "FAILED"})",
         .code = 5,
         .then = Then::end,
         .words = {"FAILED"},
         .arguments = {"--evaluate"},
         .fired = -2},
        {.name = "EvaluationIsCancelled",
         .scenario = R"({"segment_job_result": "CANCELLED"})",
         .code = 5,
         .then = Then::end,
         .arguments = {"--evaluate"},
         .fired = -2},
        {.name = "BatchIsListedLate", .scenario = R"({"batch_visible_after_polls": 4})", .fired = -2},
        {.name = "BatchMovesOn",
         .scenario = R"({"early_batch_statuses": ["loading", "loaded", "staged", "mystery"]})",
         .fired = -2},
        {.name = "BatchFails",
         .scenario = R"({"early_batch_statuses": ["failed"]})",
         .code = 5,
         .then = Then::end,
         .words = {"failed"},
         .fired = -2},
        {.name = "BatchesAsArray", .scenario = R"({"batches_form": "array"})", .fired = -2},
        {.name = "BatchesAsObject", .scenario = R"({"batches_form": "object"})", .fired = -2},
        {.name = "BatchesUnnamed", .scenario = R"({"batches_form": "none"})", .fired = -2},
        {.name = "OtherSpellings",
         .scenario = R"({"dataset_reply": "lower", "dataset_id_key": "dataSetId"})",
         .fired = -2},
        {.name = "PollsBreakOff", .scenario = meet("/ups/export/jobs/", R"({"close_without_answer": true})", 3)},
        {.name = "PollsAreThrottled", .scenario = meet("/ups/export/jobs/", R"({"status": 429, "retry_after": 0})", 3)},
        {.name = "PollsFail",
         .scenario = meet("/ups/export/jobs/", R"({"status": 503})", kEver, "GET"),
         .code = 7,
         .then = Then::resume,
         .words = {"6 tries"}},
        {.name = "TokenExpiresWhilePolling",
         .scenario = meet("/ups/export/jobs/", R"({"status": 401, "body": {"error_code": "401013"}})"),
         .tokens = 2},
        {.name = "DatasetIsRefused",
         .scenario = meet(kDatasets, R"({"status": 400, "body": {"title": "BadRequestError", "detail": "no schema"}})",
                          kEver, "POST"),
         .code = 5,
         .then = Then::resume,
         .words = {"BadRequestError", "no schema"}},
        {.name = "TakesTooLong",
         .scenario = R"({"export_polls": 1000000})",
         .code = 6,
         .then = Then::resume,
         .words = {"caiexport resume 1"},
         .arguments = {"--timeout", "1s"},
         .mend = R"({"export_polls": 1})",
         .fired = -2},
    });

// --- whole connections

class Servers : public BinaryTest {};

/// A port of this machine at which nobody listens while this object lives.
class ClosedPort {
 public:
  ClosedPort() : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    auto* const plain = reinterpret_cast<sockaddr*>(&address);
    if (::bind(socket_, plain, size) != 0 || ::getsockname(socket_, plain, &size) != 0) {
      throw std::runtime_error("no port on loopback");
    }
    port_ = std::to_string(ntohs(address.sin_port));
  }
  ~ClosedPort() { ::close(socket_); }
  ClosedPort(const ClosedPort&) = delete;
  ClosedPort& operator=(const ClosedPort&) = delete;

  const std::string& port() const { return port_; }

 private:
  int socket_;
  std::string port_;
};

TEST_F(Servers, RefusedConnectionThenResumed) {
  std::string port;
  {
    const ClosedPort closed;
    port = closed.port();
    environment["CAIEXPORT_BASE_URL"] = environment["CAIEXPORT_IMS_URL"] = "http://127.0.0.1:" + port;
    const Ended refused = run({"dataset", "--id", kScoreDataset});
    EXPECT_EQ(refused.code, 7);
    EXPECT_THAT(refused.err, HasSubstr("refused"));
    EXPECT_THAT(refused.err, HasSubstr("6 tries"));
  }
  startSimulator({"--port", port});
  const Ended resumed = run({"resume", "--last"});
  EXPECT_EQ(resumed.code, 0) << resumed.err;
}

TEST_F(Servers, ABatchOfAnUnknownStatusIsNotRead) {
  startWith(R"({"batches": 1, "failed_batches": 0, "batch_status": "pondering"})");
  const Ended ended = run({"dataset", "--id", kScoreDataset});
  EXPECT_EQ(ended.code, 4);
  EXPECT_THAT(ended.err, HasSubstr("pondering"));
}

TEST_F(Servers, IdsAndLengthsAsNumbersAreRead) {
  startWith(R"json({"batches": 1, "faults": [
      {"match": {"path": "/export/batches/"}, "times": -1, "do": {"body": {"data": [{"dataSetFileId": 17}]}}},
      {"match": {"path": "/export/files/17[?]path="}, "times": -1, "do": {"body": "12345"}},
      {"match": {"path": "/export/files/17"}, "times": -1,
       "do": {"body": {"data": [{"dataSetFileId": 17, "name": "scores", "length": 5}]}}}]})json");
  const Ended ended = run({"dataset", "--id", kScoreDataset, "--verify", "size", "--format", "json"});
  ASSERT_EQ(ended.code, 0) << ended.err;
  const auto file = parseObject(ended.out)->getArray("file_list")->getObject(0);
  EXPECT_EQ(file->getValue<std::string>("dataset_file_id"), "17");
  EXPECT_EQ(file->getValue<std::uint64_t>("bytes"), 5U);
}

/// Its rows don't add up then; `resume` lists again.
TEST_F(Servers, AListThatLostEntriesIsNoticed) {
  startWith(R"({"batches": 1, "failed_batches": 0, "files": 7, "page_limit": 2, "records": 700})");
  changeScenario(meet(kNextPage, R"({"shift_start": 1})"));
  const Ended ended = run({"dataset", "--id", kScoreDataset});
  ASSERT_EQ(ended.code, 8) << ended.err;
  EXPECT_THAT(ended.err, HasSubstr("700 records"));
  EXPECT_THAT(ended.err, HasSubstr("caiexport resume 1"));
  const Ended resumed = run({"resume", "1", "--format", "json"});
  ASSERT_EQ(resumed.code, 0) << resumed.err;
  const auto job = parseObject(resumed.out);
  EXPECT_EQ(job->getValue<int>("files"), 7);
  EXPECT_EQ(job->getValue<int>("records"), 700);
}

/// What was fetched of the file's first version is of no use.
TEST_F(Servers, AFileOfAnotherLengthStartsAgain) {
  const auto shape = [](const char* bytes) {
    return std::string(R"({"batches": 1, "failed_batches": 0, "files": 2, "file_bytes": )") + bytes;
  };
  startWith(shape("300000") +
            R"(, "faults": [{"match": {"path": "path="}, "times": -1, "do": {"stall_body": 200000}}]})");
  const std::string port = simulator_->port();
  const std::vector<std::string> command{"dataset", "--id", kScoreDataset, "--verify", "size"};
  const auto process = start(command);
  ASSERT_TRUE(support::eventually([&] { return counted("file_bytes_served") >= 400000; }));
  process->signal(SIGINT);
  ASSERT_EQ(process->wait(), 130);
  EXPECT_EQ(filesUnder("out").size(), 2U);
  simulator_.reset();
  std::filesystem::remove(folder_ / "port");
  startWith(shape("310000") + "}", {"--port", port});
  const Ended resumed = run({"resume", "--last"});
  ASSERT_EQ(resumed.code, 0) << resumed.err;
  EXPECT_EQ(counted("file_bytes_served"), 620000U);
  EXPECT_EQ(run({"verify", "1"}).code, 0);

  // As if there had been no first version.
  const auto content = [&](const std::string& folder) {
    std::map<std::string, std::string> all;
    for (const std::string& name : filesUnder(folder)) {
      if (!name.ends_with("manifest.json")) all[name] = support::Process::contentOf(folder_ / folder / name);
    }
    return all;
  };
  environment["CAIEXPORT_DATABASE"] = path("other.db");
  environment["CAIEXPORT_OUTPUT"] = path("other");
  ASSERT_EQ(run(command).code, 0);
  EXPECT_EQ(content("out"), content("other"));
}

TEST_F(Servers, ThePlatformDiesInMidRunAndComesBack) {
  const std::string shape = R"({"batches": 1, "files": 20, "file_bytes": 100000,
      "faults": [{"match": {"path": "path="}, "times": -1, "do": {"drip": 200000}}]})";
  startWith(shape);
  const std::string port = simulator_->port();
  const auto process = start({"dataset", "--id", kScoreDataset, "--verify", "size", "--connections", "2"});
  ASSERT_TRUE(support::eventually([&] { return counted("file_bytes_served") > 300000; }));
  simulator_->process().signal(SIGKILL);
  simulator_.reset();
  EXPECT_EQ(process->wait(), 7);
  std::filesystem::remove(folder_ / "port");
  startWith(R"({"batches": 1, "files": 20, "file_bytes": 100000})", {"--port", port});
  const Ended resumed = run({"resume", "--last"});
  EXPECT_EQ(resumed.code, 0) << resumed.err;
  EXPECT_EQ(run({"verify", "1"}).code, 0);
}

class TlsServers : public BinaryTest {
 protected:
  /// Runs a script of openssl commands in the test's folder.
  void openssl(const std::string& script) {
    const std::string command = "set -e; cd '" + path("") + "'; { " + script + "; } > openssl.log 2>&1";
    ASSERT_EQ(std::system(command.c_str()), 0) << support::Process::contentOf(path("openssl.log"));
  }

  /// A certificate of the test's CA in place of the good one.
  void resign(const std::string& names, const std::string& days) {
    openssl("printf 'subjectAltName=" + names +
            "' > san; openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key "
            "-CAcreateserial -days " +
            days + " -extfile san -out server.pem");
  }

  /// Refused with a word of its own.
  void expectRefused(const std::string& word, int code = 2) {
    const Ended ended = run({"dataset", "--id", kScoreDataset, "--retries", "1"});
    EXPECT_EQ(ended.code, code) << ended.err;
    EXPECT_THAT(ended.err, HasSubstr(word));
    EXPECT_TRUE(filesUnder("out").empty());
  }

  /// Asked without looking at the certificate: no request arrived, so no secret did.
  void expectNothingArrived() {
    openssl("curl -fsSk --noproxy '*' -o state.json '" + simulator_->url() + "/_simulator/state'");
    const auto state = parseObject(support::Process::contentOf(path("state.json")));
    EXPECT_EQ(state->getObject("requests")->size(), 0U);
  }
};

TEST_F(TlsServers, GoodOneIsAccepted) {
  useTls();
  startSimulator();
  EXPECT_EQ(run({"dataset", "--id", kScoreDataset}).code, 0);
}

TEST_F(TlsServers, Expired) {
  useTls();
  resign("IP:127.0.0.1", "-1");
  startSimulator();
  expectRefused("the server's certificate has expired");
  expectNothingArrived();
}

TEST_F(TlsServers, WrongHost) {
  useTls();
  resign("DNS:platform.adobe.io,IP:127.0.0.2", "2");
  startSimulator();
  expectRefused("the server's certificate is for another host than 127.0.0.1");
  expectNothingArrived();
}

TEST_F(TlsServers, SelfSigned) {
  useTls();
  openssl(
      "openssl req -x509 -key server.key -out server.pem -days 2 -subj '/CN=127.0.0.1' "
      "-addext subjectAltName=IP:127.0.0.1");
  startSimulator();
  expectRefused("the server's certificate is self-signed and not trusted");
  expectNothingArrived();
}

TEST_F(TlsServers, UnknownIssuer) {
  useTls();
  startSimulator();
  environment.erase("CAIEXPORT_CA_FILE");
  expectRefused("issued by an authority that is not trusted here");
  expectNothingArrived();
}

TEST_F(TlsServers, OldProtocols) {
  useTls();
  startSimulator({"--tls-max", "1.1"});
  expectRefused("no TLS version from 1.2 on");
}

TEST_F(TlsServers, NoTlsAtAll) {
  startSimulator();
  environment["CAIEXPORT_BASE_URL"] = environment["CAIEXPORT_IMS_URL"] = "https://127.0.0.1:" + simulator_->port();
  expectRefused("TLS", 7);
  EXPECT_EQ(counted("tokens_issued"), 0U);
}

}  // namespace
}  // namespace caiexport::binary
