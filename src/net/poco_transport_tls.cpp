#include "poco_transport_tls.h"

#include <Poco/Net/NetException.h>
#include <Poco/Net/SSLException.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <cerrno>
#include <charconv>

#include "address.h"
#include "caiexport/core/error.h"
#include "caiexport/core/text.h"

namespace caiexport::net {
namespace {

using Poco::Net::Context;

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
  constexpr auto kConfig = AttemptFailure::Kind::config;
  const std::string ownCa =
      "if the server (or a proxy that opens TLS) belongs to your organisation, name its CA's certificate with "
      "--ca-file";
  switch (error) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
      return {kConfig, "the server's certificate has expired",
              "check this machine's clock, or tell the server's operator"};
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return {kConfig, "the server's certificate is not valid yet", "check this machine's clock"};
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
      return {kConfig, "the server's certificate is for another host than " + host, "check the host in the URL"};
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
      return {kConfig, "the server's certificate is self-signed and not trusted", ownCa};
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:  // An authority of the same name as a trusted one.
      return {kConfig, "the server's certificate was issued by an authority that is not trusted here", ownCa};
    default:
      return {kConfig, std::string("the server's certificate was refused: ") + X509_verify_cert_error_string(error),
              ownCa};
  }
}

}  // namespace

TlsContexts::TlsContexts(std::optional<std::filesystem::path> caFile, std::uint64_t mostUnreadBytes)
    : caFile_(std::move(caFile)),
      readAheadBytes_(mostUnreadBytes == 0
                          ? kReadAheadBytes
                          : std::clamp<std::uint64_t>(mostUnreadBytes, kLeastReadAheadBytes, kReadAheadBytes)) {
  if (caFile_) make("localhost");
}

Context::Ptr TlsContexts::forHost(const std::string& host) {
  const std::lock_guard lock(mutex_);
  Context::Ptr& context = contexts_[host];
  if (context.isNull()) context = make(host);
  return context;
}

Context::Ptr TlsContexts::make(const std::string& host) const {
  Context::Params parameters;
  parameters.verificationMode = Context::VERIFY_STRICT;
  parameters.loadDefaultCAs = !caFile_;
  parameters.cipherList = "DEFAULT";
  if (caFile_) parameters.caLocation = caFile_->string();
  clearTlsErrors();
  try {
    Context::Ptr context = new Context(Context::TLS_CLIENT_USE, parameters);
    SSL_CTX* raw = context->sslContext();
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
  using Kind = AttemptFailure::Kind;
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

}  // namespace caiexport::net
