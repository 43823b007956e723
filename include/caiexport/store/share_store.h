#pragma once
/// How several processes on several hosts do one job together (--share), by what they write down in a database on a
/// server.
///
/// A job has a head: who holds its lock. The head alone selects, creates, lists, verifies. Once its files are listed
/// they are handed out: each worker takes some at a time, fetches them, records them, takes more. What a worker holds
/// is its own until its row of `worker` runs out; then anyone takes it. Two things keep a worker that was late (frozen,
/// cut off) from writing of what is not its own any more:
///
/// - Each writing transaction begins by making sure that its row is alive, and keeps it so until the end (Leases). It
///   is never revived: a process that was late is to stop.
/// - Each write to a file's row asks that the file is held by this worker and not finished (requireHeld in rows.h): the
///   one place of that condition.
///
/// On disk, the name of the `.part` file carries the number of the worker that began it, its fence. A file that was
/// given back in good order keeps its fence, and whoever takes it next goes on with its bytes; one of a worker that
/// died gets a new one, since that worker may still write to the old one.
///
/// A file that is larger than a worker's share of what is left is divided (split). Its pieces are handed out like
/// files, and lie in files of their own whose names carry the worker and the piece: nobody writes to what another
/// brought. Once all of them are there the file is taken like any other, by one worker, who puts it together. Wherever
/// workers name what they hold, a piece is a number below zero: its row's, negated.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "caiexport/core/error.h"
#include "caiexport/model/job.h"

namespace caiexport::store {

class Database;
class Leases;

/// Below that a file is not worth the way through pieces: what one connection brings in a few seconds.
inline constexpr std::uint64_t kLeastDividedBytes = 64U << 20U;

/// For the thread that owns the connection. As with JobStore, one function is one transaction.
class ShareStore {
 public:
  /// Of a server. Both must outlive it.
  ShareStore(Database& database, Leases& leases);

  /// This process works on the job from now on. If nobody else does, files that could not be had before are tried anew.
  void enter(model::JobId job);

  struct Crew {
    unsigned workers = 1;    ///< That are alive, this one included.
    bool throttled = false;  ///< The platform asked one of them for fewer requests not long ago.
  };
  Crew crew(model::JobId job);
  /// It asked this one.
  void recordThrottled(model::JobId job);

  /// Of a divided file.
  struct Piece {
    std::int64_t key = 0;  ///< Below zero.
    model::ByteRange range = {};
    std::int64_t worker = 0;  ///< Who fetches it, or brought it.
    std::string sha256 = {};  ///< Once it is there, like what follows.
    model::FileVersion version = {};
    bool earlier = false;  ///< It was there before the present workers came.
  };
  /// A file that this worker holds now, or a piece of one.
  struct Taken {
    model::FileRecord file = {};
    std::int64_t fence = 0;
    std::optional<Piece> piece = {};  ///< The only thing held of the file.
    std::vector<Piece> pieces = {};   ///< Of a divided file that is held, all of them: by their places, then by turn.
  };
  /// Up to `most` files that are not here yet, in the order of listing, from where the last call ended: those that
  /// nobody holds, also of workers that are gone.
  std::vector<Taken> take(model::JobId job, std::size_t most);
  /// The same of pieces.
  std::vector<Taken> takePieces(model::JobId job, std::size_t most);
  /// Divides a file that this worker holds and has not begun, if it is more than its share. It is held no more then.
  bool split(std::int64_t file, unsigned workers);
  /// It is there, and on the device. False if it is of no use, since its file is not divided any more.
  bool recordPiece(std::int64_t piece, const std::string& sha256, const model::FileVersion& version);
  /// How many files a worker should take at a time, and how many pieces it should hold: fewer near the end, so that all
  /// end at the same time.
  struct Portion {
    std::size_t files = 1;
    std::size_t pieces = 0;
  };
  Portion portion(model::JobId job, unsigned workers);
  /// These files and pieces are not fetched on by this worker: what was recorded of them is for the next. Those that it
  /// does not hold any more are left as they are.
  void giveBack(std::span<const std::int64_t> held);
  /// A file or piece could not be had. With `keepsPart`, what came of it is for the next try; without, a divided file
  /// is fetched anew, and by one worker.
  void recordFailure(std::int64_t key, const core::Error& error, bool keepsPart);

  /// What is left of a job's files.
  struct Left {
    std::uint64_t free = 0;                   ///< That can be taken.
    std::uint64_t held = 0;                   ///< By living workers.
    std::uint64_t givenUp = 0;                ///< That could not be had often enough.
    std::optional<core::Error> failure = {};  ///< Of one of those.
  };
  Left left(model::JobId job);
  /// All are to be tried anew.
  void forgetFailures(model::JobId job);

  /// A job of the request's source and folder that a worker is the head of, whose key begins like that.
  std::optional<model::JobId> underWay(const model::ExportRequest& request, std::string_view share);

  /// Once this process may have lost what it holds, see Leases.
  bool isLost() const;
  core::Error lostError() const;

 private:
  Database& database_;
  Leases& leases_;
  std::int64_t known_ = 0;  ///< Of the crew: changes with who is in it.
  std::int64_t after_ = 0;  ///< What lies before was not free when it was looked at.
};

/// A worker of a job, for people.
struct WorkerView {
  std::int64_t id = 0;
  std::string host = {};
  std::int64_t process = 0;
  bool head = false;
  std::uint64_t files = 0;  ///< That it holds now, or pieces of them.
};

/// Those that are alive, in the order in which they came; none in a file's database.
std::vector<WorkerView> workersOf(Database& database, model::JobId job);

}  // namespace caiexport::store
