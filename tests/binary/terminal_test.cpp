/// What a person sees: the live block, its widths, and tables, at a pseudo-terminal.

#include "support/terminal.h"
#include "binary/fixture.h"
#include "caiexport/reader/table.h"

namespace caiexport::binary {
namespace {

using support::TerminalProcess;
using testing::HasSubstr;
using testing::Not;

constexpr const char* kSlow = R"({"files": 4, "file_bytes": 4000000, "success_marker": false,
    "faults": [{"match": {"path": "path="}, "times": -1, "do": {"drip": 20000}}]})";

class AtTerminal : public BinaryTest {
 protected:
  void SetUp() override { environment["TERM"] = "xterm"; }

  TerminalProcess begin(std::vector<std::string> words, unsigned short columns = 80) {
    support::Environment settings = environment;
    settings["CAIEXPORT_BASE_URL"] = simulator_->url();
    settings["CAIEXPORT_IMS_URL"] = simulator_->url();
    return {kCaiexport, words, settings, columns};
  }

  static std::vector<std::string> slowDataset() {
    return {"dataset", "--id", kScoreDataset, "--verify", "size", "--connections", "3"};
  }

  /// The lines that were drawn since `from`, whole ones only.
  static std::vector<std::string> drawnSince(const std::string& output, std::size_t from) {
    std::vector<std::string> lines;
    std::string line;
    for (std::size_t i = from; i < output.size(); ++i) {
      if (output[i] == '\033') {
        i = output.find_first_of("KJAm", i);
        if (i == std::string::npos) break;
      } else if (output[i] == '\r' || output[i] == '\n') {
        lines.push_back(std::exchange(line, {}));
      } else {
        line += output[i];
      }
    }
    return lines;
  }

  static std::size_t widest(const std::vector<std::string>& lines) {
    std::size_t most = 0;
    for (const std::string& line : lines) most = std::max(most, reader::displayWidth(line));
    return most;
  }
};

TEST_F(AtTerminal, OneBlockShowsTheDownloadAndFollowsTheWidth) {
  startWith(kSlow);
  TerminalProcess terminal = begin(slowDataset());
  ASSERT_TRUE(terminal.waitFor("job 1: downloading")) << terminal.output();
  ASSERT_TRUE(terminal.waitFor("░")) << terminal.output();
  ASSERT_TRUE(terminal.waitFor("of 16.0 MB"));
  ASSERT_TRUE(terminal.waitFor("0 of 4 files"));
  ASSERT_TRUE(terminal.waitFor("3 connections"));
  ASSERT_TRUE(terminal.waitFor("/s"));
  EXPECT_GT(widest(drawnSince(terminal.output(), 0)), 60U);
  for (const unsigned short columns : std::initializer_list<unsigned short>{40, 200, 30}) {
    terminal.resize(columns);
    // The first drawing may have begun before.
    ASSERT_TRUE(terminal.waitFor("job 1: downloading"));
    ASSERT_TRUE(terminal.waitFor("job 1: downloading"));
    const std::size_t from = terminal.seen();
    for (int drawings = 0; drawings < 3; ++drawings) ASSERT_TRUE(terminal.waitFor("connections"));
    const std::vector<std::string> lines = drawnSince(terminal.output(), from);
    EXPECT_LT(widest(lines), columns);
    EXPECT_GT(widest(lines), columns == 200 ? 60U : 20U);
  }
  terminal.resize(80);
  terminal.type("\x03");
  EXPECT_EQ(terminal.finish(), 130);
  // One line says how to go on, and nothing of the block is left.
  const std::string text = terminal.screen().text();
  EXPECT_THAT(text, HasSubstr("caiexport: interrupted; job 1 keeps what it has; continue: caiexport resume 1\n"));
  EXPECT_THAT(text, Not(HasSubstr("░")));
  EXPECT_THAT(text, Not(HasSubstr("connections")));
}

TEST_F(AtTerminal, LogLinesDoNotTearTheBlock) {
  startWith(R"({"files": 30, "file_bytes": 20000, "success_marker": false,
      "faults": [{"match": {"path": "path="}, "every": 3, "times": 6, "do": {"reset_in_body": 1000}},
                 {"match": {"path": "path="}, "times": -1, "do": {"drip": 30000}}]})");
  std::vector<std::string> words = slowDataset();
  words.emplace_back("--verbose");
  TerminalProcess terminal = begin(words, 200);
  EXPECT_EQ(terminal.finish(), 0) << terminal.output();
  EXPECT_THAT(terminal.output(), HasSubstr("█")) << "the block was there";
  bool logged = false;
  for (const std::string& line : terminal.screen().lines()) {
    EXPECT_THAT(line, Not(HasSubstr("█")));
    EXPECT_THAT(line, Not(HasSubstr("░")));
    const std::size_t at = line.find("caiexport: debug:");
    logged = logged || at != std::string::npos;
    EXPECT_TRUE(at == std::string::npos || at == 0) << line;
  }
  EXPECT_TRUE(logged);
  EXPECT_THAT(terminal.screen().text(), HasSubstr("Job 1 is done in "));
  EXPECT_THAT(terminal.screen().text(), HasSubstr(" arrived at "));
}

TEST_F(AtTerminal, TheWaitIsShown) {
  startWith(R"({"export_polls": 100000})");
  TerminalProcess terminal = begin({"segment", "--id", kSegment, "--poll-interval", "2s"});
  ASSERT_TRUE(terminal.waitFor("job 1: waiting for the export")) << terminal.output();
  ASSERT_TRUE(terminal.waitFor("PROCESSING, "));
  ASSERT_TRUE(terminal.waitFor(" so far, asked again in "));
  terminal.type("\x03");
  EXPECT_EQ(terminal.finish(), 130);
  EXPECT_THAT(terminal.screen().text(), HasSubstr("continue: caiexport resume 1\n"));
  EXPECT_THAT(terminal.screen().text(), Not(HasSubstr("so far")));
}

TEST_F(AtTerminal, ResumedBytesCount) {
  startWith(R"({"files": 4, "file_bytes": 300000, "success_marker": false,
      "faults": [{"match": {"path": "path="}, "skip": 3, "times": -1, "do": {"drip": 2000}}]})");
  std::vector<std::string> words = slowDataset();
  words.back() = "1";
  TerminalProcess first = begin(words);
  ASSERT_TRUE(first.waitFor("3 of 4 files")) << first.output();
  first.type("\x03");
  ASSERT_EQ(first.finish(), 130);
  TerminalProcess second = begin({"resume", "1"});
  ASSERT_TRUE(second.waitFor("3 of 4 files")) << second.output();
  EXPECT_THAT(second.output(), testing::ContainsRegex("9[0-9][0-9] kB of 1.20 MB"));
  EXPECT_THAT(second.output(), Not(HasSubstr("0 of 4 files")));
  second.type("\x03");
  EXPECT_EQ(second.finish(), 130);
}

TEST_F(AtTerminal, QuietIsSilentDumbHasNoControlCodesNoColorNoColours) {
  startWith(R"({"files": 2, "file_bytes": 1000, "success_marker": false})");
  std::vector<std::string> words = slowDataset();
  words.emplace_back("--quiet");
  TerminalProcess quiet = begin(words);
  EXPECT_EQ(quiet.finish(), 0);
  EXPECT_EQ(quiet.output(), "") << "nothing but errors";

  environment["TERM"] = "dumb";
  environment["CAIEXPORT_CLIENT_ID"] = "wrong";
  TerminalProcess dumb = begin({"dataset", "--id", kScoreDataset});
  EXPECT_EQ(dumb.finish(), 3);
  EXPECT_THAT(dumb.output(), Not(HasSubstr("\033")));
  EXPECT_THAT(dumb.output(), HasSubstr("job 2: finding batches"));

  environment["TERM"] = "xterm";
  TerminalProcess coloured = begin({"dataset", "--id", kScoreDataset});
  EXPECT_EQ(coloured.finish(), 3);
  EXPECT_THAT(coloured.output(), HasSubstr("\033[31m"));
  environment["NO_COLOR"] = "1";
  TerminalProcess plain = begin({"dataset", "--id", kScoreDataset});
  EXPECT_EQ(plain.finish(), 3);
  EXPECT_THAT(plain.output(), Not(HasSubstr("\033[31m")));
}

TEST_F(AtTerminal, TablesFit) {
  startWith(R"({"other_datasets": 30, "other_segments": 30, "files": 3, "records": 30})");
  ASSERT_EQ(run({"dataset", "--id", kScoreDataset}).code, 0);
  ASSERT_EQ(run({"dataset", "--id", kScoreDataset, "--force", "--min-records", "999999"}).code, 8);
  for (const unsigned short columns : std::initializer_list<unsigned short>{40, 80, 200}) {
    for (const std::vector<std::string>& words :
         std::vector<std::vector<std::string>>{{"history", "--database", path("jobs.db")},
                                               {"show", "1"},
                                               {"show", "2"},
                                               {"status"},
                                               {"history", "--sql", "SELECT * FROM files"},
                                               {"datasets"},
                                               {"segments"},
                                               {"failed", "--id", kScoreDataset},
                                               {"doctor", "--dataset", kScoreDataset}}) {
      // Scopes and ids are words that can't be broken.
      if (words[0] == "doctor" && columns < 60) continue;
      TerminalProcess terminal = begin(words, columns);
      EXPECT_EQ(terminal.finish(), words[0] == "status" ? 8 : 0) << terminal.output();
      std::vector<std::string> lines = drawnSince(terminal.output(), 0);
      // Paths are not broken, so that they can be copied; messages are the terminal's affair, for the same reason.
      std::erase_if(lines, [&](const std::string& line) {
        return line.find('/') != std::string::npos || line.starts_with("caiexport:") || line.starts_with("hint:") ||
               line.starts_with("Next:");
      });
      EXPECT_LE(widest(lines), columns) << words.front() << " at " << columns << "\n" << terminal.output();
    }
  }
}

TEST_F(AtTerminal, OnANarrowOneHistoryShowsWholeIdsAndTheReason) {
  startWith(R"({"files": 1, "records": 30})");
  ASSERT_EQ(run({"dataset", "--id", kScoreDataset, "--min-records", "999999"}).code, 8);
  TerminalProcess narrow = begin({"history", "--database", path("jobs.db")}, 40);
  EXPECT_EQ(narrow.finish(), 0);
  EXPECT_THAT(narrow.output(), HasSubstr("1  dataset  failed, "));
  EXPECT_THAT(narrow.output(), HasSubstr("\r\n  " + std::string(kScoreDataset) + "\r\n  batch "));
  TerminalProcess wide = begin({"history", "--database", path("jobs.db")}, 120);
  EXPECT_EQ(wide.finish(), 0);
  EXPECT_THAT(wide.output(), HasSubstr("error"));
}

TEST_F(AtTerminal, ASpreadsheetIsNotPrinted) {
  startWith(R"({"files": 1, "records": 30})");
  for (const std::string command : {"history", "scores", "read"}) {
    std::vector<std::string> words{command, "--format", "xlsx"};
    if (command != "history") words.emplace_back("--last");
    TerminalProcess terminal = begin(words);
    EXPECT_EQ(terminal.finish(), 2) << command;
    EXPECT_THAT(terminal.output(), HasSubstr("xlsx is binary and cannot be printed on a terminal")) << command;
  }
}

}  // namespace
}  // namespace caiexport::binary
