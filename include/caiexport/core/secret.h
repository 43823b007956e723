#pragma once
/// Text that must not be shown, and how it is taken out of text that comes from outside.

#include <memory>
#include <mutex>
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

/// What this program knows and must not show, and the spellings in which a server may repeat it: as it is, in letters
/// of either case, percent-encoded, with the escapes of JSON, C or HTML (up to three of these inside one another), in
/// hexadecimal digits, and in base64 of either alphabet, alone or in the middle of something longer. The first twenty
/// characters of a longer one count too, since servers cut what they repeat. Thread safe.
class KnownSecrets {
 public:
  KnownSecrets();
  ~KnownSecrets();

  /// What is done with the text. In what is read on, a secret that could be a word or a number of the platform's own
  /// (one of fewer than six characters; of fewer than twelve, all of them letters or all of them digits) stays:
  /// `success` as a password must not change the status of a batch.
  enum class Use { shown, readOn };

  /// From now on it is looked for. A secret of fewer than three bytes can't be told from other text, and is not; one of
  /// fewer than six is looked for between characters that are neither letters nor digits.
  void add(std::string_view secret);

  /// Puts `***` in the place of each occurrence.
  void hideIn(std::string& text, Use use = Use::shown) const;
  /// `text` with them hidden.
  std::string without(std::string text, Use use = Use::shown) const {
    hideIn(text, use);
    return text;
  }

 private:
  struct Known;

  mutable std::mutex mutex_;
  std::shared_ptr<const Known> known_;
};

}  // namespace caiexport::core
