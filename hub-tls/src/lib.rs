//! What the hub's adapters that listen have in common: the sockets, the hub's certificate, and what
//! a client's certificate says.
//!
//! [`Addresses`] are bound to [`Listeners`], which take connections and hand them to a [`Protocol`].
//!
//! Every adapter that listens serves the same TLS, so that a device may come with the same
//! certificate over any protocol. [`TlsSettings::from_pem`] reads the settings,
//! [`TlsSettings::accept`] does a handshake.
//!
//! A client certificate is asked for and never demanded, so that one port serves clients with
//! tokens and clients with certificates. The handshake proves that the client holds the key;
//! whether the certificate is self-signed, of which authority, and in date, is reported in
//! [`CertificateInfo`] and judged by the hub, per identity.

mod certificate;
mod listener;
mod verifier;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use hub_core::hello::CertificateInfo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
pub use tokio_rustls::server::TlsStream;

pub use self::listener::{Addresses, Incident, Listeners, Protocol, Terms, WhenFull};
use self::verifier::PossessionVerifier;

/// What serving TLS needs: the hub's certificate chain and key, and the authorities that client
/// certificates may come from.
///
/// TLS 1.2 and 1.3 are served; the Python SDK speaks 1.2 only. The key may be RSA or ECDSA; some
/// device clients can do RSA only.
#[derive(Clone)]
pub struct TlsSettings {
    config: Arc<ServerConfig>,
    /// Tells whether a chain leads to an authority. Absent when there are none.
    authorities: Option<Arc<dyn ClientCertVerifier>>,
}

impl fmt::Debug for TlsSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsSettings")
            .field("client_authorities", &self.authorities.is_some())
            .finish_non_exhaustive()
    }
}

/// Why TLS cannot be served with these settings.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The certificate chain is not PEM, or holds no certificate.
    #[error("no certificate chain in the PEM text")]
    Chain,
    /// The key is not PEM, or holds no private key.
    #[error("no private key in the PEM text")]
    Key,
    /// A client authority is not PEM, or no certificate.
    #[error("no certificate authority in the PEM text")]
    Authority,
    /// The key does not belong to the certificate, or is of a kind that is not served.
    #[error("certificate or key cannot be used")]
    Unusable(#[source] rustls::Error),
}

impl TlsSettings {
    /// From the certificate chain, leaf first, and its private key (PKCS #8, PKCS #1 or SEC 1),
    /// both PEM. `client_authorities` are the certificates, PEM again and possibly none, of which
    /// [`CertificateInfo::chains_to_authority`] tells.
    ///
    /// # Errors
    /// [`TlsError`] when a text holds not what it should, or key and certificate do not match.
    pub fn from_pem(chain: &[u8], key: &[u8], client_authorities: &[u8]) -> Result<Self, TlsError> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<_, _>>()
            .map_err(|_| TlsError::Chain)?;
        if chain.is_empty() {
            return Err(TlsError::Chain);
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| TlsError::Key)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = PossessionVerifier::new(provider.signature_verification_algorithms);
        let mut config = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(TlsError::Unusable)?
            .with_client_cert_verifier(Arc::new(verifier))
            .with_single_cert(chain, key)
            .map_err(TlsError::Unusable)?;
        // A device keeps its connection for hours. One ticket is enough to come back with.
        config.send_tls13_tickets = 1;
        let mut roots = RootCertStore::empty();
        for authority in CertificateDer::pem_slice_iter(client_authorities) {
            let authority = authority.map_err(|_| TlsError::Authority)?;
            roots.add(authority).map_err(|_| TlsError::Authority)?;
        }
        let authorities = if roots.is_empty() {
            None
        } else {
            let built = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            Some(built.build().map_err(|_| TlsError::Authority)?)
        };
        Ok(Self { config: Arc::new(config), authorities })
    }

    /// Does the server's side of a handshake, within a time. Gives the stream, and what the
    /// client's certificate says if it showed one.
    ///
    /// # Errors
    /// The peer speaks no TLS that is served, or went away; or, of kind `TimedOut`, it took too
    /// long. None of it is the hub's fault, and none needs more than closing the connection.
    pub async fn accept<S>(
        &self,
        stream: S,
        within: Duration,
    ) -> std::io::Result<(TlsStream<S>, Option<CertificateInfo>)>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let handshake = TlsAcceptor::from(self.config.clone()).accept(stream);
        let stream = tokio::time::timeout(within, handshake)
            .await
            .map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))??;
        let certificate = self.client_certificate(stream.get_ref().1);
        Ok((stream, certificate))
    }

    /// What the client's certificate says, if it showed one, once the handshake is done.
    fn client_certificate(&self, connection: &ServerConnection) -> Option<CertificateInfo> {
        let (leaf, intermediates) = connection.peer_certificates()?.split_first()?;
        let mut info = certificate::read(leaf)?;
        info.chains_to_authority = self.authorities.as_ref().is_some_and(|authorities| {
            let now = rustls::pki_types::UnixTime::now();
            authorities.verify_client_cert(leaf, intermediates, now).is_ok()
        });
        Some(info)
    }
}

#[cfg(test)]
mod tests;
