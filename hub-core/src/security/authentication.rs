//! How an identity proves itself: its registered credentials.

use super::key::SymmetricKey;
use super::x509::Thumbprint;
use crate::hello::CredentialMark;

/// The kinds of authentication an identity may be registered for. It has exactly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AuthenticationKind {
    /// Shared access signatures with the identity's own keys.
    Sas,
    /// Certificates named by their thumbprints.
    SelfSigned,
    /// Certificates of a registered authority.
    CertificateAuthority,
    /// None of its own: only shared access policies can speak for it.
    None,
}

impl AuthenticationKind {
    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sas => "sas",
            Self::SelfSigned => "selfSigned",
            Self::CertificateAuthority => "certificateAuthority",
            Self::None => "none",
        }
    }
}

/// The credentials of an identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authentication {
    /// Two symmetric keys, both valid.
    Sas {
        /// The first key.
        primary: SymmetricKey,
        /// The second key, as good as the first.
        secondary: SymmetricKey,
    },
    /// One or two thumbprints of certificates, both valid. Who issued them does not matter.
    SelfSigned {
        /// The first thumbprint.
        primary: Option<Thumbprint>,
        /// The second thumbprint, as good as the first.
        secondary: Option<Thumbprint>,
    },
    /// A certificate whose chain leads to a registered authority and whose subject's common name
    /// is the identity's address.
    CertificateAuthority,
    /// None of its own.
    None,
}

impl Authentication {
    /// Which kind this is.
    #[must_use]
    pub fn kind(&self) -> AuthenticationKind {
        match self {
            Self::Sas { .. } => AuthenticationKind::Sas,
            Self::SelfSigned { .. } => AuthenticationKind::SelfSigned,
            Self::CertificateAuthority => AuthenticationKind::CertificateAuthority,
            Self::None => AuthenticationKind::None,
        }
    }

    /// Whether one of the credentials bears this mark.
    #[must_use]
    pub fn has(&self, mark: CredentialMark) -> bool {
        match self {
            Self::Sas { primary, secondary } => primary.mark() == mark || secondary.mark() == mark,
            Self::SelfSigned { primary, secondary } => {
                [primary, secondary].into_iter().flatten().any(|print| print.mark() == mark)
            }
            Self::CertificateAuthority => super::x509::authority_mark() == mark,
            Self::None => false,
        }
    }
}
