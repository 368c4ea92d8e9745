//! TLS to the server, as `sslmode` asks for it.

use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::config::{PostgresConfig, TlsMode};
use crate::error::OpenError;

/// What makes TLS of a connection. Without TLS it is not asked.
pub(crate) fn connector(config: &PostgresConfig) -> Result<MakeRustlsConnect, OpenError> {
    let provider = Arc::new(ring::default_provider());
    let unusable = |error: Error| OpenError::url(format!("TLS: {error}"));
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(unusable)?;
    let builder = match (config.tls, &config.authorities) {
        (TlsMode::VerifyFull, Some(path)) => builder.with_root_certificates(authorities(path)?),
        (mode, path) => {
            let chain = match path {
                Some(path) if matches!(mode, TlsMode::VerifyCa | TlsMode::Require) => {
                    let known = authorities(path)?;
                    let verifier =
                        WebPkiServerVerifier::builder_with_provider(known, provider.clone());
                    Some(verifier.build().map_err(|error| OpenError::file(path, error))?)
                }
                _ => None,
            };
            let verifier = Arc::new(AnyName { provider, chain });
            builder.dangerous().with_custom_certificate_verifier(verifier)
        }
    };
    let config = match (&config.certificate, &config.key) {
        (Some(chain), Some(key)) => {
            let certificates = certificates(chain)?;
            let private =
                PrivateKeyDer::from_pem_file(key).map_err(|error| OpenError::file(key, error))?;
            let with = builder.with_client_auth_cert(certificates, private);
            with.map_err(|error| OpenError::file(chain, error))?
        }
        _ => builder.with_no_client_auth(),
    };
    Ok(MakeRustlsConnect::new(config))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, OpenError> {
    let certificates =
        CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = certificates.map_err(|error| OpenError::file(path, error))?;
    if certificates.is_empty() {
        return Err(OpenError::file(path, "it holds no certificate"));
    }
    Ok(certificates)
}

fn authorities(path: &Path) -> Result<Arc<RootCertStore>, OpenError> {
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(certificates(path)?);
    if added == 0 {
        return Err(OpenError::file(path, "it holds no certificate authority"));
    }
    Ok(Arc::new(roots))
}

/// Believes a certificate whatever name it is made out to, as libpq does unless it is told to verify
/// the name; and of whatever authority, if none is known. What is said is then hidden from who
/// listens, not from who answers in the server's place.
#[derive(Debug)]
struct AnyName {
    provider: Arc<CryptoProvider>,
    /// Judges the chain, if authorities are known.
    chain: Option<Arc<WebPkiServerVerifier>>,
}

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        match chain.verify_server_cert(end_entity, intermediates, name, ocsp, now) {
            // The name is looked at last, when all else is right.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
