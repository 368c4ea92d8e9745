//! Why a document is no record.

use std::borrow::Cow;

use crate::error::HubError;

/// Why a document is no record of an identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// Not JSON, or no object.
    #[error("not a JSON object: {0}")]
    Json(String),
    /// Longer than [`Limits::import_line_bytes_max`](crate::limits::Limits::import_line_bytes_max).
    #[error("the line has more than {0} bytes")]
    TooLong(usize),
    /// A member is missing that has to be there.
    #[error("the item has no {0}")]
    Missing(&'static str),
    /// A member is not what it should be.
    #[error("{0}")]
    Invalid(Cow<'static, str>),
}

impl RecordError {
    /// A member is not what it should be.
    pub fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self::Invalid(message.into())
    }

    /// Its number in the service's list of errors.
    #[must_use]
    pub fn number(&self) -> u32 {
        match self {
            Self::Json(_) => 400_012,
            Self::TooLong(_) => 413_001,
            Self::Missing(_) => 400_005,
            Self::Invalid(_) => 400_004,
        }
    }
}

impl From<RecordError> for HubError {
    fn from(error: RecordError) -> Self {
        Self::argument(error.to_string())
    }
}
