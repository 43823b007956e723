#include "caiexport/core/secret.h"

#include <cstring>

namespace caiexport::core {

void cleanse(std::string& text) {
  text.resize(text.capacity());
  ::explicit_bzero(text.data(), text.size());
  text.clear();
}

Secret& Secret::operator=(const Secret& other) {
  if (this == &other) return *this;
  cleanse(text_);
  text_ = other.text_;
  return *this;
}

Secret& Secret::operator=(Secret&& other) noexcept {
  if (this == &other) return *this;
  cleanse(text_);
  text_ = std::move(other.text_);
  cleanse(other.text_);
  return *this;
}

}  // namespace caiexport::core
