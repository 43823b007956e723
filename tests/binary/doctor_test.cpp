/// `doctor` with the real programs.

#include <sys/stat.h>

#include "binary/fixture.h"

namespace caiexport::binary {
namespace {

using testing::HasSubstr;
using testing::Not;

struct Found {
  std::string state;
  std::string detail;
  std::string remedy;
};

class Doctor : public BinaryTest {
 protected:
  Ended examine(std::vector<std::string> more = {}) {
    std::vector<std::string> words{"doctor", "--format", "json"};
    words.insert(words.end(), more.begin(), more.end());
    Ended ended = run(words);
    document_ = parseObject(ended.out);
    return ended;
  }

  Found check(const std::string& name) const {
    const auto checks = document_->getArray("checks");
    for (unsigned i = 0; i < checks->size(); ++i) {
      const auto one = checks->getObject(i);
      if (one->getValue<std::string>("name") != name) continue;
      return {one->getValue<std::string>("state"), one->getValue<std::string>("detail"),
              one->isNull("remedy") ? "" : one->getValue<std::string>("remedy")};
    }
    return {"missing", "", ""};
  }

  std::string states() const {
    std::string text;
    const auto checks = document_->getArray("checks");
    for (unsigned i = 0; i < checks->size(); ++i) {
      text += checks->getObject(i)->getValue<std::string>("name") + "=" +
              checks->getObject(i)->getValue<std::string>("state") + " ";
    }
    return text;
  }

  Poco::JSON::Object::Ptr document_;
};

TEST_F(Doctor, NamesAProxyThatIsIgnoredWhereItWouldMatter) {
  useTls();
  startSimulator({"--files", "1", "--records", "5"});
  for (const std::string name : {"ALL_PROXY", "http_proxy"}) {
    environment[name] = "http://127.0.0.1:9";
    examine();
    EXPECT_EQ(check("proxy").state, "ok");
    EXPECT_THAT(check("proxy").detail, HasSubstr(name + " is set, but ignored"));
    environment["NO_PROXY"] = "127.0.0.1";
    examine();
    EXPECT_EQ(check("proxy").detail, "none");
    environment.erase("NO_PROXY");
    environment.erase(name);
  }
}

TEST_F(Doctor, AllIsWellAndNothingIsChanged) {
  useTls();
  startSimulator({"--files", "2", "--records", "50"});
  const Ended ended = examine({"--dataset", kScoreDataset, "--segment", kSegment});
  EXPECT_EQ(ended.code, 0) << ended.err;
  EXPECT_EQ(ended.err, "");
  EXPECT_EQ(states(),
            "config_file=ok settings=ok proxy=ok credentials=ok clock=ok organization=ok sandbox=ok dataset=ok "
            "newest_batch=ok files=ok segment=ok merge_policy=ok union_schema=ok export_jobs=ok output=ok database=ok "
            "libraries=ok ");
  EXPECT_THAT(check("files").detail, testing::StartsWith("2 files, "));
  EXPECT_THAT(check("newest_batch").detail, HasSubstr("50 records"));
  EXPECT_THAT(check("libraries").detail, HasSubstr("DuckDB v"));
  EXPECT_THAT(check("libraries").detail, HasSubstr("SQLite 3"));
  EXPECT_THAT(ended.out, Not(HasSubstr("sim-secret")));
  EXPECT_THAT(ended.out, HasSubstr(R"({"name": "client_secret", "value": "set", "from": "CAIEXPORT_CLIENT_SECRET"})"));
  EXPECT_EQ(counted("datasets_created"), 0U);
  EXPECT_EQ(counted("export_jobs_accepted"), 0U);
  EXPECT_EQ(counted("segment_jobs_accepted"), 0U);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "jobs.db"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "out"));
}

TEST_F(Doctor, AfterAJobTheDatabaseIsLookedAt) {
  startSimulator();
  ASSERT_EQ(run({"dataset", "--id", kScoreDataset}).code, 0);
  EXPECT_EQ(examine().code, 0);
  EXPECT_THAT(check("database").detail, HasSubstr("1 job, schema "));
  EXPECT_THAT(check("database").detail, HasSubstr("journal wal, sound"));
}

TEST_F(Doctor, ADamagedDatabaseIsExit9) {
  startSimulator();
  ASSERT_EQ(run({"dataset", "--id", kScoreDataset}).code, 0);
  {
    std::fstream file(path("jobs.db"), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(4096 + 8);
    const std::string rubbish(8000, '\x5a');
    file.write(rubbish.data(), static_cast<std::streamsize>(rubbish.size()));
  }
  EXPECT_EQ(examine().code, 9);
  EXPECT_EQ(check("database").state, "failed");
  EXPECT_NE(check("database").remedy, "");
}

TEST_F(Doctor, TextHasSignsThatTheLocaleCanShow) {
  startSimulator();
  const Ended utf8 = run({"doctor"});
  EXPECT_EQ(utf8.code, 0) << utf8.err;
  EXPECT_THAT(utf8.out, HasSubstr("✓ credentials"));
  EXPECT_THAT(utf8.out, HasSubstr("Next: caiexport datasets"));
  EXPECT_THAT(utf8.out, Not(HasSubstr("\033")));
  environment["LANG"] = "C";
  environment["CAIEXPORT_CLIENT_SECRET"] = "wrong";
  const Ended ascii = run({"doctor"});
  EXPECT_EQ(ascii.code, 3);
  EXPECT_THAT(ascii.out, HasSubstr("ok   config file"));
  EXPECT_THAT(ascii.out, HasSubstr("FAIL credentials"));
  EXPECT_THAT(ascii.out, HasSubstr("-> check client_id and client_secret"));
  EXPECT_THAT(ascii.out, HasSubstr("skip sandbox         skipped: needs credentials"));
  EXPECT_THAT(ascii.out, Not(HasSubstr("✓")));
  EXPECT_THAT(ascii.err, HasSubstr("checks failed: credentials"));
}

TEST_F(Doctor, NamesWhatIsMissingAndStillChecksTheRest) {
  startSimulator();
  environment.erase("CAIEXPORT_CLIENT_ID");
  EXPECT_EQ(examine().code, 2);
  EXPECT_EQ(check("settings").state, "failed");
  EXPECT_THAT(check("settings").detail, HasSubstr("CAIEXPORT_CLIENT_ID"));
  EXPECT_EQ(check("credentials").state, "skipped");
  EXPECT_EQ(check("output").state, "ok");
  EXPECT_EQ(check("libraries").state, "ok");
}

TEST_F(Doctor, AConfigFileThatOthersCanReadIsTheFirstThingToMend) {
  startSimulator();
  std::ofstream(path("config.ini")) << "[default]\nclient_secret = sim-secret\n";
  ASSERT_EQ(::chmod(path("config.ini").c_str(), 0644), 0);
  EXPECT_EQ(examine({"--config", path("config.ini")}).code, 2);
  EXPECT_EQ(check("config_file").state, "failed");
  EXPECT_EQ(check("config_file").remedy, "chmod 600 " + path("config.ini"));
  EXPECT_EQ(check("settings").state, "skipped");
  ASSERT_EQ(::chmod(path("config.ini").c_str(), 0600), 0);
  EXPECT_EQ(examine({"--config", path("config.ini")}).code, 0);
  EXPECT_THAT(check("config_file").detail, HasSubstr("mode 0600, profile [default]"));
}

TEST_F(Doctor, NobodyAnswersIsExit7) {
  startSimulator();
  environment["CAIEXPORT_BASE_URL"] = environment["CAIEXPORT_IMS_URL"] = "http://127.0.0.1:1";
  EXPECT_EQ(examine({"--retries", "0"}).code, 7);
  EXPECT_EQ(check("credentials").state, "failed");
  EXPECT_NE(check("credentials").remedy, "");
}

TEST_F(Doctor, AnInvisibleSandboxIsExit4AndTheOthersAreNamed) {
  startSimulator();
  EXPECT_EQ(examine({"--sandbox", "prd"}).code, 4);
  EXPECT_EQ(check("organization").state, "ok");
  EXPECT_EQ(check("sandbox").state, "failed");
  EXPECT_THAT(check("sandbox").remedy, HasSubstr("prod, dev"));
  EXPECT_EQ(check("export_jobs").state, "skipped");
}

TEST_F(Doctor, WithoutTheRightToListSandboxesCatalogAnswersForIt) {
  startWith(R"({"faults": [{"match": {"path": "sandbox-management"}, "times": -1,
                "do": {"status": 403, "body": {"title": "Forbidden", "type": "http://ns.adobe.com/aep/errors/SMS-1-403"}}}]})");
  EXPECT_EQ(examine().code, 0);
  EXPECT_THAT(check("sandbox").detail, HasSubstr("may not list sandboxes"));
}

TEST_F(Doctor, UnknownIdsAreExit4) {
  startSimulator();
  EXPECT_EQ(examine({"--dataset", "5f00000000000000000000ff"}).code, 4);
  EXPECT_EQ(check("dataset").state, "failed");
  EXPECT_THAT(check("dataset").remedy, HasSubstr("caiexport datasets"));
  EXPECT_EQ(check("files").state, "skipped");
  EXPECT_EQ(examine({"--segment", "no-such"}).code, 4);
  EXPECT_EQ(check("segment").state, "failed");
  EXPECT_EQ(check("merge_policy").state, "skipped");
  EXPECT_EQ(check("union_schema").state, "ok");
}

TEST_F(Doctor, ADatasetWithoutABatchIsExit4) {
  startWith(R"({"created_client": "someone_else"})");
  EXPECT_EQ(examine({"--dataset", kScoreDataset}).code, 4);
  EXPECT_EQ(check("dataset").state, "ok");
  EXPECT_EQ(check("newest_batch").state, "failed");
  EXPECT_THAT(check("newest_batch").remedy, HasSubstr("--created-client any"));
}

TEST_F(Doctor, AWrongClockIsFound) {
  startSimulator();
  post("/_simulator/advance", R"({"seconds": 7200})");
  EXPECT_EQ(examine().code, 2);
  EXPECT_EQ(check("clock").state, "failed");
  EXPECT_THAT(check("clock").detail, HasSubstr("behind the platform's"));
  EXPECT_EQ(check("sandbox").state, "ok") << "it harms nothing else";
}

TEST_F(Doctor, AFolderThatCanNotBeWrittenIsExit9) {
  startSimulator();
  EXPECT_EQ(examine({"--output", "/proc/nothing/here"}).code, 9);
  EXPECT_EQ(check("output").state, "failed");
}

struct GatewayCode {
  const char* code;
  const char* message;
  int exitCode;
  const char* remedy;
};

/// Each of Adobe's gateway codes, as the platform's answer to every call of its services.
class GatewayCodes : public Doctor, public testing::WithParamInterface<GatewayCode> {};

TEST_P(GatewayCodes, HaveTheirRemedy) {
  const GatewayCode& expected = GetParam();
  const std::string code = expected.code;
  startWith(R"({"faults": [{"match": {"path": "^/data/"}, "times": -1, "do": {"status": )" + code.substr(0, 3) +
            R"(, "body": {"error_code": ")" + code + R"(", "message": ")" + expected.message + R"("}}}]})");
  EXPECT_EQ(examine().code, expected.exitCode);
  EXPECT_EQ(check("organization").state, "failed");
  EXPECT_THAT(check("organization").detail, HasSubstr(code));
  EXPECT_THAT(check("organization").remedy, HasSubstr(expected.remedy));
  EXPECT_EQ(check("sandbox").state, "skipped");
  // All commands say the same.
  const Ended other = run({"datasets", "--retries", "0"});
  EXPECT_EQ(other.code, expected.exitCode);
  EXPECT_THAT(other.err, HasSubstr(expected.remedy));
}

INSTANTIATE_TEST_SUITE_P(All, GatewayCodes,
                         testing::Values(GatewayCode{"403010", "Oauth token is missing.", 3,
                                                     "a proxy may remove the Authorization header"},
                                         GatewayCode{"401013", "Oauth token is not valid", 3, "new access token"},
                                         GatewayCode{"403000", "Api Key is required", 3, "set client_id"},
                                         GatewayCode{"403003", "Api Key is invalid", 3, "the Experience Platform API"},
                                         GatewayCode{"400003", "Missing header", 2, "set org_id"},
                                         GatewayCode{"403025", "Profile is not valid", 3, "another organization"},
                                         GatewayCode{"403027", "User region is missing", 3, "ends in @AdobeOrg"},
                                         GatewayCode{"429050", "Too many requests", 7, "fewer requests"}),
                         [](const auto& tested) { return "Code" + std::string(tested.param.code); });

}  // namespace
}  // namespace caiexport::binary
