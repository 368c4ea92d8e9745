//! When a store cannot do what it was asked.

use std::fmt;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// What the caller may do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// Nothing happened; try again later.
    Unavailable,
    /// It may have happened; ask again with the same batch id.
    Unknown,
    /// Stop using this store.
    Fatal,
}

impl fmt::Display for StoreErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unavailable => "unavailable",
            Self::Unknown => "outcome unknown",
            Self::Fatal => "fatal",
        })
    }
}

/// Why a store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[error("store {operation} failed: {kind}")]
pub struct StoreError {
    kind: StoreErrorKind,
    operation: &'static str,
    #[source]
    source: Option<Source>,
}

impl StoreError {
    /// Nothing happened; try again later.
    pub fn unavailable(operation: &'static str, source: impl Into<Source>) -> Self {
        Self { kind: StoreErrorKind::Unavailable, operation, source: Some(source.into()) }
    }

    /// It may have happened; ask again with the same batch id.
    pub fn unknown(operation: &'static str, source: impl Into<Source>) -> Self {
        Self { kind: StoreErrorKind::Unknown, operation, source: Some(source.into()) }
    }

    /// Stop using this store.
    pub fn fatal(operation: &'static str, source: impl Into<Source>) -> Self {
        Self { kind: StoreErrorKind::Fatal, operation, source: Some(source.into()) }
    }

    /// What the caller may do about it.
    #[must_use]
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }

    /// What was asked: `commit`, `claim`, …
    #[must_use]
    pub fn operation(&self) -> &'static str {
        self.operation
    }
}
