#include "versions.h"

#include <string_view>

#include "caiexport/core/text.h"

namespace caiexport::transfer {
namespace {

bool differ(const std::string& one, const std::string& other) {
  return !one.empty() && !other.empty() && one != other;
}

/// RFC 9110, 8.8.1: it stays the same where only bytes changed that somebody thought of no account.
bool isWeak(std::string_view etag) {
  return etag.starts_with("W/");
}

/// The same tag comes weak and strong, where a proxy packs some answers, and with or without its quotes.
std::string tagIn(std::string_view etag) {
  if (isWeak(etag)) etag.remove_prefix(2);
  if (etag.size() >= 2 && etag.front() == '"' && etag.back() == '"') etag = etag.substr(1, etag.size() - 2);
  return std::string(etag);
}

bool areStrong(const std::string& one, const std::string& other) {
  return !one.empty() && !other.empty() && !isWeak(one) && !isWeak(other);
}

bool canBeCompared(const model::FileVersion& one, const model::FileVersion& other) {
  return areStrong(one.etag, other.etag) || (!one.lastModified.empty() && !other.lastModified.empty());
}

std::string nameOf(const model::FileVersion& version) {
  return core::printable(version.etag.empty() ? version.lastModified : version.etag, 80);
}

}  // namespace

void Versions::resume(const model::FileVersion& version) {
  const std::lock_guard lock(mutex_);
  known_ = version;
  answers_ = 1;
}

void Versions::answered(const model::FileVersion& version, const std::string& name) {
  const std::lock_guard lock(mutex_);
  if (differ(tagIn(known_.etag), tagIn(version.etag)) || differ(known_.lastModified, version.lastModified)) {
    throw FileChanged("cannot download " + core::printable(name) + ": it was rewritten while it was downloaded (from " +
                      nameOf(known_) + " to " + nameOf(version) + ")");
  }
  if (answers_ > 0 && !canBeCompared(known_, version)) named_ = false;
  if (answers_ == 0) known_ = version;
  ++answers_;
}

void Versions::forget() {
  const std::lock_guard lock(mutex_);
  known_ = {};
  answers_ = 0;
  named_ = true;
}

void Versions::startOver() {
  const std::lock_guard lock(mutex_);
  named_ = true;
}

model::FileVersion Versions::known() const {
  const std::lock_guard lock(mutex_);
  return known_;
}

bool Versions::agree() const {
  const std::lock_guard lock(mutex_);
  return named_;
}

}  // namespace caiexport::transfer
