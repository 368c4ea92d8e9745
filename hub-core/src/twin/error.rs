//! Why a twin was not written.

use std::fmt;

use super::document::SectionName;
use crate::error::{ErrorKind, HubError};

/// A refused patch, replacement or condition. The twin is as it was before.
///
/// Paths are JSON paths into the document that was sent: `$.properties.desired.fan.speed[2]` for
/// a service write, `$.fan.speed[2]` for a patch of one section.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TwinError {
    /// The text is not JSON.
    #[error("not valid JSON: {reason}")]
    Json {
        /// What the parser stumbled over, and where.
        reason: String,
    },
    /// A document, `properties` or a section is something else than an object.
    #[error("{path}: must be an object")]
    NotAnObject {
        /// Where.
        path: String,
    },
    /// A property name contains `$`, `.`, a blank or a control character.
    #[error("{path}: name must not contain {character:?}")]
    NameInvalid {
        /// Where.
        path: String,
        /// The first character that is not allowed.
        character: char,
    },
    /// A property name is too long.
    #[error("{path}: name has {bytes} bytes, the limit is {limit}")]
    NameTooLong {
        /// Where; long names are cut.
        path: String,
        /// Length of the name in UTF-8 bytes.
        bytes: usize,
        /// [`Limits::twin_key_bytes_max`](crate::limits::Limits::twin_key_bytes_max).
        limit: usize,
    },
    /// A string value is too long.
    #[error("{path}: string has {bytes} bytes, the limit is {limit}")]
    StringTooLong {
        /// Where.
        path: String,
        /// Length of the string in UTF-8 bytes.
        bytes: usize,
        /// [`Limits::twin_string_bytes_max`](crate::limits::Limits::twin_string_bytes_max).
        limit: usize,
    },
    /// A number written without fraction and exponent lies outside the limits.
    #[error("{path}: integer must be within [{min}; {max}]")]
    IntegerOutOfRange {
        /// Where.
        path: String,
        /// [`Limits::twin_integer_min`](crate::limits::Limits::twin_integer_min).
        min: i64,
        /// [`Limits::twin_integer_max`](crate::limits::Limits::twin_integer_max).
        max: i64,
    },
    /// A number is larger than a double-precision number can be.
    #[error("{path}: number cannot be represented")]
    NumberOutOfRange {
        /// Where.
        path: String,
    },
    /// An object or array is nested too deep.
    #[error("{path}: nested deeper than the limit of {limit} levels")]
    TooDeep {
        /// The first object or array that is too deep.
        path: String,
        /// [`Limits::twin_depth_max`](crate::limits::Limits::twin_depth_max), or
        /// [`DEPTH_CEILING`](super::DEPTH_CEILING) if that is less.
        limit: usize,
    },
    /// There is a null inside an array.
    #[error("{path}: value cannot be null inside an array")]
    NullInArray {
        /// Where.
        path: String,
    },
    /// The section would grow beyond its limit.
    #[error("{section} would have {bytes} bytes, the limit is {limit}")]
    TooLarge {
        /// Which section.
        section: SectionName,
        /// The size it would have, by the documented size function.
        bytes: usize,
        /// Its limit.
        limit: usize,
    },
    /// The write was conditional on an etag that is not the current one.
    #[error("the etag given is not the current one, {current}")]
    EtagMismatch {
        /// The twin's etag.
        current: String,
    },
    /// The report was conditional on a version that is not the current one.
    #[error("the version given is not the current one, {current}")]
    VersionMismatch {
        /// The version of the reported properties.
        current: u64,
    },
}

impl TwinError {
    /// The hub's kind of refusal.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::TooLarge { .. } => ErrorKind::TwinTooLarge,
            Self::EtagMismatch { .. } | Self::VersionMismatch { .. } => {
                ErrorKind::PreconditionFailed
            }
            _ => ErrorKind::ArgumentInvalid,
        }
    }

    pub(super) fn json(error: &serde_json::Error) -> Self {
        Self::Json { reason: error.to_string() }
    }
}

impl From<&TwinError> for HubError {
    fn from(error: &TwinError) -> Self {
        Self::new(error.kind(), error.to_string())
    }
}

impl From<TwinError> for HubError {
    fn from(error: TwinError) -> Self {
        Self::from(&error)
    }
}

/// A stored twin that cannot be read: not written by this hub, or by a newer version of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("stored twin cannot be read: {reason}")]
pub struct DecodeError {
    pub(super) reason: String,
}

impl From<DecodeError> for HubError {
    fn from(error: DecodeError) -> Self {
        Self::new(ErrorKind::Internal, error.to_string())
    }
}

/// Where a walk stands in a document. Lives on the stack; becomes text only in an error.
#[derive(Clone, Copy)]
pub(super) enum Path<'a> {
    Root,
    Name(&'a Path<'a>, &'a str),
    Index(&'a Path<'a>, usize),
}

/// Most characters of one name that an error repeats: names come from peers and may be long.
const NAME_SHOWN_MAX: usize = 64;

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => f.write_str("$"),
            Self::Index(parent, index) => write!(f, "{parent}[{index}]"),
            Self::Name(parent, name) => {
                let plain = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
                let end = name.char_indices().nth(NAME_SHOWN_MAX).map(|(end, _)| end);
                let shown = end.and_then(|end| name.get(..end)).unwrap_or(name);
                let cut = if end.is_some() { "…" } else { "" };
                if !name.is_empty() && shown.chars().all(plain) {
                    write!(f, "{parent}.{shown}{cut}")
                } else {
                    write!(f, "{parent}['{}{cut}']", shown.escape_debug())
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_prints_as_a_json_path_of_bounded_length() {
        let fan = Path::Name(&Path::Root, "fan");
        let third = Path::Index(&fan, 2);
        assert_eq!(Path::Name(&third, "speed").to_string(), "$.fan[2].speed");
        assert_eq!(Path::Name(&fan, "a.b\u{7}").to_string(), "$.fan['a.b\\u{7}']");
        assert_eq!(Path::Name(&fan, "").to_string(), "$.fan['']");
        let long = "é".repeat(1000);
        assert_eq!(
            Path::Name(&Path::Root, &long).to_string(),
            format!("$.{}…", "é".repeat(NAME_SHOWN_MAX))
        );
    }

    #[test]
    fn each_refusal_has_the_hubs_kind() {
        let large = TwinError::TooLarge { section: SectionName::Tags, bytes: 9000, limit: 8192 };
        let error = HubError::from(&large);
        assert_eq!(error.kind(), ErrorKind::TwinTooLarge);
        assert_eq!(error.message(), "tags would have 9000 bytes, the limit is 8192");
        let stale = HubError::from(TwinError::VersionMismatch { current: 7 });
        assert_eq!(stale.kind(), ErrorKind::PreconditionFailed);
        let null = HubError::from(TwinError::NullInArray { path: "$.a[0]".into() });
        assert_eq!(null.kind(), ErrorKind::ArgumentInvalid);
        assert_eq!(null.message(), "$.a[0]: value cannot be null inside an array");
    }
}
