#pragma once
/// An answer while it arrives, whatever version of HTTP brings it: whose its body is, how large it may be, and what
/// must not be shown of it.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "caiexport/net/http.h"

namespace caiexport::net {

/// A server may say `100 Continue` or `103 Early Hints` a few times before it answers; one that goes on never will.
inline constexpr int kMostInterimAnswers = 20;
/// A small body reaches the sink in one piece, since many small files cost less this way. One that comes slowly reaches
/// it after this time, in pieces: whoever watches must see that it comes.
inline constexpr std::chrono::milliseconds kLongestUnseen{250};

/// "1 byte", "4096 bytes".
std::string inBytes(std::uint64_t bytes);

/// For one thread. begin(), take() any number of times, end(). Failures are AttemptFailure(protocol) and whatever the
/// sink throws.
class Answer {
 public:
  /// `response` has its status and fields. The sink may be null. `count` is kept up to date with the body's bytes.
  Answer(HttpResponse& response, const HttpRequest& request, const core::KnownSecrets& secrets, BodySink* sink,
         std::uint64_t& count)
      : response_(response), request_(request), secrets_(secrets), sink_(sink), count_(count) {}

  /// Takes secrets out of the head, and asks the sink whether the body is for it.
  void begin(std::optional<std::uint64_t> declaredBytes);
  /// So many bytes of body are to come.
  void expect(std::uint64_t bytes) const;
  void take(std::span<const char> bytes);
  /// How many of at most `bytes` bytes may be read now.
  std::size_t room(std::size_t bytes) const;
  /// The body is whole: unpacks it, and takes secrets out of it.
  void end();

  std::uint64_t count() const { return count_; }

 private:
  void checkRoom(std::uint64_t bytes) const;
  bool isGood() const { return response_.status / 100 == 2; }
  core::KnownSecrets::Use use() const {
    return isGood() ? core::KnownSecrets::Use::readOn : core::KnownSecrets::Use::shown;
  }

  HttpResponse& response_;
  const HttpRequest& request_;
  const core::KnownSecrets& secrets_;
  BodySink* sink_;
  std::uint64_t& count_;
};

}  // namespace caiexport::net
