//! What can be set.

use std::fmt;
use std::time::Duration;

use http::header::{HeaderName, HeaderValue};
use http::uri::Scheme;
use http::{HeaderMap, Uri};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// Why an endpoint cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Not an absolute URL with `http` or `https`.
    #[error("{0:?} is no http or https URL")]
    Url(String),
    /// Not a header.
    #[error("{0:?} is no header, or has a value that is none")]
    Header(String),
    /// The authorities are not certificates in PEM, or none are installed on this machine.
    #[error("there are no certificates of authorities")]
    Authorities,
    /// A bound is zero.
    #[error("{0} must not be zero")]
    Zero(&'static str),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls,
}

/// Where events go, and within what bounds.
#[derive(Clone)]
pub struct HttpEndpointConfig {
    url: String,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    bad_header: Option<String>,
    authorities: Option<Vec<u8>>,
    pub(crate) connect_timeout: Duration,
    pub(crate) timeout: Duration,
    pub(crate) answer_bytes_max: usize,
}

/// Headers may hold credentials, and so may a URL: names and the host are shown, no more.
impl fmt::Debug for HttpEndpointConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpEndpointConfig")
            .field("host", &self.uri.host())
            .field("headers", &self.headers.keys().collect::<Vec<_>>())
            .field("connect_timeout", &self.connect_timeout)
            .field("timeout", &self.timeout)
            .field("answer_bytes_max", &self.answer_bytes_max)
            .finish_non_exhaustive()
    }
}

impl HttpEndpointConfig {
    /// A server by its URL. The authorities of certificates are those installed on this machine, a
    /// connection is made within 5 seconds, an exchange ends within 20, and 64 KiB of an answer are
    /// read.
    #[must_use]
    pub fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            uri: url.parse().unwrap_or_default(),
            headers: HeaderMap::new(),
            bad_header: None,
            authorities: None,
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(20),
            answer_bytes_max: 64 * 1024,
        }
    }

    /// With a header in every request: credentials, for example. The last of a name counts.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        match (name.parse::<HeaderName>(), value.parse::<HeaderValue>()) {
            (Ok(name), Ok(mut value)) => {
                value.set_sensitive(true);
                self.headers.insert(name, value);
            }
            _ => self.bad_header = Some(name.to_owned()),
        }
        self
    }

    /// With these authorities of certificates instead of the installed ones: PEM text.
    #[must_use]
    pub fn authorities(self, pem: &[u8]) -> Self {
        Self { authorities: Some(pem.to_vec()), ..self }
    }

    /// Longest time to make a connection.
    #[must_use]
    pub fn connect_timeout(self, connect_timeout: Duration) -> Self {
        Self { connect_timeout, ..self }
    }

    /// Longest time of an exchange, connecting included. What the hub gives for a batch bounds it
    /// as well, see [`Outgoing::within`](hub_core::endpoint::Outgoing::within).
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Most bytes that are read of an answer.
    #[must_use]
    pub fn answer_bytes_max(self, answer_bytes_max: usize) -> Self {
        Self { answer_bytes_max, ..self }
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let known = [Some(&Scheme::HTTP), Some(&Scheme::HTTPS)].contains(&self.uri.scheme());
        if !known || self.uri.host().is_none_or(str::is_empty) {
            return Err(ConfigError::Url(self.url.clone()));
        }
        if let Some(name) = &self.bad_header {
            return Err(ConfigError::Header(name.clone()));
        }
        for (name, bound) in [("connect_timeout", self.connect_timeout), ("timeout", self.timeout)]
        {
            if bound.is_zero() {
                return Err(ConfigError::Zero(name));
            }
        }
        if self.answer_bytes_max == 0 {
            return Err(ConfigError::Zero("answer_bytes_max"));
        }
        Ok(())
    }

    /// Whose certificates are accepted. None are needed where there is no TLS.
    pub(crate) fn roots(&self) -> Result<RootCertStore, ConfigError> {
        let mut roots = RootCertStore::empty();
        if self.uri.scheme() != Some(&Scheme::HTTPS) {
            return Ok(roots);
        }
        match &self.authorities {
            Some(pem) => {
                for certificate in CertificateDer::pem_slice_iter(pem) {
                    let certificate = certificate.map_err(|_| ConfigError::Authorities)?;
                    roots.add(certificate).map_err(|_| ConfigError::Authorities)?;
                }
            }
            // One that cannot be read among many is none of ours.
            None => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        if roots.is_empty() { Err(ConfigError::Authorities) } else { Ok(roots) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HttpEndpoint;

    fn refused(config: HttpEndpointConfig) -> ConfigError {
        HttpEndpoint::new(config).unwrap_err()
    }

    #[test]
    fn what_cannot_work_is_refused() {
        for url in
            ["", "/path", "example.net", "ftp://example.net/", "http://", "https:///x", "a b"]
        {
            let config = HttpEndpointConfig::new(url);
            assert_eq!(refused(config), ConfigError::Url(url.to_owned()), "{url}");
        }
        let config = || HttpEndpointConfig::new("http://127.0.0.1/");
        assert_eq!(refused(config().header("a b", "c")), ConfigError::Header("a b".into()));
        assert_eq!(refused(config().header("a", "\n")), ConfigError::Header("a".into()));
        assert_eq!(refused(config().timeout(Duration::ZERO)), ConfigError::Zero("timeout"));
        assert_eq!(refused(config().answer_bytes_max(0)), ConfigError::Zero("answer_bytes_max"));
        let tls = HttpEndpointConfig::new("https://127.0.0.1/");
        assert_eq!(refused(tls.authorities(b"none")), ConfigError::Authorities);
        assert!(HttpEndpoint::new(config()).is_ok());
    }

    #[test]
    fn credentials_are_never_printed() {
        let config = HttpEndpointConfig::new("http://user:secret1@host/secret2?key=secret3")
            .header("authorization", "Bearer secret4");
        let endpoint = HttpEndpoint::new(config).unwrap();
        let shown = format!("{endpoint:?}");
        assert!(shown.contains("authorization") && !shown.contains("secret"), "{shown}");
    }
}
