/// Client: fetching files of the Data Access service. Source: "Data Access API guide" and its OpenAPI file.

#include <algorithm>

#include "caiexport/core/text.h"
#include "client_implementation.h"
#include "links.h"

namespace caiexport::platform {
namespace {

using core::Category;

/// Longer ones are no names for versions: they would be kept for each file.
constexpr std::size_t kLongestValidator = 512;

std::string validatorIn(const net::HttpResponse& head, std::string_view header) {
  const std::string* found = head.headers.find(header);
  const std::string_view value = found == nullptr ? std::string_view() : core::trim(*found);
  const bool plain = std::ranges::all_of(value, [](unsigned char c) { return c >= 0x20 && c != 0x7F; });
  return std::string(plain && value.size() <= kLongestValidator ? value : std::string_view());
}

model::FileVersion versionIn(const net::HttpResponse& head) {
  return {.etag = validatorIn(head, "ETag"), .lastModified = validatorIn(head, "Last-Modified")};
}

/// RFC 9110, section 13.1.5: a weak validator must not be sent; without a Range the header is of no use.
std::string ifRangeHeader(const std::string& range, const model::FileVersion& wanted) {
  if (range.empty()) return {};
  if (wanted.etag.empty()) return wanted.lastModified;
  return wanted.etag.starts_with('"') ? wanted.etag : std::string();
}

/// Checks what comes against what was listed, and hands it on.
class CheckedBody final : public net::BodySink {
 public:
  CheckedBody(const Call& call, const model::RemoteFile& file, model::ByteSink& sink)
      : call_(call), file_(file), sink_(sink) {}

  bool begin(const net::HttpResponse& head, std::optional<std::uint64_t> bodyBytes) override {
    if (head.status != 200 && head.status != 206) return false;
    if (head.status == 206 && call_.range.empty())
      fail(Category::protocol, "was answered with a part that nobody asked for");
    const std::string* coding = head.headers.find("Content-Encoding");
    if (coding != nullptr && !net::isSameName(*coding, "identity"))
      fail(Category::protocol, "was answered in the coding " + core::printable(core::toLower(*coding), 40));
    sink_.isOf(versionIn(head));
    if (head.status == 206) {
      beginPart(head, bodyBytes);
    } else {
      beginWhole(bodyBytes);
    }
    return true;
  }

  std::size_t room(std::size_t bytes) override { return sink_.room(bytes); }

  void write(std::span<const std::byte> data) override {
    if (data.size() > expectedBytes_ - receivedBytes_) {
      fail(told_ ? Category::protocol : Category::verification,
           "sent more than the " + std::to_string(expectedBytes_) + " bytes that were promised");
    }
    receivedBytes_ += data.size();
    sink_.write(data);
  }

  /// After the answer. The transport sees to a declared length; an answer without one may have been cut.
  void finish() const {
    if (!begun_) fail(Category::protocol, "was answered without the file");
    if (receivedBytes_ == expectedBytes_) return;
    throw core::TransientError(
        describe("ended after " + std::to_string(receivedBytes_) + " of " + std::to_string(expectedBytes_) + " bytes"),
        {});
  }

 private:
  void beginWhole(std::optional<std::uint64_t> bodyBytes) {
    if (bodyBytes) checkTotal(*bodyBytes);
    start(0, file_.lengthBytes, bodyBytes);
    told_ = bodyBytes.has_value();
  }

  /// The OpenAPI file warns that the range that comes may differ from the one asked for.
  void beginPart(const net::HttpResponse& head, std::optional<std::uint64_t> bodyBytes) {
    const std::string header = head.headers.get("Content-Range").value_or("");
    const auto parsed = parseContentRange(header);
    if (!parsed || !parsed->range) {
      fail(Category::protocol,
           "was answered by 206 with an unusable Content-Range '" + core::printable(header, 80) + "'");
    }
    if (parsed->totalBytes) checkTotal(*parsed->totalBytes);
    if (parsed->range->end > file_.lengthBytes) checkTotal(parsed->range->end);
    if (bodyBytes && *bodyBytes != parsed->range->sizeBytes()) {
      fail(Category::protocol, "was answered by " + std::to_string(*bodyBytes) + " bytes for the range '" +
                                   core::printable(header, 80) + "'");
    }
    start(parsed->range->first, parsed->range->sizeBytes(), parsed->totalBytes);
    told_ = true;
  }

  void start(std::uint64_t offset, std::uint64_t expectedBytes, std::optional<std::uint64_t> totalBytes) {
    expectedBytes_ = expectedBytes;
    begun_ = true;
    sink_.begin(offset, totalBytes);
  }

  void checkTotal(std::uint64_t totalBytes) const {
    if (totalBytes == file_.lengthBytes) return;
    fail(Category::verification, "has " + std::to_string(totalBytes) + " bytes there, but " +
                                     std::to_string(file_.lengthBytes) + " were listed");
  }

  [[noreturn]] void fail(Category category, const std::string& why) const {
    const bool changed = category == Category::verification;
    throw core::Error(category, describe(why),
                      {.hint = changed ? "the file may have changed since it was listed: list the batch again" : ""});
  }

  std::string describe(const std::string& why) const {
    return "cannot " + call_.what + ": " + Caller::requestLine(call_) + " " + why;
  }

  const Call& call_;
  const model::RemoteFile& file_;
  model::ByteSink& sink_;
  std::uint64_t expectedBytes_ = 0;
  std::uint64_t receivedBytes_ = 0;
  bool begun_ = false;
  bool told_ = false;  ///< The answer itself said how long it is.
};

/// A stored link comes from an earlier run: its origin is checked again.
std::string urlOf(const Caller& caller, const model::RemoteFile& file) {
  if (file.href.empty()) return caller.url(fileTarget(file.datasetFileId, file.name));
  const net::Origin origin = net::parseUrl(file.href).origin;
  if (origin != caller.origin()) {
    throw core::Error(Category::protocol, "cannot fetch " + core::printable(file.name) + ": its link leads to " +
                                              origin.toString() + ", but the access token belongs to " +
                                              caller.origin().toString() + " only");
  }
  return file.href;
}

std::string rangeHeader(const model::RemoteFile& file, model::ByteRange range) {
  const bool whole = range.first == 0 && range.end >= file.lengthBytes;
  if (whole) return {};
  if (range.first >= range.end || range.end > file.lengthBytes) {
    throw core::Error(Category::internal, "a range outside of the file " + core::printable(file.name));
  }
  return "bytes=" + std::to_string(range.first) + "-" + std::to_string(range.end - 1);
}

void fetch(Caller& caller, const Call& call, const model::RemoteFile& file, model::ByteSink& sink,
           std::stop_token stop) {
  CheckedBody body(call, file, sink);
  caller.send(call, &body, std::move(stop));
  body.finish();
}

Call callFor(const Caller& caller, const model::RemoteFile& file) {
  return {.what = "fetch " + core::printable(file.name, 255),
          .url = urlOf(caller, file),
          .accept = "application/json, application/octet-stream",
          .repeat = Repeat::never};
}

}  // namespace

void Client::fetchFile(const model::RemoteFile& file, model::ByteRange range, model::ByteSink& sink,
                       std::stop_token stop) {
  Caller& caller = implementation_->caller;
  Call call = callFor(caller, file);
  call.range = rangeHeader(file, range);
  call.ifRange = ifRangeHeader(call.range, sink.wanted());
  fetch(caller, call, file, sink, std::move(stop));
}

void Client::prepareForMany(unsigned connections) {
  implementation_->caller.prepareForMany(connections);
}

void Client::fetchOneOfMany(const model::RemoteFile& file, std::span<const model::RemoteFile* const> next,
                            model::ByteSink& sink, std::stop_token stop) {
  Caller& caller = implementation_->caller;
  Call call = callFor(caller, file);
  call.oneOfMany = true;
  for (const model::RemoteFile* one : next) call.next.push_back(urlOf(caller, *one));
  fetch(caller, call, file, sink, std::move(stop));
}

}  // namespace caiexport::platform
