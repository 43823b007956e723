#include "parquet_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <exception>
#include <fstream>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "caiexport/core/error.h"
#include "caiexport/core/file_system.h"
#include "caiexport/core/text.h"

namespace caiexport::reader {
namespace {

namespace fs = std::filesystem;
using core::Category;
using core::Error;

[[noreturn]] void throwMismatch(const fs::path& path, const std::string& reason) {
  throw Error(Category::verification, core::printable(path.string()) + " is damaged: " + reason,
              {.hint = "fetch it again: remove the file and resume its job"});
}

/// What the footer tells: rows, row groups, rows of all groups together, the end of the last column chunk.
struct Footer {
  std::int64_t rows = 0;
  std::int64_t groups = 0;
  std::int64_t groupRows = 0;
  std::int64_t dataEnd = 0;
};

Footer readFooter(Duck& duck, const std::string& place, const Blame& blame) {
  const std::string name = sqlText(place);
  const auto file = duck.numbers(
      "SELECT CAST(num_rows AS BIGINT), CAST(num_row_groups AS BIGINT) FROM parquet_file_metadata(" + name + ")",
      blame);
  const auto data = duck.numbers(
      "SELECT CAST(coalesce(sum(rows), 0) AS BIGINT), CAST(coalesce(max(data_end), 0) AS BIGINT) FROM ("
      "SELECT any_value(row_group_num_rows) AS rows,"
      " max(coalesce(dictionary_page_offset, data_page_offset) + total_compressed_size) AS data_end"
      " FROM parquet_metadata(" +
          name + ") GROUP BY row_group_id)",
      blame);
  if (file.size() != 2 || data.size() != 2) return {};
  return {.rows = file[0], .groups = file[1], .groupRows = data[0], .dataEnd = data[1]};
}

std::uint64_t countRows(Duck& duck, const std::string& place, const Blame& blame, const std::stop_token& stop) {
  const InterruptOnStop interrupt(stop, duck);
  // All columns, not count(*): that would look at the footer alone.
  const Statement statement =
      duck.prepareSelect("SELECT * FROM read_parquet(" + sqlText(place) + ", hive_partitioning = false)", blame);
  Rows rows(duck, statement, blame, stop);
  std::uint64_t count = 0;
  while (const Chunk chunk = rows.next()) {
    if (stop.stop_requested()) throw core::Interrupted();
    count += duckdb_data_chunk_get_size(chunk.get());
  }
  return count;
}

void checkFooter(const Footer& footer, std::uint64_t fileBytes, const fs::path& path) {
  if (footer.rows < 0 || footer.groups < 0) throwMismatch(path, "its footer counts less than no rows");
  if (footer.rows != footer.groupRows) {
    throwMismatch(path, "its footer says " + std::to_string(footer.rows) + " rows, its row groups have " +
                            std::to_string(footer.groupRows));
  }
  if (footer.dataEnd < 0 || static_cast<std::uint64_t>(footer.dataEnd) > fileBytes) {
    throwMismatch(path, "its footer tells of data beyond its end");
  }
}

/// Shows a file for as long as it is checked.
class Showing {
 public:
  Showing(FileWindow& window, const fs::path& path) : window_(window) { window_.show(path); }
  ~Showing() {
    try {
      window_.clear();
    } catch (const Error&) {
      // The next file that is shown takes the place.
    }
  }
  Showing(const Showing&) = delete;
  Showing& operator=(const Showing&) = delete;

 private:
  FileWindow& window_;
};

struct StrangeFooter : std::exception {};

[[noreturn]] void throwStrange() {
  throw StrangeFooter();
}

/// Walks Thrift's compact protocol over the footer. StrangeFooter for one that is none.
class FooterWalk {
 public:
  explicit FooterWalk(std::string_view bytes) : bytes_(bytes) {}
  virtual ~FooterWalk() = default;
  FooterWalk(const FooterWalk&) = delete;
  FooterWalk& operator=(const FooterWalk&) = delete;

  void run() { walkStruct(); }

 protected:
  /// Numbers of the fields, from the outermost in.
  using Path = std::vector<std::int64_t>;

  virtual void takeText(const Path&, std::size_t /*begin*/, std::size_t /*length*/) {}
  virtual void takeField(const Path&, std::size_t /*begin*/, std::size_t /*end*/) {}

 private:
  enum Kind : unsigned {
    yes = 1,
    no = 2,
    byte = 3,
    i16 = 4,
    i32 = 5,
    i64 = 6,
    real = 7,
    binary = 8,
    list = 9,
    set = 10,
    map = 11,
    structure = 12
  };
  static constexpr std::size_t kDeepest = 64;

  unsigned next() {
    if (at_ >= bytes_.size()) throwStrange();
    return static_cast<unsigned char>(bytes_[at_++]);
  }

  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      const unsigned piece = next();
      value |= static_cast<std::uint64_t>(piece & 0x7FU) << shift;
      if ((piece & 0x80U) == 0) return value;
    }
    throwStrange();
  }

  void skip(std::uint64_t count) {
    if (count > bytes_.size() - at_) throwStrange();
    at_ += count;
  }

  void walkStruct() {
    if (path_.size() > kDeepest) throwStrange();
    std::int64_t field = 0;
    while (const unsigned head = next()) {
      const unsigned delta = head >> 4U;
      if (delta == 0) {
        const std::uint64_t coded = varint();
        field = static_cast<std::int64_t>(coded >> 1U) ^ -static_cast<std::int64_t>(coded & 1U);
      } else {
        field += delta;
      }
      path_.push_back(field);
      const std::size_t begin = at_;
      walkValue(head & 0xFU, false);
      takeField(path_, begin, at_);
      path_.pop_back();
    }
  }

  /// Truths take a byte inside lists only.
  void walkValue(unsigned kind, bool inList) {
    switch (kind) {
      case yes:
      case no:
        return inList ? skip(1) : void();
      case byte:
        return skip(1);
      case i16:
      case i32:
      case i64:
        varint();
        return;
      case real:
        return skip(8);
      case binary:
        return walkText();
      case list:
      case set:
        return walkList();
      case map:
        return walkMap();
      case structure:
        return walkStruct();
      default:
        throwStrange();
    }
  }

  void walkText() {
    const std::uint64_t length = varint();
    const std::size_t begin = at_;
    skip(length);
    takeText(path_, begin, length);
  }

  void walkList() {
    const unsigned head = next();
    std::uint64_t count = head >> 4U;
    if (count == 15) count = varint();
    for (std::uint64_t index = 0; index < count; ++index) walkValue(head & 0xFU, true);
  }

  void walkMap() {
    const std::uint64_t count = varint();
    if (count == 0) return;
    const unsigned kinds = next();
    for (std::uint64_t index = 0; index < count; ++index) {
      walkValue(kinds >> 4U, true);
      walkValue(kinds & 0xFU, true);
    }
  }

  std::string_view bytes_;
  std::size_t at_ = 0;
  Path path_;
};

/// Puts other names into the footer.
class FooterNames final : public FooterWalk {
 public:
  FooterNames(std::string& bytes, const std::function<std::string(std::string)>& rename)
      : FooterWalk(bytes), bytes_(bytes), rename_(rename) {}

 private:
  void takeText(const Path& path, std::size_t begin, std::size_t length) override {
    // FileMetaData.schema[].name, and .row_groups[].columns[].meta_data.path_in_schema[]
    static const Path kName{2, 4};
    static const Path kPath{4, 1, 3, 3};
    if (path != kName && path != kPath) return;
    const std::string name = rename_(bytes_.substr(begin, length));
    if (name.size() != length) throwStrange();
    std::copy(name.begin(), name.end(), bytes_.begin() + static_cast<std::ptrdiff_t>(begin));
  }

  std::string& bytes_;
  const std::function<std::string(std::string)>& rename_;
};

/// Where FileMetaData.schema lies.
class FooterSchema final : public FooterWalk {
 public:
  explicit FooterSchema(std::string_view bytes) : FooterWalk(bytes), bytes_(bytes) {}
  std::string_view schema() const { return schema_; }

 private:
  void takeField(const Path& path, std::size_t begin, std::size_t end) override {
    if (path.size() == 1 && path[0] == 2) schema_ = bytes_.substr(begin, end - begin);
  }

  std::string_view bytes_;
  std::string_view schema_;
};

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

}  // namespace

std::string schemaOf(const Frame& frame, const fs::path& path) {
  FooterSchema walk(frame.footer);
  try {
    walk.run();
  } catch (const StrangeFooter&) {
    throwBroken(path, "its footer is damaged");
  }
  return std::string(walk.schema());
}

FileFacts Inspector::inspect(const fs::path& path, Depth depth, const std::stop_token& stop) {
  const fs::path real = readableFile(path);
  const std::uint64_t bytes = readFrame(real).bytes;
  const Showing showing(window_, real);
  const Blame blame{.what = core::printable(path.string()) + " is not a readable Parquet file",
                    .place = window_.name(),
                    .file = real.filename().string()};
  const Footer footer = readFooter(duck_, window_.name(), blame);
  checkFooter(footer, bytes, path);
  const auto rows = static_cast<std::uint64_t>(footer.rows);
  if (depth == Depth::full) {
    const std::uint64_t counted = countRows(duck_, window_.name(), blame, stop);
    if (counted != rows) {
      throwMismatch(path, "its footer says " + std::to_string(rows) + " rows, it holds " + std::to_string(counted));
    }
  }
  return {.rows = rows, .rowGroups = static_cast<std::uint64_t>(footer.groups), .bytes = bytes};
}

void renameColumns(const fs::path& path, const std::function<std::string(std::string)>& rename) {
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  std::string tail(kTailBytes, '\0');
  file.seekg(-static_cast<std::streamoff>(kTailBytes), std::ios::end);
  const auto end = static_cast<std::uint64_t>(file.tellg());
  file.read(tail.data(), kTailBytes);
  if (!file) core::throwIoError("read", path, errno);
  const std::uint64_t length = footerLength(tail);
  if (length > end) throw Error(Category::internal, "the written Parquet file has no footer");
  std::string footer(length, '\0');
  file.seekg(static_cast<std::streamoff>(end - length));
  file.read(footer.data(), static_cast<std::streamsize>(length));
  try {
    FooterNames(footer, rename).run();
  } catch (const StrangeFooter&) {
    throw Error(Category::internal, "the footer of the written Parquet file is not understood");
  }
  file.seekp(static_cast<std::streamoff>(end - length));
  file.write(footer.data(), static_cast<std::streamsize>(length));
  file.close();
  if (!file) core::throwIoError("write", path, errno);
}

FileName::FileName(const fs::path& path) : path_(readableFile(path)) {
  literal_ = path_.string();
  pattern_ = escaped(literal_);
  if (pattern_ == literal_ || literal_.find('\\') == std::string::npos) return;
  descriptor_ = openToRead(path_);
  literal_ = descriptorName(descriptor_);
  pattern_ = literal_;
}

std::vector<std::string> FileName::allowed() const {
  if (pattern_ == literal_) return {literal_};
  return {literal_, pattern_};
}

FileWindow::FileWindow() : descriptor_(openToRead("/dev/null")), name_(descriptorName(descriptor_)) {}

void FileWindow::show(const fs::path& path) {
  const core::Descriptor file = openToRead(path);
  if (::dup2(file.number(), descriptor_.number()) < 0) core::throwIoError("read", path, errno);
  ::fcntl(descriptor_.number(), F_SETFD, FD_CLOEXEC);
}

void FileWindow::clear() {
  show("/dev/null");
}

std::string fileListSql(const std::vector<FileName>& files, std::size_t begin, std::size_t end) {
  std::string list = "[";
  for (std::size_t index = begin; index < end; ++index) {
    list += (index == begin ? "" : ", ") + sqlText(files[index].pattern());
  }
  return list + "]";
}

std::string readSql(const std::vector<FileName>& files, std::size_t begin, std::size_t end, Columns columns,
                    const std::string& more) {
  // Folders may be called `a=b` without being partitions.
  return "read_parquet(" + fileListSql(files, begin, end) +
         (columns == Columns::united ? ", union_by_name = true" : "") + ", hive_partitioning = false" + more + ")";
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
         sqlName(kPosition) + " FROM " +
         readSql(files, run.begin, run.end, Columns::united, ", filename = " + sqlText(kPath));
}

}  // namespace caiexport::reader
