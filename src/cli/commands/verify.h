#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "caiexport/cli/application.h"
#include "caiexport/model/replacement.h"
#include "caiexport/reader/parquet_reader.h"
#include "caiexport/reader/tables.h"
#include "caiexport/store/delivery_store.h"

namespace caiexport::cli {

/// What should be on disk, as a job or manifests tell, against what is there. `verify` tells what it finds, `resume` of
/// a job that is done fetches again what is wrong.

class InputFinder;

/// A file as it should be.
struct ExpectedFile {
  std::string path;  ///< Relative to the folder of its batch.
  std::uint64_t bytes = 0;
  std::string sha256;                    ///< Empty: unknown, not compared.
  std::optional<std::uint64_t> records;  ///< Nothing: was not counted.
  std::int64_t id = 0;                   ///< In the database; 0 for one that a manifest names.
  std::string place = {};                ///< The platform's folder that it was in; empty if it is not told.
};

struct ExpectedBatch {
  std::filesystem::path folder;
  std::string batchId;
  std::vector<ExpectedFile> files;
  std::optional<std::uint64_t> records;  ///< Of all its files together.
};

struct Expectation {
  std::optional<std::int64_t> job;
  std::vector<ExpectedBatch> batches;
  std::uint64_t files = 0;
  std::uint64_t bytes = 0;
  std::vector<store::Delivery> delivered = {};  ///< Not expected here: they were deleted after they had been delivered.
  std::vector<std::filesystem::path> unknown;   ///< Batch folders beside others, without a manifest.
  std::vector<model::Replacement> replaced;     ///< Batches that lie elsewhere now, or were deleted on purpose.
};

enum class Difference { missing, changed, foreign };
std::string_view nameOf(Difference difference);

struct Problem {
  std::filesystem::path path;
  std::string batchId;
  Difference difference = Difference::changed;
  std::string detail;
  std::int64_t file = 0;  ///< ExpectedFile::id; 0 for one that nobody expects, and for a batch.
};

struct VerifyReport {
  std::uint64_t files = 0;  ///< Looked at, the missing ones too.
  std::uint64_t bytes = 0;
  std::uint64_t records = 0;  ///< Of the files whose rows were counted.
  std::vector<Problem> problems;
  std::vector<std::filesystem::path> notCounted;  ///< As they should be, but no tables, or parts that were given up.
};

/// For one thread.
class VerifyCheck {
 public:
  using OpenReader = std::function<std::unique_ptr<reader::ParquetReader>()>;
  /// `sizes`: without reading the files.
  enum class Look { contents, sizes };
  /// `progress` is told the number of files done.
  VerifyCheck(OpenReader openReader, std::function<void(std::uint64_t)> progress, std::stop_token stop,
              Look look = Look::contents);

  /// Checks size, SHA-256 and rows of every file, and finds files that do not belong there. Error(io), Interrupted.
  void check(const ExpectedBatch& batch);
  const VerifyReport& report() const { return report_; }

 private:
  /// What is wrong with it; empty if nothing is.
  std::string differenceOf(const std::filesystem::path& path, const ExpectedFile& file,
                           std::optional<std::uint64_t>& rows);
  std::string wrongRows(const std::filesystem::path& path, const ExpectedFile& file,
                        std::optional<std::uint64_t>& rows);
  void findForeign(const ExpectedBatch& batch);
  static void dropRenamed(std::vector<std::filesystem::path>& foreign, const ExpectedBatch& batch,
                          const std::set<std::string>& notListed);
  void add(const ExpectedBatch& batch, const std::filesystem::path& path, Difference difference, std::string detail,
           std::int64_t file = 0);

  OpenReader openReader_;
  std::function<void(std::uint64_t)> progress_;
  std::stop_token stop_;
  Look look_;
  std::unique_ptr<reader::ParquetReader> reader_;
  reader::TableFinder tables_;  ///< Of the batch at hand.
  VerifyReport report_;
};

/// Error(notFound) if the job has not brought all its files to disk.
Expectation expectedOfJob(InputFinder& finder, const std::string& argument);
/// By the manifests in the folder. Error(notFound) if there are none.
Expectation expectedInFolder(const std::filesystem::path& folder);

/// Shows how far it is, at most ten times a second.
VerifyReport checkAll(const Expectation& expectation, VerifyCheck::Look look, Context& context);

}  // namespace caiexport::cli
