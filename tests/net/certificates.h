#pragma once
/// Certificates made at test time.

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>

#include "support/temp_directory.h"

namespace caiexport::net::testing {

template <auto Free>
struct Freer {
  template <class T>
  void operator()(T* object) const {
    Free(object);
  }
};
using KeyPtr = std::unique_ptr<EVP_PKEY, Freer<EVP_PKEY_free>>;
using CertificatePtr = std::unique_ptr<X509, Freer<X509_free>>;
using ServerContextPtr = std::unique_ptr<SSL_CTX, Freer<SSL_CTX_free>>;

struct Identity {
  KeyPtr key;
  CertificatePtr certificate;
};

struct CertificateWish {
  std::string altNames = "DNS:localhost,IP:127.0.0.1,IP:::1";
  long beginsInSeconds = -3600;
  long endsInSeconds = 3600;
  bool isAuthority = false;
};

inline void addExtension(X509* certificate, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, certificate, certificate, nullptr, nullptr, 0);
  const std::unique_ptr<X509_EXTENSION, Freer<X509_EXTENSION_free>> extension(
      X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str()));
  if (!extension || X509_add_ext(certificate, extension.get(), -1) != 1)
    throw std::runtime_error("bad extension " + value);
}

/// Signed by `issuer`, or by itself.
inline Identity makeIdentity(const std::string& name, const CertificateWish& wish = {},
                             const Identity* issuer = nullptr) {
  Identity identity{KeyPtr(EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256")), CertificatePtr(X509_new())};
  X509* certificate = identity.certificate.get();
  X509_set_version(certificate, 2);
  static long serial = 1;
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), ++serial);
  X509_gmtime_adj(X509_getm_notBefore(certificate), wish.beginsInSeconds);
  X509_gmtime_adj(X509_getm_notAfter(certificate), wish.endsInSeconds);
  X509_set_pubkey(certificate, identity.key.get());
  X509_NAME* subject = X509_get_subject_name(certificate);
  X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1,
                             0);
  X509_set_issuer_name(certificate, issuer != nullptr ? X509_get_subject_name(issuer->certificate.get()) : subject);
  addExtension(certificate, NID_basic_constraints, wish.isAuthority ? "critical,CA:TRUE" : "CA:FALSE");
  if (!wish.isAuthority && !wish.altNames.empty()) addExtension(certificate, NID_subject_alt_name, wish.altNames);
  X509_sign(certificate, issuer != nullptr ? issuer->key.get() : identity.key.get(), EVP_sha256());
  return identity;
}

/// A private authority with its certificate in a file, as --ca-file wants it.
class Authority {
 public:
  explicit Authority(const std::string& name) : identity_(makeIdentity(name, {.isAuthority = true})) {
    const std::unique_ptr<BIO, Freer<BIO_free_all>> out(BIO_new_file(file().c_str(), "w"));
    PEM_write_bio_X509(out.get(), identity_.certificate.get());
  }
  std::filesystem::path file() const { return folder_.path() / "ca.pem"; }
  std::filesystem::path folder() const { return folder_.path(); }
  Identity issue(const CertificateWish& wish = {}, const std::string& name = "server") const {
    return makeIdentity(name, wish, &identity_);
  }

 private:
  support::TempDirectory folder_;
  Identity identity_;
};

/// The authority that the tests trust.
inline const Authority& testAuthority() {
  static const Authority authority("test authority");
  return authority;
}

inline ServerContextPtr makeServerContext(const Identity& identity) {
  ServerContextPtr context(SSL_CTX_new(TLS_server_method()));
  SSL_CTX_use_certificate(context.get(), identity.certificate.get());
  SSL_CTX_use_PrivateKey(context.get(), identity.key.get());
  return context;
}

inline ServerContextPtr goodServerContext() {
  return makeServerContext(testAuthority().issue());
}

}  // namespace caiexport::net::testing
