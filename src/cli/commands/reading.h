#pragma once
/// What `read` and `scores` share: the reader over what was named, and what it may take.

#include <cstdint>
#include <functional>
#include <memory>

#include "caiexport/cli/application.h"
#include "caiexport/reader/parquet_reader.h"
#include "cli/output/output_file.h"
#include "cli/watches.h"
#include "input_files.h"

namespace caiexport::cli {

/// The named set, open. For one thread.
class Reading {
 public:
  /// Error(usage) if the output is one of the files that are read.
  Reading(const ParsedOptions& options, Context& context);
  reader::Profiles& profiles() { return *profiles_; }
  /// The same set beside what `what` names; see InputFinder::findAgainst.
  struct Pair {
    InputSet before;
    std::unique_ptr<reader::ScorePair> scores;
  };
  Pair openAgainst(const std::string& what, const ParsedOptions& options, Context& context);
  /// The same set's earlier batches, newest first; see InputFinder::findEarlier.
  std::vector<InputSet> earlier(std::size_t most, const ParsedOptions& options, const Context& context) const;
  /// Another set, in the reader of this one.
  std::unique_ptr<reader::Profiles> open(const InputSet& other) { return reader_->open(other.files); }
  const InputSet& input() const { return input_; }
  const OutputTarget& output() const { return output_; }
  const std::filesystem::path& scratch() const { return scratch_.path(); }
  /// For all work on the profiles.
  std::stop_token stop() const { return watch_.token(); }
  /// Runs the work. What the memory did not suffice for is Error(io).
  void run(const std::function<void()>& work);

 private:
  void open();

  std::uint64_t memoryBytes_;
  OutputTarget output_;
  InputSet input_;
  ScratchFolder scratch_;
  ReadWatch watch_;
  std::unique_ptr<reader::ParquetReader> reader_;
  std::unique_ptr<reader::Profiles> profiles_;
};

}  // namespace caiexport::cli
