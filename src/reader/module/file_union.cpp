#include "file_union.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string_view>
#include <system_error>
#include <utility>

#include "caiexport/core/error.h"
#include "caiexport/core/file_system.h"
#include "caiexport/core/text.h"

namespace caiexport::reader {
namespace {

namespace fs = std::filesystem;

const Blame kBlame{.what = "cannot read the files as one set"};
constexpr const char* kPath =
    "\x01"
    "caiexport path";

bool hasColumn(const std::vector<Type>& columns, std::string_view name) {
  return std::ranges::any_of(columns, [name](const Type& column) { return core::toLower(column.name) == name; });
}

constexpr std::string_view kPatternLetters = "*?[";

std::string escaped(std::string_view path) {
  std::string pattern;
  for (const char letter : path) {
    if (kPatternLetters.find(letter) == std::string_view::npos) {
      pattern += letter;
    } else {
      pattern += '[';
      pattern += letter;
      pattern += ']';
    }
  }
  return pattern;
}

std::string descriptorName(const core::Descriptor& descriptor) {
  return "/dev/fd/" + std::to_string(descriptor.number());
}

core::Descriptor openFile(const fs::path& path) {
  core::Descriptor descriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!descriptor.valid()) core::throwIoError("read", path, errno);
  return descriptor;
}

}  // namespace

fs::path readableFile(const fs::path& path) {
  std::error_code failure;
  fs::path found = fs::canonical(path, failure);
  if (failure) core::throwIoError("read", path, failure.value());
  if (!fs::is_regular_file(found, failure)) {
    throw core::Error(core::Category::io,
                      "cannot read " + core::printable(path.string()) + ": it is not a regular file");
  }
  if (access(found.c_str(), R_OK) != 0) core::throwIoError("read", path, errno);
  return found;
}

FileName::FileName(const fs::path& path) : path_(readableFile(path)) {
  literal_ = path_.string();
  pattern_ = escaped(literal_);
  if (pattern_ == literal_ || literal_.find('\\') == std::string::npos) return;
  descriptor_ = openFile(path_);
  literal_ = descriptorName(descriptor_);
  pattern_ = literal_;
}

std::vector<std::string> FileName::allowed() const {
  if (pattern_ == literal_) return {literal_};
  return {literal_, pattern_};
}

FileWindow::FileWindow() : descriptor_(openFile("/dev/null")), name_(descriptorName(descriptor_)) {}

void FileWindow::show(const fs::path& path) {
  const core::Descriptor file = openFile(path);
  if (::dup2(file.number(), descriptor_.number()) < 0) core::throwIoError("read", path, errno);
  ::fcntl(descriptor_.number(), F_SETFD, FD_CLOEXEC);
}

void FileWindow::clear() {
  show("/dev/null");
}

std::vector<Type> columnsOf(const Statement& statement) {
  std::vector<Type> columns;
  for (std::size_t index = 0; index < statement.columnCount(); ++index) {
    columns.push_back(readType(statement.columnName(index), statement.columnType(index).get()));
  }
  return columns;
}

std::string fileListSql(const std::vector<FileName>& files, std::size_t begin, std::size_t end) {
  std::string list = "[";
  for (std::size_t index = begin; index < end; ++index) {
    list += (index == begin ? "" : ", ") + sqlText(files[index].pattern());
  }
  return list + "]";
}

std::string readSql(const std::vector<FileName>& files, std::size_t begin, std::size_t end, const std::string& more) {
  // Folders may be called `a=b` without being partitions.
  return "read_parquet(" + fileListSql(files, begin, end) + ", union_by_name = true, hive_partitioning = false" + more +
         ")";
}

FileUnion::FileUnion(Duck& duck, const std::vector<FileName>& files, const std::vector<RawField>& schemas) {
  const bool known = schemas.size() == files.size();
  for (std::size_t index = 0; index < files.size(); ++index) {
    if (runs_.empty() || (known && !(schemas[index] == runs_.back().schema))) {
      runs_.push_back({.begin = index, .schema = known ? schemas[index] : RawField()});
    }
    runs_.back().end = index + 1;
  }
  for (Run& run : runs_) {
    run.columns = columnsOf(duck.prepareSelect("SELECT * FROM " + readSql(files, run.begin, run.end), kBlame));
    if (run.columns.size() != run.schema.children.size()) run.schema.children.clear();
  }
}

std::string FileUnion::sql(const std::vector<FileName>& files, const ColumnNames& names,
                           const std::map<std::string, std::string>& moved) const {
  std::string sql;
  for (const Run& run : runs_) {
    sql += (sql.empty() ? "" : " UNION ALL BY NAME ") + runSql(run, files, names, moved);
  }
  return "(" + sql + ")";
}

std::string FileUnion::runSql(const Run& run, const std::vector<FileName>& files, const ColumnNames& names,
                              const std::map<std::string, std::string>& moved) const {
  std::string list;
  for (std::size_t index = 0; index < run.columns.size(); ++index) {
    const Type& column = run.columns[index];
    const bool known = !run.schema.children.empty();
    const std::string& name = known ? run.schema.children[index].name : column.name;
    const auto elsewhere = moved.find(name);
    const std::string field = sqlName(column.name);
    list += (known ? names.renamed(field, column, run.schema.children[index]) : field) + " AS " +
            sqlName(elsewhere == moved.end() ? names.sqlOf(name) : elsewhere->second) + ", ";
  }
  const std::string first = std::to_string(run.begin);
  if (!hasColumn(run.columns, "file_index")) {
    return "SELECT " + list + "CAST(file_index AS BIGINT) + " + first + " AS " + sqlName(kPosition) + " FROM " +
           readSql(files, run.begin, run.end);
  }
  // A column of the files hides DuckDB's own of that name; the path may be called as we like.
  std::string paths;
  for (std::size_t index = run.begin; index < run.end; ++index) {
    paths += (paths.empty() ? "" : ", ") + sqlText(files[index].literal());
  }
  return "SELECT " + list + "list_position([" + paths + "], " + sqlName(kPath) + ") - 1 + " + first + " AS " +
         sqlName(kPosition) + " FROM " + readSql(files, run.begin, run.end, ", filename = " + sqlText(kPath));
}

}  // namespace caiexport::reader
