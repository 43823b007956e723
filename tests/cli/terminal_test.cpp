#include "caiexport/cli/terminal.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>

#include "caiexport/core/error.h"
#include "caiexport/core/file_system.h"
#include "caiexport/json/writer.h"
#include "cli/output/run_log.h"
#include "support/fake_clock.h"
#include "support/temp_directory.h"

namespace caiexport::cli {
namespace {

using testing::HasSubstr;

class IgnoredPipeSignal {
 public:
  IgnoredPipeSignal() : before_(std::signal(SIGPIPE, SIG_IGN)) {}
  ~IgnoredPipeSignal() { std::signal(SIGPIPE, before_); }

 private:
  void (*before_)(int);
};

TEST(StandardOutput, AClosedPipeEndsQuietly) {
  const IgnoredPipeSignal ignored;
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  ::close(ends[0]);
  StandardOutput out(ends[1]);
  EXPECT_TRUE(out.write("small"));
  EXPECT_FALSE(out.flush());
  EXPECT_FALSE(out.write("more"));
  EXPECT_TRUE(out.used());
  ::close(ends[1]);
}

TEST(StandardOutput, AFullDeviceIsAnIoError) {
  const int full = ::open("/dev/full", O_WRONLY);
  ASSERT_GE(full, 0);
  StandardOutput out(full);
  out.write("text");
  try {
    out.flush();
    ADD_FAILURE() << "nothing was thrown";
  } catch (const core::Error& error) {
    EXPECT_EQ(error.category(), core::Category::io);
  }
  EXPECT_FALSE(out.write("after")) << "nothing follows half a document";
  ::close(full);
}

TEST(StandardOutput, KeepsTheOrderOfSmallAndLargePieces) {
  const support::TempDirectory folder;
  const std::string file = (folder / "out").string();
  const int descriptor = ::open(file.c_str(), O_WRONLY | O_CREAT, 0600);
  StandardOutput out(descriptor);
  EXPECT_FALSE(out.used());
  std::string expected;
  for (int i = 0; i < 40; ++i) {
    const std::string piece(static_cast<std::size_t>(i) * 7919, static_cast<char>('a' + i % 26));
    expected += piece;
    EXPECT_TRUE(out.write(piece));
  }
  EXPECT_TRUE(out.flush());
  ::close(descriptor);
  EXPECT_EQ(core::readFile(file), expected);
}

struct ConsoleFile {
  ~ConsoleFile() { std::fclose(file); }
  std::string text() const {
    std::string all;
    char buffer[4096];
    std::rewind(file);
    for (std::size_t got = 0; (got = std::fread(buffer, 1, sizeof buffer, file)) > 0;) all.append(buffer, got);
    return all;
  }
  std::FILE* file = std::tmpfile();
  Console console{::fileno(file)};
};

TEST(Console, WritesNoEscapeCodesToAFile) {
  ConsoleFile to;
  to.console.live("moving");
  to.console.line("fixed");
  to.console.failure("wrong");
  to.console.live("");
  EXPECT_EQ(to.text(), "fixed\nwrong\n");
}

TEST(Console, QuietHidesNoticesOnly) {
  ConsoleFile to;
  to.console.setLevel(Console::Level::quiet);
  to.console.notice("notice");
  to.console.line("error");
  EXPECT_EQ(to.text(), "error\n");
}

TEST(LogSink, ShowsByLevel) {
  const support::FakeClock clock;
  for (const auto& [level, expected] : std::vector<std::pair<Console::Level, std::string>>{
           {Console::Level::quiet, "caiexport: error: e k=v\n"},
           {Console::Level::normal, "caiexport: warning: w k=\"two words\"\ncaiexport: error: e k=v\n"},
           {Console::Level::verbose,
            "caiexport: debug: d k=\\x1b\ncaiexport: warning: w k=\"two words\"\ncaiexport: error: e k=v\n"}}) {
    ConsoleFile to;
    to.console.setLevel(level);
    LogSink log(to.console, clock, std::nullopt);
    log.write(core::LogLevel::debug, "d", {{"k", "\x1b"}});
    log.write(core::LogLevel::warning, "w", {{"k", "two words"}});
    log.write(core::LogLevel::error, "e", {{"k", "v"}});
    EXPECT_EQ(to.text(), expected);
    EXPECT_EQ(log.wants(core::LogLevel::debug), level == Console::Level::verbose);
  }
}

TEST(LogSink, AppendsJsonLinesToAPrivateFile) {
  const support::TempDirectory folder;
  const support::FakeClock clock;
  const std::filesystem::path file = folder / "log";
  ConsoleFile to;
  for (const char* event : {"one", "two"}) {
    LogSink log(to.console, clock, LogFile{.path = file});
    EXPECT_TRUE(log.wants(core::LogLevel::debug));
    if (std::string_view(event) == "two") log.setJob(12);
    log.write(core::LogLevel::debug, event, {{"url", "a\"b"}, {"bytes", 5}});
  }
  const std::string pid = std::to_string(::getpid());
  EXPECT_EQ(core::readFile(file),
            "{\"ts\": \"2026-11-24T00:00:00.000Z\", \"level\": \"debug\", \"event\": \"one\", \"pid\": " + pid +
                ", \"job\": null, \"url\": \"a\\\"b\", \"bytes\": 5}\n"
                "{\"ts\": \"2026-11-24T00:00:00.000Z\", \"level\": \"debug\", \"event\": \"two\", \"pid\": " +
                pid + ", \"job\": 12, \"url\": \"a\\\"b\", \"bytes\": 5}\n");
  struct stat facts {};
  ASSERT_EQ(::stat(file.c_str(), &facts), 0);
  EXPECT_EQ(facts.st_mode & 0077U, 0U);
  EXPECT_THROW(LogSink(to.console, clock, LogFile{.path = folder / "no/log"}), core::Error);
}

TEST(LogSink, ARetryIsOneSentenceForPeople) {
  const support::FakeClock clock;
  ConsoleFile to;
  LogSink log(to.console, clock, std::nullopt);
  const auto retry = [&](const char* reason) {
    log.write(core::LogLevel::warning, "retry",
              {{"what", "list batches"}, {"try", 1}, {"tries", 6}, {"wait_ms", 900}, {"reason", reason}});
  };
  retry("GET https://platform.adobe.io/data/x?y=1: cannot connect: connection refused (10.0.0.1:443)");
  retry("GET https://platform.adobe.io/data/x?y=1: HTTP 503");
  EXPECT_EQ(to.text(),
            "caiexport: cannot reach platform.adobe.io (connection refused), try 2 of 6 in 0.9 s\n"
            "caiexport: cannot list batches: HTTP 503, try 2 of 6 in 0.9 s\n");
}

TEST(LogSink, LeavesOutWhatIsBelowItsLevelButNeverARunsEnd) {
  const support::TempDirectory folder;
  const support::FakeClock clock;
  ConsoleFile to;
  LogSink log(to.console, clock, LogFile{.path = folder / "log", .level = core::LogLevel::warning});
  EXPECT_FALSE(log.wants(core::LogLevel::info));
  log.write(core::LogLevel::info, "step", {});
  log.write(core::LogLevel::warning, "retry", {});
  log.writeToFile("run_ended", [](json::Writer& json) { json.key("exit_code").value(std::int64_t{0}); });
  const std::string text = core::readFile(folder / "log");
  EXPECT_THAT(text, testing::Not(testing::HasSubstr("step")));
  EXPECT_THAT(text, testing::HasSubstr("retry"));
  EXPECT_THAT(text, testing::HasSubstr("\"run_ended\""));
}

TEST(LogSink, ATwoProcessesFullFileIsMovedAsideOnceAndNoLineIsLost) {
  const support::TempDirectory folder;
  const support::FakeClock clock;
  ConsoleFile to;
  const LogFile file{.path = folder / "log", .mostBytes = 1000};
  LogSink one(to.console, clock, file);
  LogSink other(to.console, clock, file);
  const auto write = [](LogSink& log) { log.write(core::LogLevel::debug, "e", {{"text", std::string(350, 'x')}}); };
  write(one);
  write(other);
  write(one);    // the third would not fit: it begins a new file
  write(other);  // still has the old one open, sees that it was moved, and follows
  const auto linesIn = [&](const char* name) {
    const std::string text = core::readFile(folder / name);
    return std::ranges::count(text, '\n');
  };
  EXPECT_EQ(linesIn("log.1"), 2);
  EXPECT_EQ(linesIn("log"), 2);
}

}  // namespace
}  // namespace caiexport::cli
