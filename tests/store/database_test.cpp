#include "caiexport/store/database.h"

#include <grp.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <iterator>
#include <set>

#include "store/store_fixture.h"
#include "support/child_process.h"

namespace caiexport::store {
namespace {

namespace fs = std::filesystem;
using core::Category;
using testing::HasSubstr;

std::string contentOf(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void write(const fs::path& file, std::string_view content) {
  std::ofstream(file, std::ios::binary) << content;
}

std::set<std::string> namesIn(const fs::path& folder) {
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.insert(entry.path().filename());
  return names;
}

unsigned modeOf(const fs::path& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) ADD_FAILURE() << "no " << path;
  return info.st_mode & 0777U;
}

core::Error openingError(const fs::path& file, Database::Mode mode = Database::Mode::readWrite) {
  return errorOf([&] { Database(file, mode); });
}

/// Runs `action` in a process without root's right to ignore permissions. 0 when it returned true.
int asOrdinaryUser(const std::function<bool()>& action) {
  support::ChildProcess child([&](const auto&) {
    if (::geteuid() == 0 && (::setgroups(0, nullptr) != 0 || ::setgid(65534) != 0 || ::setuid(65534) != 0)) return 2;
    return action() ? 0 : 1;
  });
  return child.wait();
}

class DatabaseTest : public testing::Test {
 protected:
  support::TempDirectory folder_;
  fs::path file_ = folder_ / "jobs.db";
};

TEST_F(DatabaseTest, createsFoldersAndFileForTheUserAlone) {
  const fs::path file = folder_ / "a/b/jobs.db";
  { Database database(file, Database::Mode::readWrite); }
  EXPECT_EQ(modeOf(file), 0600U);
  EXPECT_EQ(modeOf(file.parent_path()), 0700U);
  EXPECT_EQ(modeOf(file.parent_path().parent_path()), 0700U);
  EXPECT_EQ(namesIn(file.parent_path()), std::set<std::string>{"jobs.db"});
}

TEST_F(DatabaseTest, setsWhatDurabilityNeeds) {
  Database database(file_, Database::Mode::readWrite);
  auto& connection = database.connection();
  EXPECT_EQ(connection.execAndGet("PRAGMA journal_mode").getString(), "wal");
  EXPECT_EQ(connection.execAndGet("PRAGMA synchronous").getInt(), 2);
  EXPECT_EQ(connection.execAndGet("PRAGMA foreign_keys").getInt(), 1);
  EXPECT_EQ(connection.execAndGet("PRAGMA user_version").getInt(), newestSchemaVersion());
  EXPECT_NE(connection.execAndGet("PRAGMA application_id").getInt(), 0);
}

TEST_F(DatabaseTest, opensAgainWithoutMigrating) {
  { Database database(file_, Database::Mode::readWrite); }
  const std::string before = contentOf(file_);
  { Database database(file_, Database::Mode::readWrite); }
  EXPECT_EQ(contentOf(file_), before);
}

TEST_F(DatabaseTest, takesAnEmptyFile) {
  write(file_, "");
  Database database(file_, Database::Mode::readWrite);
  EXPECT_EQ(database.connection().execAndGet("SELECT count(*) FROM job").getInt(), 0);
}

TEST_F(DatabaseTest, refusesAFolder) {
  const core::Error error = openingError(folder_.path());
  EXPECT_EQ(error.category(), Category::io);
  EXPECT_THAT(error.what(), HasSubstr("it is a folder"));
  EXPECT_THAT(error.hint(), HasSubstr("--database"));
}

TEST_F(DatabaseTest, refusesWhatIsNoDatabase) {
  const std::string garbage(5000, 'x');
  write(file_, garbage);
  for (const auto mode : {Database::Mode::readWrite, Database::Mode::readOnly}) {
    const core::Error error = openingError(file_, mode);
    EXPECT_EQ(error.category(), Category::io);
    EXPECT_THAT(error.what(), HasSubstr("not a database"));
    EXPECT_THAT(error.hint(), HasSubstr("left as it is"));
  }
  EXPECT_EQ(contentOf(file_), garbage);
  EXPECT_EQ(namesIn(folder_.path()), std::set<std::string>{"jobs.db"});
}

TEST_F(DatabaseTest, refusesWhatIsTooShortToBeADatabaseAndLeavesItAlone) {
  for (const std::size_t bytes : {1U, 15U, 16U, 100U, 511U}) {
    const std::string text(bytes, 'x');
    write(file_, text);
    for (const auto mode : {Database::Mode::readWrite, Database::Mode::readOnly}) {
      const core::Error error = openingError(file_, mode);
      EXPECT_EQ(error.category(), Category::io) << bytes;
      EXPECT_THAT(error.what(), HasSubstr("not a database"));
    }
    EXPECT_EQ(contentOf(file_), text);
    EXPECT_EQ(namesIn(folder_.path()), std::set<std::string>{"jobs.db"});
  }
}

TEST_F(DatabaseTest, leavesTheLogOfAnotherProgramsDatabaseWhereItIs) {
  support::ChildProcess theirs([&](const auto&) {
    SQLite::Database other(file_.string(), SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE);
    other.exec("PRAGMA journal_mode = WAL");
    other.exec("CREATE TABLE theirs (x)");
    ::_exit(0);  // as if killed: the log is not written back
    return 0;
  });
  ASSERT_EQ(theirs.wait(), 0);
  const std::string before = contentOf(file_);
  const std::string log = contentOf(file_.string() + "-wal");
  ASSERT_FALSE(log.empty());
  EXPECT_THAT(openingError(file_).what(), HasSubstr("another program"));
  EXPECT_EQ(contentOf(file_), before);
  EXPECT_EQ(contentOf(file_.string() + "-wal"), log);
}

TEST_F(DatabaseTest, refusesToWriteToWhatAnotherUserPutThere) {
  for (const char* ending : {"", "-wal", "-shm", "-journal", ".lock"}) {
    SCOPED_TRACE(ending);
    const fs::path file = folder_ / (std::string("planted") + ending) / "jobs.db";
    if (*ending != '\0') {
      Database made(file, Database::Mode::readWrite);
    }
    fs::create_directories(file.parent_path());
    const std::string planted = file.string() + ending;
    if (::geteuid() == 0) {
      write(planted, "");
      ASSERT_EQ(::chown(planted.c_str(), 65534, 65534), 0);
    } else {
      fs::create_symlink("/etc/passwd", planted);
    }
    const core::Error error = openingError(file);
    EXPECT_EQ(error.category(), Category::io);
    EXPECT_THAT(error.what(), HasSubstr("belongs to another user"));
  }
}

TEST_F(DatabaseTest, takesBackWhatOthersMayWrite) {
  const fs::path file = folder_ / "open/jobs.db";
  { Database database(file, Database::Mode::readWrite); }
  fs::permissions(file, fs::perms::all);
  fs::permissions(file.parent_path(), fs::perms::all);
  { Database database(file, Database::Mode::readWrite); }
  EXPECT_EQ(modeOf(file) & 0037U, 0U);
  EXPECT_EQ(modeOf(file.parent_path()), 0775U);
}

TEST_F(DatabaseTest, refusesADatabaseOfAnotherProgram) {
  SQLite::Database(file_.string(), SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE).exec("CREATE TABLE theirs (x)");
  const std::string before = contentOf(file_);
  const core::Error error = openingError(file_);
  EXPECT_EQ(error.category(), Category::io);
  EXPECT_THAT(error.what(), HasSubstr("another program"));
  EXPECT_EQ(contentOf(file_), before);
}

TEST_F(DatabaseTest, refusesAnotherProgramsVersionNumberToo) {
  SQLite::Database(file_.string(), SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE).exec("PRAGMA user_version = 1");
  EXPECT_EQ(openingError(file_).category(), Category::io);
}

TEST_F(DatabaseTest, leavesANewerDatabaseUntouched) {
  { Database(file_, Database::Mode::readWrite).connection().exec("PRAGMA user_version = 999"); }
  const std::string before = contentOf(file_);
  for (const auto mode : {Database::Mode::readWrite, Database::Mode::readOnly}) {
    const core::Error error = openingError(file_, mode);
    EXPECT_EQ(error.category(), Category::config);
    EXPECT_THAT(error.what(), HasSubstr("newer caiexport"));
    EXPECT_THAT(error.what(), HasSubstr("999"));
  }
  EXPECT_EQ(contentOf(file_), before);
  EXPECT_EQ(namesIn(folder_.path()), std::set<std::string>{"jobs.db"});
}

TEST_F(DatabaseTest, saysWhatADamagedFileNeeds) {
  { Database database(file_, Database::Mode::readWrite); }
  std::string content = contentOf(file_);
  content.replace(100, content.size() - 100, content.size() - 100, '\x7f');
  write(file_, content);
  const core::Error error = openingError(file_);
  EXPECT_EQ(error.category(), Category::io);
  EXPECT_THAT(error.hint(), HasSubstr("damaged"));
}

TEST_F(DatabaseTest, refusesAFileWithoutPermission) {
  { Database database(file_, Database::Mode::readWrite); }
  fs::permissions(folder_.path(), fs::perms::all);
  fs::permissions(file_, fs::perms::none);
  for (const auto mode : {Database::Mode::readWrite, Database::Mode::readOnly}) {
    EXPECT_EQ(asOrdinaryUser([&] {
                const core::Error error = openingError(file_, mode);
                return error.category() == Category::io && !error.hint().empty();
              }),
              0);
  }
}

TEST_F(DatabaseTest, refusesToWriteWhatCanOnlyBeRead) {
  { Database database(file_, Database::Mode::readWrite); }
  fs::permissions(folder_.path(), fs::perms::all);
  fs::permissions(file_, fs::perms::owner_read | fs::perms::others_read);
  EXPECT_EQ(asOrdinaryUser([&] { return openingError(file_).category() == Category::io; }), 0);
}

TEST_F(DatabaseTest, refusesAFolderThatCanNotBeMade) {
  write(folder_ / "file", "");
  EXPECT_EQ(openingError(folder_ / "file/jobs.db").category(), Category::io);
}

/// A file system without shared memory: SQLite's own VFS of that kind as the default one.
class WithoutSharedMemory {
 public:
  WithoutSharedMemory() : usual_(sqlite3_vfs_find(nullptr)) {
    sqlite3_vfs_register(sqlite3_vfs_find("unix-dotfile"), 1);
  }
  ~WithoutSharedMemory() { sqlite3_vfs_register(usual_, 1); }
  WithoutSharedMemory(const WithoutSharedMemory&) = delete;
  WithoutSharedMemory& operator=(const WithoutSharedMemory&) = delete;

 private:
  sqlite3_vfs* usual_;
};

TEST_F(DatabaseTest, refusesAFileSystemWithoutWal) {
  const WithoutSharedMemory fileSystem;
  const core::Error error = openingError(file_);
  EXPECT_EQ(error.category(), Category::io);
  EXPECT_THAT(error.what(), HasSubstr("write-ahead log"));
  EXPECT_THAT(error.hint(), HasSubstr("local disk"));
}

TEST_F(DatabaseTest, eightProcessesMayMigrateAtOnce) {
  for (int round = 0; round < 5; ++round) {
    const fs::path file = folder_ / ("jobs" + std::to_string(round) + ".db");
    std::vector<std::unique_ptr<support::ChildProcess>> children;
    for (int n = 0; n < 8; ++n) {
      children.push_back(std::make_unique<support::ChildProcess>([&, n](const auto& link) {
        link.ready();
        link.waitForRelease();
        Database database(file, Database::Mode::readWrite);
        support::FakeClock clock;
        JobStore store(database, clock);
        store.createJob(datasetRequest(), std::to_string(n), model::makePlan(datasetRequest()));
        return 0;
      }));
    }
    for (auto& child : children) child->waitUntilReady();
    for (auto& child : children) child->release();
    for (auto& child : children) EXPECT_EQ(child->wait(), 0);
    Database database(file, Database::Mode::readOnly);
    EXPECT_EQ(database.connection().execAndGet("SELECT count(*) FROM job").getInt(), 8);
  }
}

TEST_F(DatabaseTest, aMigrationThatFailsLeavesNothing) {
  // The name of one of our tables is taken, but nothing else says that the file is foreign: as after a half restore.
  {
    SQLite::Database other(file_.string(), SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE);
    other.exec("PRAGMA application_id = 0x43414958");
    other.exec("CREATE TABLE event (x)");
  }
  EXPECT_EQ(openingError(file_).category(), Category::io);
  SQLite::Database other(file_.string(), SQLite::OPEN_READWRITE);
  EXPECT_EQ(other.execAndGet("SELECT group_concat(name) FROM sqlite_master").getString(), "event");
  EXPECT_EQ(other.execAndGet("PRAGMA user_version").getInt(), 0);
}

// --- reading only

TEST_F(DatabaseTest, readingNeedsAFileAndMakesNone) {
  const core::Error error = openingError(folder_ / "none/jobs.db", Database::Mode::readOnly);
  EXPECT_EQ(error.category(), Category::notFound);
  EXPECT_FALSE(fs::exists(folder_ / "none"));
}

TEST_F(DatabaseTest, aReaderCanNotWriteAndLeavesNoFile) {
  { Database database(file_, Database::Mode::readWrite); }
  {
    Database database(file_, Database::Mode::readOnly);
    EXPECT_EQ(database.connection().execAndGet("SELECT count(*) FROM job").getInt(), 0);
    EXPECT_THROW(database.connection().exec("DELETE FROM job"), SQLite::Exception);
  }
  EXPECT_EQ(namesIn(folder_.path()), std::set<std::string>{"jobs.db"});
}

TEST_F(DatabaseTest, aReaderSeesWhatAWriterJustWrote) {
  Database writer(file_, Database::Mode::readWrite);
  Database reader(file_, Database::Mode::readOnly);
  support::FakeClock clock;
  JobStore(writer, clock).createJob(datasetRequest(), "u", model::makePlan(datasetRequest()));
  EXPECT_TRUE(History(reader, {}).newest().has_value());
}

// --- a glance

TEST_F(DatabaseTest, aGlanceMakesNothing) {
  EXPECT_EQ(openingError(folder_ / "none/jobs.db", Database::Mode::glance).category(), Category::notFound);
  EXPECT_FALSE(fs::exists(folder_ / "none"));
  { Database database(file_, Database::Mode::readWrite); }
  {
    Database database(file_, Database::Mode::glance);
    EXPECT_EQ(database.connection().execAndGet("SELECT count(*) FROM job").getInt(), 0);
    EXPECT_THROW(database.connection().exec("DELETE FROM job"), SQLite::Exception);
  }
  EXPECT_EQ(namesIn(folder_.path()), std::set<std::string>{"jobs.db"});
}

TEST_F(DatabaseTest, aGlanceSeesWhatAWriterJustWrote) {
  Database writer(file_, Database::Mode::readWrite);
  support::FakeClock clock;
  JobStore(writer, clock).createJob(datasetRequest(), "u", model::makePlan(datasetRequest()));
  Database reader(file_, Database::Mode::glance);
  EXPECT_TRUE(History(reader, {}).newest().has_value());
}

TEST_F(DatabaseTest, aGlanceLeavesAnOlderDatabaseAsItIs) {
  write(file_, "");
  EXPECT_EQ(openingError(file_, Database::Mode::glance).category(), Category::io);
  EXPECT_EQ(fs::file_size(file_), 0U);
}

TEST_F(DatabaseTest, aGlanceDoesNotWaitForALock) {
  { Database database(file_, Database::Mode::readWrite); }
  SQLite::Database holder(file_.string(), SQLite::OPEN_READWRITE);
  holder.exec("CREATE TABLE in_the_log (a)");
  holder.exec("PRAGMA locking_mode = EXCLUSIVE");
  holder.exec("INSERT INTO in_the_log VALUES (1)");
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_THAT(openingError(file_, Database::Mode::glance).what(), HasSubstr("database is locked"));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(30));  // others wait for 60
}

TEST_F(DatabaseTest, readsInAFolderThatCanNotBeWritten) {
  // Letters that mean something in a URI, which this way of opening needs.
  const fs::path inner = folder_ / "a?b#c%41";
  const fs::path file = inner / "jobs.db";
  {
    Database database(file, Database::Mode::readWrite);
    support::FakeClock clock;
    JobStore(database, clock).createJob(datasetRequest(), "u", model::makePlan(datasetRequest()));
  }
  const auto readOnly = fs::perms::owner_read | fs::perms::others_read;
  fs::permissions(file, readOnly);
  fs::permissions(inner, readOnly | fs::perms::owner_exec | fs::perms::others_exec);
  fs::permissions(folder_.path(), fs::perms::owner_all | fs::perms::others_read | fs::perms::others_exec);
  const int status = asOrdinaryUser([&] {
    Database database(file, Database::Mode::readOnly);
    bool found = false;
    History(database, {})
        .runSql(
            "SELECT count(*) FROM jobs", [](const auto&) {},
            [&](const auto& row) { return found = row.at(0).text == "1"; });
    return found && History(database, {}).newest().has_value();
  });
  EXPECT_EQ(status, 0);
  EXPECT_EQ(namesIn(inner), std::set<std::string>{"jobs.db"});
  fs::permissions(inner, fs::perms::owner_all);
}

TEST_F(DatabaseTest, readsBesideAWriterInAFolderThatCanNotBeWritten) {
  Database database(file_, Database::Mode::readWrite);
  support::FakeClock clock;
  JobStore(database, clock).createJob(datasetRequest(), "u", model::makePlan(datasetRequest()));
  for (const auto& entry : fs::directory_iterator(folder_.path())) {
    fs::permissions(entry.path(), fs::perms::others_read, fs::perm_options::add);
  }
  fs::permissions(folder_.path(), fs::perms::owner_all | fs::perms::others_read | fs::perms::others_exec);
  EXPECT_EQ(asOrdinaryUser([&] {
              Database reader(file_, Database::Mode::readOnly);
              return History(reader, {}).newest().has_value();
            }),
            0);
}

TEST_F(DatabaseTest, aReaderBringsAnOlderDatabaseUpToDate) {
  write(file_, "");
  Database database(file_, Database::Mode::readOnly);
  EXPECT_FALSE(History(database, {}).newest().has_value());
}

TEST_F(DatabaseTest, aReaderSaysThatItCanNotBringAnOlderDatabaseUpToDate) {
  const fs::path inner = folder_ / "inner";
  fs::create_directory(inner);
  write(inner / "jobs.db", "");
  fs::permissions(inner,
                  fs::perms::owner_read | fs::perms::owner_exec | fs::perms::others_read | fs::perms::others_exec);
  fs::permissions(folder_.path(), fs::perms::owner_all | fs::perms::others_read | fs::perms::others_exec);
  EXPECT_EQ(asOrdinaryUser([&] {
              const core::Error error = openingError(inner / "jobs.db", Database::Mode::readOnly);
              return error.category() == Category::io &&
                     std::string(error.what()).find("up to date") != std::string::npos;
            }),
            0);
  fs::permissions(inner, fs::perms::owner_all);
}

// --- failures of an open database

TEST_F(DatabaseTest, aFullDiskIsSaidAndChangesNothing) {
  Database database(file_, Database::Mode::readWrite);
  support::FakeClock clock;
  JobStore store(database, clock);
  const auto job = store.createJob(datasetRequest(), "u", model::makePlan(datasetRequest())).id;
  const int pages = database.connection().execAndGet("PRAGMA page_count").getInt();
  database.connection().exec("PRAGMA max_page_count = " + std::to_string(pages));
  const core::Error error = errorOf([&] { store.addEvent(job, {}, "large", std::string(100000, 'x')); });
  EXPECT_EQ(error.category(), Category::io);
  EXPECT_THAT(error.what(), HasSubstr("full"));
  EXPECT_THAT(error.hint(), HasSubstr("free space"));
  int events = 0;
  History(database, {}).forEachEvent(job, [&](const auto&) { ++events; });
  EXPECT_EQ(events, 0);
  database.connection().exec("PRAGMA max_page_count = 1000000");
  store.addEvent(job, {}, "small", "");
}

TEST_F(DatabaseTest, writersOfSeveralProcessesTakeTurns) {
  constexpr int kEvents = 100;
  { Database database(file_, Database::Mode::readWrite); }
  std::vector<std::unique_ptr<support::ChildProcess>> children;
  for (int n = 0; n < 3; ++n) {
    children.push_back(std::make_unique<support::ChildProcess>([&, n](const auto& link) {
      Database database(file_, Database::Mode::readWrite);
      support::FakeClock clock;
      JobStore store(database, clock);
      link.ready();
      link.waitForRelease();
      const auto job = store.createJob(datasetRequest(), std::to_string(n), model::makePlan(datasetRequest())).id;
      for (int event = 0; event < kEvents; ++event) store.addEvent(job, {}, "tick", std::to_string(event));
      return 0;
    }));
  }
  for (auto& child : children) child->waitUntilReady();
  for (auto& child : children) child->release();
  for (auto& child : children) EXPECT_EQ(child->wait(), 0);
  Database database(file_, Database::Mode::readOnly);
  EXPECT_EQ(database.connection().execAndGet("SELECT count(*) FROM event").getInt(), 3 * kEvents);
  EXPECT_EQ(database.connection().execAndGet("PRAGMA integrity_check").getString(), "ok");
}

TEST_F(DatabaseTest, aHundredWritersThatBeginTogetherAllGetTheirTurn) {
  constexpr int kWriters = 100;
  { Database database(file_, Database::Mode::readWrite); }
  std::vector<std::unique_ptr<support::ChildProcess>> children;
  for (int n = 0; n < kWriters; ++n) {
    children.push_back(std::make_unique<support::ChildProcess>([&, n](const auto& link) {
      link.ready();
      link.waitForRelease();
      Database database(file_, Database::Mode::readWrite);
      support::FakeClock clock;
      JobStore store(database, clock);
      const auto job = store.createJob(datasetRequest(), std::to_string(n), model::makePlan(datasetRequest())).id;
      for (int event = 0; event < 3; ++event) store.addEvent(job, {}, "tick", std::to_string(event));
      return 0;
    }));
  }
  for (auto& child : children) child->waitUntilReady();
  for (auto& child : children) child->release();
  for (auto& child : children) EXPECT_EQ(child->wait(), 0);
  Database database(file_, Database::Mode::readOnly);
  EXPECT_EQ(database.connection().execAndGet("SELECT count(*) FROM event").getInt(), 3 * kWriters);
}

TEST_F(DatabaseTest, aKilledWriterLeavesWhatItCommitted) {
  support::ChildProcess child([&](const auto& link) {
    Database database(file_, Database::Mode::readWrite);
    support::FakeClock clock;
    JobStore store(database, clock);
    store.createJob(datasetRequest(), "u", model::makePlan(datasetRequest()));
    database.connection().exec("BEGIN IMMEDIATE");
    database.connection().exec("UPDATE job SET uuid = 'never'");
    link.ready();
    link.waitForRelease();
    return 0;
  });
  child.waitUntilReady();
  child.kill();
  Database database(file_, Database::Mode::readOnly);
  EXPECT_EQ(History(database, {}).newest().value().job.uuid, "u");
}

}  // namespace
}  // namespace caiexport::store
