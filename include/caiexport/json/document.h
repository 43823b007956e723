#pragma once
/// JSON text as a compact tree: twelve bytes a value, whoever wrote the text.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace caiexport::json {

enum class Kind : std::uint32_t { null, boolean, integer, natural, real, text, array, object };

/// Immutable once parsed. Values are named by an index; 0 is the whole text's.
class Document {
 public:
  using Index = std::uint32_t;

  struct Limits {
    int levels = 128;                ///< Poco's own limit: past it, its recursion is at the mercy of the text.
    std::size_t values = 1'000'000;  ///< An answer of 16 MiB as the platform writes them holds half as many.
  };
  enum class Problem { none, malformed, tooDeep, tooManyValues };  ///< A text of 256 MiB or more holds too many.
  struct Parsed {
    std::shared_ptr<const Document> document;  ///< Null unless `problem` is none.
    Problem problem = Problem::none;
  };

  /// An object or array and nothing after it. Takes time in proportion to the text, and memory of less than eight times
  /// its size; a number that fits no type here is kept as the text of its digits. std::bad_alloc if memory runs out.
  static Parsed parse(const std::string& text, const Limits& limits);
  static Parsed parse(const std::string& text) { return parse(text, Limits{}); }

  Kind kind(Index value) const { return static_cast<Kind>(nodes_[value].kind()); }
  std::string_view text(Index value) const {
    const Node& node = nodes_[value];
    return {texts_.data() + node.payload(), node.size()};
  }
  bool boolean(Index value) const { return nodes_[value].payload() != 0; }
  std::int64_t integer(Index value) const { return static_cast<std::int64_t>(nodes_[value].payload()); }
  std::uint64_t natural(Index value) const { return nodes_[value].payload(); }
  double real(Index value) const;

  /// Of an object or array; a name that stands twice in an object counts twice.
  std::size_t size(Index value) const { return nodes_[value].size(); }
  std::vector<Index> elements(Index array) const;
  /// Name and value, in the order of the text; of a name that stands twice the first place and the last value.
  std::vector<std::pair<std::string_view, Index>> members(Index object) const;
  /// The last member of that name; 0: there is none.
  Index member(Index object, std::string_view name) const;
  /// Where a value stands, for people: `data[3].length`; empty for the whole text.
  std::string path(Index value) const;

 private:
  friend class Builder;

  /// Twelve bytes: a text of JSON can spend as few as two on a value.
  class Node {
   public:
    Node(std::uint32_t kind, std::uint32_t size, std::uint64_t payload) : kindAndSize_(kind | size << 4U) {
      setPayload(payload);
    }
    /// A Kind, or that of a member's name, which stands before its value.
    std::uint32_t kind() const { return kindAndSize_ & 0xFU; }
    /// Bytes of a text, elements of an array, members of an object.
    std::uint32_t size() const { return kindAndSize_ >> 4U; }
    void grow() { kindAndSize_ += 1U << 4U; }
    /// Where a text begins, the index after the last inside of an array or object, else the value itself.
    std::uint64_t payload() const { return static_cast<std::uint64_t>(high_) << 32U | low_; }
    void setPayload(std::uint64_t payload) {
      low_ = static_cast<std::uint32_t>(payload);
      high_ = static_cast<std::uint32_t>(payload >> 32U);
    }

   private:
    std::uint32_t kindAndSize_;
    std::uint32_t low_ = 0;
    std::uint32_t high_ = 0;
  };
  Index after(Index value) const {
    const Kind is = kind(value);
    return is == Kind::array || is == Kind::object ? static_cast<Index>(nodes_[value].payload()) : value + 1;
  }

  std::deque<Node> nodes_;  // grows without ever holding everything twice
  std::string texts_;
};

}  // namespace caiexport::json
