//! TLS between nodes: 1.3 alone, both sides show a certificate of the environment's authority.
//!
//! Invariant: sessions are not resumed, as a resumed one would not look at the certificate and at the
//! list of revoked ones again. Used by `peer`, `enroll`.

use std::sync::Arc;

use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::error::NetError;
use crate::identity::{Identity, Revoked};

/// The one implementation of cryptography.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn wrong(error: impl ToString) -> NetError {
    NetError::Tls(error.to_string())
}

/// Only this authority is trusted.
pub(crate) fn roots(authority: &CertificateDer<'static>) -> Result<Arc<RootCertStore>, NetError> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.clone()).map_err(wrong)?;
    Ok(Arc::new(roots))
}

fn lists(revoked: Option<&Revoked>) -> Vec<CertificateRevocationListDer<'static>> {
    revoked.map(|list| list.der.clone().into()).into_iter().collect()
}

/// What those who call must show: a certificate; or, where newcomers enrol, it may be none.
pub(crate) fn callers(
    identity: &Identity,
    none: bool,
) -> Result<Arc<dyn ClientCertVerifier>, NetError> {
    let roots = roots(&identity.authority)?;
    let builder = WebPkiClientVerifier::builder_with_provider(roots, provider())
        .with_crls(lists(identity.revoked.as_ref()));
    let builder = if none { builder.allow_unauthenticated() } else { builder };
    builder.build().map_err(wrong)
}

/// For those who are called.
pub(crate) fn server(
    identity: &Identity,
    callers: Arc<dyn ClientCertVerifier>,
) -> Result<Arc<ServerConfig>, NetError> {
    // The authority's own goes along: a newcomer knows it by its fingerprint alone.
    let chain = vec![identity.certificate.clone(), (*identity.authority).clone()];
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(wrong)?
        .with_client_cert_verifier(callers)
        .with_single_cert(chain, identity.key.clone_key())
        .map_err(wrong)?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// For those who call.
pub(crate) fn client(identity: &Identity) -> Result<Arc<ClientConfig>, NetError> {
    let roots = roots(&identity.authority)?;
    let called = WebPkiServerVerifier::builder_with_provider(roots, provider())
        .with_crls(lists(identity.revoked.as_ref()))
        .build()
        .map_err(wrong)?;
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(wrong)?
        .with_webpki_verifier(called)
        .with_client_auth_cert(vec![identity.certificate.clone()], identity.key.clone_key())
        .map_err(wrong)?;
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}
