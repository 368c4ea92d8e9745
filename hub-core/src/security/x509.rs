//! Client certificates: what they prove. The transport has checked the handshake and read the
//! certificate; here it is judged.

use std::fmt;
use std::fmt::Write as _;
use std::sync::Arc;

use crate::hello::{CertificateInfo, CredentialMark};
use crate::id::Address;
use crate::time::Timestamp;

/// A text that is no thumbprint: not 40 hex digits (SHA-1) and not 64 (SHA-256).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("thumbprint must be 40 (SHA-1) or 64 (SHA-256) hex digits")]
pub struct ThumbprintError;

/// The SHA-1 or SHA-256 of a certificate, in hex. Compared without regard to case; keeps the
/// case it was given in. Not a secret.
#[derive(Clone)]
pub struct Thumbprint(Arc<str>);

impl Thumbprint {
    /// Parses 40 or 64 hex digits.
    ///
    /// # Errors
    /// [`ThumbprintError`] for anything else.
    pub fn new(text: &str) -> Result<Self, ThumbprintError> {
        let hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !hex || !matches!(text.len(), 40 | 64) {
            return Err(ThumbprintError);
        }
        Ok(Self(text.into()))
    }

    /// The text as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the certificate's.
    #[must_use]
    pub fn matches(&self, certificate: &CertificateInfo) -> bool {
        let digest: &[u8] =
            if self.0.len() == 40 { &certificate.sha1 } else { &certificate.sha256 };
        let mut hex = String::with_capacity(64);
        for byte in digest {
            // Writing to a string cannot fail.
            let _ = write!(hex, "{byte:02x}");
        }
        self.0.eq_ignore_ascii_case(&hex)
    }

    /// A fingerprint that names this thumbprint, in whatever case.
    #[must_use]
    pub fn mark(&self) -> CredentialMark {
        super::key::mark(b"thumbprint", self.0.to_ascii_uppercase().as_bytes())
    }
}

impl PartialEq for Thumbprint {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for Thumbprint {}

impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Thumbprint({})", self.0)
    }
}

/// Whether the certificate is valid now, both ends included. There is no tolerance: the peer's
/// clock plays no part in it.
pub(crate) fn is_current(certificate: &CertificateInfo, now: Timestamp) -> bool {
    certificate.not_before <= now && now <= certificate.not_after
}

/// Whether a registered authority vouches that the certificate is this identity's: the chain
/// leads to one, and the common name is `device` or `device/module`, in exactly this case.
pub(crate) fn is_vouched_for(certificate: &CertificateInfo, address: &Address) -> bool {
    certificate.chains_to_authority && certificate.common_name.as_deref() == Some(address.as_str())
}

/// The mark of a certificate that an authority vouched for: the identity has no credential of
/// its own that could change, only its kind of authentication.
pub(crate) fn authority_mark() -> CredentialMark {
    super::key::mark(b"certificate authority", b"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate() -> CertificateInfo {
        CertificateInfo {
            sha1: [0xab; 20],
            sha256: [0xcd; 32],
            common_name: Some("d1".into()),
            not_before: Timestamp::from_millis(1000),
            not_after: Timestamp::from_millis(2000),
            chains_to_authority: true,
        }
    }

    #[test]
    fn thumbprints_are_either_hash_in_either_case() {
        for (text, want) in [
            ("ab".repeat(20), true),
            ("AB".repeat(20), true),
            ("aB".repeat(20), true),
            ("cd".repeat(32), true),
            ("CD".repeat(32), true),
            ("cd".repeat(20), false),
            ("ab".repeat(32), false),
        ] {
            assert_eq!(Thumbprint::new(&text).unwrap().matches(&certificate()), want, "{text}");
        }
        for bad in ["", &"ab".repeat(21), &"xy".repeat(20), &"é".repeat(20), &"a:".repeat(20)] {
            assert_eq!(Thumbprint::new(bad), Err(ThumbprintError), "{bad}");
        }
        let upper = Thumbprint::new(&"AB".repeat(20)).unwrap();
        let lower = Thumbprint::new(&"ab".repeat(20)).unwrap();
        assert_eq!((upper.mark(), upper.as_str().len()), (lower.mark(), 40));
        assert_eq!(upper, lower);
    }

    #[test]
    fn an_authority_vouches_for_the_common_name() {
        let of = |text: &str| Address::parse(text).unwrap();
        assert!(is_vouched_for(&certificate(), &of("d1")));
        assert!(!is_vouched_for(&certificate(), &of("D1")));
        assert!(!is_vouched_for(&certificate(), &of("d1/m1")), "a device's is not its modules'");
        let module = CertificateInfo { common_name: Some("d1/m1".into()), ..certificate() };
        assert!(is_vouched_for(&module, &of("d1/m1")));
        assert!(!is_vouched_for(&module, &of("d1")));
        let foreign = CertificateInfo { chains_to_authority: false, ..certificate() };
        assert!(!is_vouched_for(&foreign, &of("d1")));
        let nameless = CertificateInfo { common_name: None, ..certificate() };
        assert!(!is_vouched_for(&nameless, &of("d1")));
    }

    #[test]
    fn validity_includes_both_ends() {
        let at = |millis| is_current(&certificate(), Timestamp::from_millis(millis));
        assert_eq!([999, 1000, 2000, 2001].map(at), [false, true, true, false]);
    }
}
