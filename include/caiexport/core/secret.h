#pragma once
/// Text that must not be shown.

#include <ostream>
#include <string>
#include <string_view>
#include <utility>

namespace caiexport::core {

/// Overwrites the text's whole buffer before letting go of it.
void cleanse(std::string& text);

/// Owns a secret: prints as `***`, and its memory is overwritten when it goes. A moved-from secret is empty.
class Secret {
 public:
  Secret() = default;
  explicit Secret(std::string text) : text_(std::move(text)) {}
  Secret(const Secret&) = default;
  Secret(Secret&& other) noexcept : text_(std::move(other.text_)) { cleanse(other.text_); }
  Secret& operator=(const Secret& other);
  Secret& operator=(Secret&& other) noexcept;
  ~Secret() { cleanse(text_); }

  /// The text itself: only to send it to where it belongs. Valid while this object lives unchanged.
  std::string_view reveal() const { return text_; }
  bool empty() const { return text_.empty(); }

 private:
  std::string text_;
};

inline std::ostream& operator<<(std::ostream& out, const Secret&) {
  return out << "***";
}

}  // namespace caiexport::core
