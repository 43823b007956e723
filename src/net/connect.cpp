#include "connect.h"

#include <Poco/Net/NetException.h>
#include <Poco/Net/SSLException.h>
#include <fcntl.h>
#include <netdb.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <system_error>
#include <thread>
#include <utility>

#include "caiexport/core/descriptors.h"
#include "caiexport/core/encoding.h"
#include "caiexport/core/error.h"
#include "caiexport/core/memory.h"
#include "caiexport/core/text.h"
#include "caiexport/net/http.h"
#include "caiexport/net/poco_transport.h"
#include "http_message.h"

namespace caiexport::net {
namespace {

using Kind = AttemptFailure::Kind;
using Poco::Net::Context;
using Poco::Net::SocketAddress;
using Poco::Net::StreamSocket;

int pollTimeout(core::SteadyTime until) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - std::chrono::steady_clock::now()).count();
  return static_cast<int>(std::clamp<std::int64_t>(left, 0, std::numeric_limits<int>::max()));
}

/// Shared with the thread that looks up, which may outlive the wait.
struct LookUpResult {
  std::mutex mutex;
  std::condition_variable_any changed;
  bool done = false;
  int error = 0;
  int systemError = 0;
  std::vector<sockaddr_storage> addresses;
};

// getaddrinfo rather than Poco::Net::DNS, which sorts the addresses and so undoes the system's order of preference
// (RFC 6724) and a server's round robin.
void lookUpInto(LookUpResult& result, const std::string& host, std::uint16_t port) try {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  errno = 0;
  const int error = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &list);
  const int systemError = errno;
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owned(list, list != nullptr ? ::freeaddrinfo : nullptr);
  const std::lock_guard lock(result.mutex);
  result.error = error;
  result.systemError = systemError;
  for (const addrinfo* item = list; item != nullptr; item = item->ai_next) {
    if (item->ai_family != AF_INET && item->ai_family != AF_INET6) continue;
    sockaddr_storage address{};
    std::memcpy(&address, item->ai_addr, item->ai_addrlen);
    result.addresses.push_back(address);
  }
  result.done = true;
  result.changed.notify_all();
} catch (const std::bad_alloc&) {
  // Nobody stands above: it may have a thread of its own.
  const std::lock_guard lock(result.mutex);
  result.error = EAI_MEMORY;
  result.done = true;
  result.changed.notify_all();
}

/// On a thread of its own, since nothing can interrupt getaddrinfo.
void lookUpOnThread(const std::shared_ptr<LookUpResult>& result, const std::string& host, std::uint16_t port) {
  try {
    std::thread([result, host, port] { lookUpInto(*result, host, port); }).detach();
  } catch (const std::system_error& e) {
    throw core::Error(core::Category::io, std::string("cannot start a thread for the name look-up: ") + e.what(),
                      {.hint = "raise the limits (ulimit -u, ulimit -v), or close other programs"});
  }
}

std::vector<SocketAddress> toPoco(const std::vector<sockaddr_storage>& addresses, bool onlyLoopback) {
  std::vector<SocketAddress> converted;
  for (const sockaddr_storage& address : addresses) {
    const auto length =
        static_cast<socklen_t>(address.ss_family == AF_INET6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in));
    const SocketAddress candidate(reinterpret_cast<const sockaddr*>(&address), length);
    // RFC 6761: "localhost" is this machine whatever a name server says.
    if (!onlyLoopback || candidate.host().isLoopback()) converted.push_back(candidate);
  }
  return converted;
}

AttemptFailure tooFewDescriptors(int error) {
  return {Kind::exhausted, "cannot connect: " + std::generic_category().message(error)};
}

StreamSocket connectOne(const SocketAddress& address, core::SteadyTime until, const core::StopSignal& stop) {
  StreamSocket socket;
  try {
    socket.connectNB(address);
    ::fcntl(socket.impl()->sockfd(), F_SETFD, FD_CLOEXEC);
    if (!waitFor(socket.impl()->sockfd(), POLLOUT, until, stop)) throw AttemptFailure(Kind::transient, "timed out");
    const int error = socket.impl()->socketError();
    if (error != 0) throw AttemptFailure(Kind::transient, std::generic_category().message(error));
    socket.setNoDelay(true);
    socket.setKeepAlive(true);
  } catch (const Poco::Exception& e) {
    if (e.code() == EMFILE || e.code() == ENFILE) throw tooFewDescriptors(e.code());
    throw AttemptFailure(Kind::transient, e.code() != 0 ? std::generic_category().message(e.code()) : e.displayText());
  }
  return socket;
}

std::string lowerFirst(std::string text) {
  if (!text.empty() && text[0] >= 'A' && text[0] <= 'Z') text[0] = static_cast<char>(text[0] - 'A' + 'a');
  return text;
}

/// A read-ahead of more than one TLS record (16 KiB) saves system calls.
constexpr std::size_t kReadAheadBytes = 256U << 10U;
/// One record with its overhead.
constexpr std::size_t kLeastReadAheadBytes = 17U << 10U;

/// What the last certificate check on this thread found; a handshake runs on the thread that waits for it.
thread_local int lastVerifyError = X509_V_OK;

int rememberVerifyError(int ok, X509_STORE_CTX* store) {
  // The first error is the cause; later ones follow from it.
  if (ok == 0 && lastVerifyError == X509_V_OK) lastVerifyError = X509_STORE_CTX_get_error(store);
  return ok;
}

/// What the last handshake on this thread agreed on.
thread_local bool choseHttp2 = false;

void rememberProtocol(const SSL* tls, int where, int) {
  if ((where & SSL_CB_HANDSHAKE_DONE) == 0) return;
  const unsigned char* name = nullptr;
  unsigned length = 0;
  SSL_get0_alpn_selected(tls, &name, &length);
  choseHttp2 = std::string_view(reinterpret_cast<const char*>(name), length) == "h2";
}

void offerHttp2(SSL_CTX* context) {
  static constexpr std::string_view kProtocols = "\x02h2\x08http/1.1";
  // Poco shows no connection's own state: the callback is told of it.
  SSL_CTX_set_info_callback(context, rememberProtocol);
  SSL_CTX_set_alpn_protos(context, reinterpret_cast<const unsigned char*>(kProtocols.data()), kProtocols.size());
}

[[noreturn]] void throwBadCaFile(const std::filesystem::path& file, const std::string& reason) {
  throw core::Error(core::Category::config,
                    "cannot read CA certificates from " + core::printable(file.string()) + ": " + reason,
                    {.hint = "--ca-file wants a readable file with certificates in PEM form"});
}

void verifyHost(SSL_CTX* context, const std::string& host) {
  X509_VERIFY_PARAM* parameters = SSL_CTX_get0_param(context);
  // A common name is no proof of a host (RFC 9110, 4.3.4; RFC 9525): only alternative names count.
  X509_VERIFY_PARAM_set_hostflags(parameters,
                                  X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
  const int set = isAddress(host) ? X509_VERIFY_PARAM_set1_ip_asc(parameters, host.c_str())
                                  : X509_VERIFY_PARAM_set1_host(parameters, host.c_str(), host.size());
  if (set != 1) throw core::Error(core::Category::internal, "cannot set the host to verify: " + host);
}

/// The number in OpenSSL's "error:0A000086:...", which is all that Poco keeps of it.
unsigned long openSslError(const Poco::Exception& exception) {
  const std::string text = exception.displayText();
  const std::size_t start = text.find("error:");
  unsigned long number = 0;
  if (start != std::string::npos) std::from_chars(text.data() + start + 6, text.data() + text.size(), number, 16);
  return number;
}

AttemptFailure certificateFailure(int error, const std::string& host) {
  const std::string ownCa =
      "if the server (or a proxy that opens TLS) belongs to your organisation, name its CA's certificate with "
      "--ca-file";
  switch (error) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
      return {Kind::config, "the server's certificate has expired",
              "check this machine's clock, or tell the server's operator"};
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return {Kind::config, "the server's certificate is not valid yet", "check this machine's clock"};
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
      return {Kind::config, "the server's certificate is for another host than " + host, "check the host in the URL"};
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
      return {Kind::config, "the server's certificate is self-signed and not trusted", ownCa};
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:  // An authority of the same name as a trusted one.
      return {Kind::config, "the server's certificate was issued by an authority that is not trusted here", ownCa};
    default:
      return {Kind::config,
              std::string("the server's certificate was refused: ") + X509_verify_cert_error_string(error), ownCa};
  }
}

}  // namespace

bool waitFor(int descriptor, short events, core::SteadyTime until, const core::StopSignal& stop) {
  while (true) {
    std::array<pollfd, 2> polled{pollfd{descriptor, events, 0}, pollfd{stop.descriptor(), POLLIN, 0}};
    const int ready = ::poll(polled.data(), polled.size(), pollTimeout(until));
    stop.check();
    if (ready < 0 && errno != EINTR)
      throw core::Error(core::Category::io, std::string("cannot wait for the network: ") + std::strerror(errno));
    if (ready > 0 && polled[0].revents != 0) return true;
    if (ready == 0 && std::chrono::steady_clock::now() >= until) return false;
  }
}

std::vector<SocketAddress> lookUp(const std::string& host, std::uint16_t port, core::Duration limit,
                                  const core::StopSignal& stop) {
  const auto result = std::make_shared<LookUpResult>();
  if (isAddress(host)) {
    lookUpInto(*result, host, port);
  } else {
    lookUpOnThread(result, host, port);
  }
  std::unique_lock lock(result->mutex);
  const bool done = result->changed.wait_for(lock, stop.token(), limit, [&] { return result->done; });
  stop.check();
  if (result->error == EAI_SYSTEM && (result->systemError == EMFILE || result->systemError == ENFILE)) {
    throw tooFewDescriptors(result->systemError);
  }
  if (result->error == EAI_MEMORY) {
    throw core::outOfMemory("cannot look up " + host + ": out of memory");
  }
  const std::string hint = "check the host in the URL, the network and the name server";
  if (!done) throw AttemptFailure(Kind::transient, "the look-up of " + host + " timed out", hint);
  if (result->error != 0) {
    throw AttemptFailure(Kind::transient, "cannot look up " + host + ": " + lowerFirst(::gai_strerror(result->error)),
                         hint);
  }
  std::vector<SocketAddress> addresses = toPoco(result->addresses, isLoopback(host));
  if (addresses.empty()) throw AttemptFailure(Kind::transient, host + " has no address that can be used", hint);
  return addresses;
}

StreamSocket connectTcp(const std::vector<SocketAddress>& addresses, core::SteadyTime until,
                        const core::StopSignal& stop) {
  std::string reasons;
  for (std::size_t i = 0; i < addresses.size(); ++i) {
    const auto now = std::chrono::steady_clock::now();
    const auto share =
        std::max(until - now, core::SteadyTime::duration::zero()) / static_cast<long>(addresses.size() - i);
    try {
      return connectOne(addresses[i], now + share, stop);
    } catch (const AttemptFailure& failure) {
      if (failure.kind() == Kind::exhausted) throw;
      reasons += (reasons.empty() ? "" : "; ") + lowerFirst(failure.what()) + " (" + addresses[i].toString() + ")";
    }
  }
  throw AttemptFailure(Kind::transient, "cannot connect: " + reasons,
                       "check the network, a firewall, and whether a proxy (HTTPS_PROXY) is needed");
}

TlsContexts::TlsContexts(std::optional<std::filesystem::path> caFile, std::uint64_t mostUnreadBytes)
    : caFile_(std::move(caFile)),
      readAheadBytes_(mostUnreadBytes == 0
                          ? kReadAheadBytes
                          : std::clamp<std::uint64_t>(mostUnreadBytes, kLeastReadAheadBytes, kReadAheadBytes)) {
  if (caFile_) make("localhost", false);
}

Context::Ptr TlsContexts::forHost(const std::string& host, bool offersHttp2) {
  const std::lock_guard lock(mutex_);
  if (const auto found = contexts_.find({host, offersHttp2}); found != contexts_.end()) return found->second;
  return contexts_.emplace(std::pair(host, offersHttp2), make(host, offersHttp2)).first->second;
}

bool chosenHttp2() {
  return choseHttp2;
}

Context::Ptr TlsContexts::make(const std::string& host, bool offersHttp2) const {
  Context::Params parameters;
  parameters.verificationMode = Context::VERIFY_STRICT;
  // The certificates are the same for all: they are read once.
  const Context* const other = contexts_.empty() ? nullptr : contexts_.begin()->second.get();
  parameters.loadDefaultCAs = !caFile_ && other == nullptr;
  parameters.cipherList = "DEFAULT";
  if (caFile_ && other == nullptr) parameters.caLocation = caFile_->string();
  clearTlsErrors();
  try {
    Context::Ptr context = new Context(Context::TLS_CLIENT_USE, parameters);
    SSL_CTX* raw = context->sslContext();
    if (other != nullptr) SSL_CTX_set1_cert_store(raw, SSL_CTX_get_cert_store(other->sslContext()));
    context->requireMinimumProtocol(Context::PROTO_TLSV1_2);
    SSL_CTX_set_min_proto_version(raw, TLS1_2_VERSION);
    // In place of Poco's callback, which asks process-wide handlers; this one never accepts what OpenSSL refused.
    SSL_CTX_set_verify(raw, SSL_VERIFY_PEER, rememberVerifyError);
    verifyHost(raw, host);
    SSL_CTX_clear_options(raw, SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_options(raw, SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_mode(raw, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(raw, 1);
    SSL_CTX_set_default_read_buffer_len(raw, readAheadBytes_);
    if (offersHttp2) offerHttp2(raw);
    return context;
  } catch (const Poco::Exception& e) {
    if (caFile_) throwBadCaFile(*caFile_, core::printable(e.displayText(), 200));
    throw core::Error(core::Category::config, "cannot set up TLS: " + core::printable(e.displayText(), 200));
  }
}

void clearTlsErrors() {
  ERR_clear_error();
  errno = 0;
  lastVerifyError = X509_V_OK;
}

bool isUncleanEnd(const Poco::Exception& exception) {
  if (dynamic_cast<const Poco::Net::SSLConnectionUnexpectedlyClosedException*>(&exception) != nullptr) return true;
  return ERR_GET_REASON(openSslError(exception)) == SSL_R_UNEXPECTED_EOF_WHILE_READING;
}

AttemptFailure describeHandshakeFailure(const Poco::Exception& exception, const std::string& host) {
  if (lastVerifyError != X509_V_OK) return certificateFailure(lastVerifyError, host);
  if (dynamic_cast<const Poco::Net::CertificateValidationException*>(&exception) != nullptr) {
    return certificateFailure(X509_V_ERR_HOSTNAME_MISMATCH, host);
  }
  if (isUncleanEnd(exception)) return {Kind::closed, "the connection was closed during the TLS handshake"};
  switch (ERR_GET_REASON(openSslError(exception))) {
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
    case SSL_R_NO_PROTOCOLS_AVAILABLE:
      return {Kind::config, "the server offers no TLS version from 1.2 on",
              "the server, or a proxy before it, must support TLS 1.2 or 1.3"};
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_HTTP_REQUEST:
      return {Kind::config, "the server does not speak TLS on this port",
              "check the port and https:// or http:// in the URL"};
    case SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE:
      return {Kind::config, "the server refused the TLS handshake",
              "the server may want other ciphers or a client certificate"};
    default:
      return {Kind::transient, "the TLS handshake failed: " + core::printable(exception.displayText(), 200)};
  }
}

namespace {

[[noreturn]] void throwBadProxy(const std::string& why) {
  throw core::Error(core::Category::config, "the proxy's address (HTTPS_PROXY) can't be used: " + why,
                    {.hint = "it must read http://[user:password@]host:port"});
}

/// The password, as it is written and as it is meant, and what goes out in its place.
std::vector<core::Secret> secretsOf(std::string_view userInfo, const core::Secret& authorization) {
  std::vector<core::Secret> secrets{core::Secret(std::string(authorization.reveal().substr(sizeof "Basic")))};
  const std::size_t colon = userInfo.find(':');
  if (colon == std::string_view::npos) return secrets;
  secrets.emplace_back(std::string(userInfo.substr(colon + 1)));
  secrets.emplace_back(core::percentDecode(userInfo.substr(colon + 1)));
  return secrets;
}

core::Secret basicAuthorization(std::string_view userInfo) {
  std::string credentials = core::percentDecode(userInfo);
  if (credentials.find(':') == std::string::npos) credentials += ':';
  std::string encoded(4 * ((credentials.size() + 2) / 3) + 1, '\0');
  const auto* bytes = reinterpret_cast<const unsigned char*>(credentials.data());
  const int length =
      EVP_EncodeBlock(reinterpret_cast<unsigned char*>(encoded.data()), bytes, static_cast<int>(credentials.size()));
  encoded.resize(static_cast<std::size_t>(length));
  core::cleanse(credentials);
  core::Secret authorization("Basic " + encoded);
  core::cleanse(encoded);
  return authorization;
}

bool inBlock(std::string_view host, std::string_view network, unsigned bits) {
  const std::vector<unsigned char> address = addressBytes(host);
  const std::vector<unsigned char> block = addressBytes(network);
  if (address.empty() || address.size() != block.size() || bits > address.size() * 8) return false;
  for (unsigned bit = 0; bit < bits; ++bit) {
    const unsigned mask = 0x80U >> (bit % 8);
    if ((address[bit / 8] & mask) != (block[bit / 8] & mask)) return false;
  }
  return true;
}

std::string firstVariable(const char* name, const char* otherName) {
  for (const char* candidate : {name, otherName}) {
    if (const char* value = std::getenv(candidate); value != nullptr && *value != '\0') return value;
  }
  return {};
}

}  // namespace

std::optional<Proxy> parseProxy(std::string_view text) {
  text = core::trim(text);
  if (text.empty()) return std::nullopt;
  if (const std::size_t mark = text.find("://"); mark != std::string_view::npos) {
    if (core::toLower(text.substr(0, mark)) != "http") throwBadProxy("only proxies of the kind http:// are supported");
    text.remove_prefix(mark + 3);
  }
  if (text.ends_with('/')) text.remove_suffix(1);
  Proxy proxy;
  if (const std::size_t at = text.rfind('@'); at != std::string_view::npos) {
    proxy.authorization = basicAuthorization(text.substr(0, at));
    proxy.secrets = secretsOf(text.substr(0, at), proxy.authorization);
    text.remove_prefix(at + 1);
  }
  if (text.find_first_of("/?") != std::string_view::npos) throwBadProxy("it has a path");
  try {
    const Url url = parseUrl("http://" + std::string(text));
    proxy.host = url.origin.host;
    proxy.port = url.origin.port;
  } catch (const core::Error&) {
    // Its message shows the text, which may hold a password in a wrong place.
    throwBadProxy("its host or port is malformed");
  }
  return proxy;
}

NoProxy::NoProxy(std::string_view list) {
  std::string commas(list);
  std::ranges::replace_if(
      commas, [](char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }, ',');
  for (const std::string& entry : core::splitList(commas)) {
    if (entry == "*") {
      all_ = true;
    } else {
      rules_.push_back(parseRule(entry));
    }
  }
}

NoProxy::Rule NoProxy::parseRule(std::string_view text) {
  Rule rule;
  if (const std::size_t slash = text.find('/'); slash != std::string_view::npos) {
    // A block that can't be read matches nothing: 999 bits are in no address.
    rule.prefixBits = core::numberFrom<unsigned>(text.substr(slash + 1)).value_or(999);
    text = text.substr(0, slash);
  }
  const bool bareIpv6 = !text.starts_with('[') && text.find(':') != text.rfind(':');
  if (const std::size_t colon = text.rfind(':'); !bareIpv6 && colon != std::string_view::npos && !text.ends_with(']')) {
    rule.port = core::numberFrom<std::uint16_t>(text.substr(colon + 1));
    if (rule.port) text = text.substr(0, colon);
  }
  if (text.starts_with('[') && text.ends_with(']')) text = text.substr(1, text.size() - 2);
  if (text.starts_with('*')) text.remove_prefix(1);
  if (text.starts_with('.')) text.remove_prefix(1);
  // A name with a dot at its end is the same, said to be whole.
  if (text.ends_with('.')) text.remove_suffix(1);
  rule.host = core::toLower(text);
  return rule;
}

bool NoProxy::matches(std::string_view host, std::uint16_t port) const {
  if (all_) return true;
  if (host.ends_with('.')) host.remove_suffix(1);
  for (const Rule& rule : rules_) {
    if ((!rule.port || *rule.port == port) && matchesRule(rule, host)) return true;
  }
  return false;
}

bool NoProxy::matchesRule(const Rule& rule, std::string_view host) {
  if (rule.host.empty()) return false;
  if (rule.prefixBits) return inBlock(host, rule.host, *rule.prefixBits);
  if (host == rule.host) return true;
  const std::vector<unsigned char> address = addressBytes(host);
  if (!address.empty()) return address == addressBytes(rule.host);
  return host.size() > rule.host.size() && host.ends_with(rule.host) && host[host.size() - rule.host.size() - 1] == '.';
}

ProxySettings proxyFromEnvironment() {
  ProxySettings settings{.httpsProxy = firstVariable("HTTPS_PROXY", "https_proxy"),
                         .noProxy = firstVariable("NO_PROXY", "no_proxy")};
  for (const char* name : {"ALL_PROXY", "all_proxy", "HTTP_PROXY", "http_proxy"}) {
    const char* value = std::getenv(name);
    const bool matters = settings.httpsProxy.empty() && settings.ignored.empty();
    if (matters && value != nullptr && *value != '\0') settings.ignored = name;
  }
  return settings;
}

std::optional<std::string> proxyFor(const ProxySettings& settings, std::string_view url) {
  const std::optional<Proxy> proxy = parseProxy(settings.httpsProxy);
  const Origin origin = parseUrl(url).origin;
  if (!proxy || origin.scheme != "https" || NoProxy(settings.noProxy).matches(origin.host, origin.port)) {
    return std::nullopt;
  }
  return hostAndPort(proxy->host, proxy->port);
}

}  // namespace caiexport::net
