#pragma once
/// Takes secrets out of text that comes from outside.

#include <memory>
#include <mutex>
#include <string>
#include <string_view>

namespace caiexport::core {

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

  /// `text` with `***` in the place of each occurrence.
  std::string without(std::string text, Use use = Use::shown) const;

 private:
  struct Known;

  mutable std::mutex mutex_;
  std::shared_ptr<const Known> known_;
};

}  // namespace caiexport::core
