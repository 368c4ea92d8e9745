//! When a store of files cannot do what it was asked.

use std::fmt;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// What the caller may do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BlobErrorKind {
    /// There is no such blob.
    NotFound,
    /// The store cannot be reached, or has no room; try again later.
    Unavailable,
    /// The store refuses the hub's credentials or settings; somebody has to change them.
    Refused,
}

impl fmt::Display for BlobErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotFound => "no such blob",
            Self::Unavailable => "unavailable",
            Self::Refused => "refused",
        })
    }
}

/// Why a store of files could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[error("blob store {operation} failed: {kind}")]
pub struct BlobError {
    kind: BlobErrorKind,
    operation: &'static str,
    #[source]
    source: Option<Source>,
}

impl BlobError {
    /// There is no such blob.
    #[must_use]
    pub fn not_found(operation: &'static str) -> Self {
        Self { kind: BlobErrorKind::NotFound, operation, source: None }
    }

    /// Try again later.
    pub fn unavailable(operation: &'static str, source: impl Into<Source>) -> Self {
        Self { kind: BlobErrorKind::Unavailable, operation, source: Some(source.into()) }
    }

    /// Somebody has to change the settings.
    pub fn refused(operation: &'static str, source: impl Into<Source>) -> Self {
        Self { kind: BlobErrorKind::Refused, operation, source: Some(source.into()) }
    }

    /// What the caller may do about it.
    #[must_use]
    pub fn kind(&self) -> BlobErrorKind {
        self.kind
    }

    /// What was asked: `stat`, `read`, …
    #[must_use]
    pub fn operation(&self) -> &'static str {
        self.operation
    }
}
