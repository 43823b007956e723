#pragma once
/// Identifiers as distinct types, so that a batch id can't be passed where a dataset id is meant.

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace caiexport::model {

template <class Tag>
class Id {
 public:
  Id() = default;
  explicit Id(std::string value) : value_(std::move(value)) {}
  const std::string& value() const { return value_; }
  bool empty() const { return value_.empty(); }
  auto operator<=>(const Id&) const = default;  // NOLINT(modernize-use-nullptr): the compiler compares with 0 here

 private:
  std::string value_;
};

using DatasetId = Id<struct DatasetTag>;
using BatchId = Id<struct BatchTag>;
using DatasetFileId = Id<struct DatasetFileTag>;
using SegmentId = Id<struct SegmentTag>;
using SegmentJobId = Id<struct SegmentJobTag>;
using ExportJobId = Id<struct ExportJobTag>;  ///< A number on the wire, kept as text.

/// Our own job's number, 1 and up; the row id in the database.
enum class JobId : std::int64_t {};
inline std::int64_t numberOf(JobId job) {
  return static_cast<std::int64_t>(job);
}

/// True for 1 to 200 visible ASCII characters without `/`, `\`, `?`, `#`, `%`, quotes or blanks, and not `.` or `..`:
/// what can be an id of the platform and is safe as a folder name.
bool isWellFormedId(std::string_view text);

/// The text if it is well formed; else Error(usage) "the WHAT ... is not an id".
std::string checkedId(std::string_view what, std::string_view text);

}  // namespace caiexport::model
