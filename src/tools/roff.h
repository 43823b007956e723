#pragma once
/// Text for man(7).

#include <string>
#include <string_view>

namespace caiexport::tools {

/// `text` so that roff prints it as it is.
std::string roff(std::string_view text);

/// A page that grows.
class Page {
 public:
  /// `date` as YYYY-MM-DD.
  Page(std::string_view name, std::string_view date, std::string_view version);

  void section(std::string_view title);
  void subsection(std::string_view title);
  void paragraph(std::string_view text);
  /// A paragraph in bold, above what follows.
  void heading(std::string_view text);
  /// An option or a key in bold, its placeholder in italics, and what it means.
  void item(std::string_view name, std::string_view placeholder, std::string_view text);
  /// Lines as they are.
  void lines(std::string_view text);

  const std::string& text() const { return text_; }

 private:
  void line(std::string_view text) { text_.append(text).append("\n"); }

  std::string text_;
  /// After a title roff makes room by itself.
  bool fresh_ = false;
};

}  // namespace caiexport::tools
