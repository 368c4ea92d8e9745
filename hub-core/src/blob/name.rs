//! The name of a blob: checked once, so that no adapter has to ask what it may contain.

use std::fmt;
use std::sync::Arc;

use super::folder::SERVICE;
use crate::id::{DeviceId, IdError};

/// Longest name of a blob, in bytes of UTF-8, its device's id and the slash behind it included.
pub const BLOB_NAME_BYTES_MAX: usize = 1024;

/// Longest part of a blob's name between two slashes, in bytes: the longest file name.
pub const BLOB_SEGMENT_BYTES_MAX: usize = 255;

/// Why a text is no name of a blob.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BlobNameError {
    /// Longer than [`BLOB_NAME_BYTES_MAX`].
    #[error(
        "the blob's name has {0} bytes with its device's id, it may have {BLOB_NAME_BYTES_MAX}"
    )]
    Length(usize),
    /// Nothing between two slashes, or at one end.
    #[error("a part of the blob's name is empty")]
    EmptySegment,
    /// `.` or `..`, which would lead to another name.
    #[error("a part of the blob's name is {0:?}")]
    DotSegment(String),
    /// A part longer than [`BLOB_SEGMENT_BYTES_MAX`].
    #[error("a part of the blob's name has {0} bytes, it may have {BLOB_SEGMENT_BYTES_MAX}")]
    SegmentLength(usize),
    /// A control character, or a backslash, which some systems take for a slash.
    #[error("the blob's name has the character {0:?}, which is not allowed")]
    Character(char),
    /// What comes before the first slash is neither a device's id nor [`SERVICE`].
    #[error("the blob's name does not begin with a device's id")]
    Device(#[source] IdError),
}

/// The name of a blob within its container: the id of the device that may write it, a slash, and
/// the name that the device chose, which may have slashes of its own. Files of back ends have
/// [`SERVICE`] instead of a device's id, which is none.
///
/// A name that exists is harmless: it leads nowhere but below its device, or below the folder of back
/// ends, on every file system and in every URL.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobName(Arc<str>);

impl BlobName {
    /// The blob that a device calls `name`.
    ///
    /// # Errors
    /// [`BlobNameError`] says what about the name is not allowed.
    pub fn new(device: &DeviceId, name: &str) -> Result<Self, BlobNameError> {
        let whole = format!("{device}/{name}");
        check(&whole)?;
        Ok(Self(whole.into()))
    }

    /// Parses a whole name, `device/name` or `~service/name`.
    ///
    /// # Errors
    /// [`BlobNameError`] says what about the name is not allowed.
    pub fn parse(text: &str) -> Result<Self, BlobNameError> {
        check(text)?;
        let first = text.split_once('/').map_or("", |(first, _)| first);
        if first != SERVICE {
            DeviceId::new(first).map_err(BlobNameError::Device)?;
        }
        Ok(Self(text.into()))
    }

    /// Whether it is a file of back ends, and not of a device.
    #[must_use]
    pub fn is_of_service(&self) -> bool {
        self.device_str() == SERVICE
    }

    /// The whole name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id of the device as text, or [`SERVICE`].
    #[must_use]
    pub fn device_str(&self) -> &str {
        self.0.split_once('/').map_or(&self.0, |(device, _)| device)
    }

    /// The parts between the slashes. There are two at least.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }
}

pub(super) fn check(name: &str) -> Result<(), BlobNameError> {
    if name.len() > BLOB_NAME_BYTES_MAX {
        return Err(BlobNameError::Length(name.len()));
    }
    if let Some(c) = name.chars().find(|c| c.is_control() || *c == '\\') {
        return Err(BlobNameError::Character(c));
    }
    for segment in name.split('/') {
        match segment {
            "" => return Err(BlobNameError::EmptySegment),
            "." | ".." => return Err(BlobNameError::DotSegment(segment.to_owned())),
            long if long.len() > BLOB_SEGMENT_BYTES_MAX => {
                return Err(BlobNameError::SegmentLength(long.len()));
            }
            _ => {}
        }
    }
    Ok(())
}

impl fmt::Display for BlobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for BlobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(device: &str, name: &str) -> Result<String, BlobNameError> {
        BlobName::new(&DeviceId::new(device).unwrap(), name).map(|name| name.to_string())
    }

    #[test]
    fn a_name_stands_below_its_device() {
        assert_eq!(of("d1", "a b/é+%2F.txt").unwrap(), "d1/a b/é+%2F.txt");
        assert_eq!(of("a.b", "...").unwrap(), "a.b/...");
        let name = BlobName::parse("d1/a/b").unwrap();
        assert_eq!((name.device_str(), name.segments().count()), ("d1", 3));
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for name in ["", "/a", "a//b", "a/"] {
            assert_eq!(of("d1", name), Err(BlobNameError::EmptySegment), "{name}");
        }
        for name in ["..", ".", "../d2/a", "a/../../d2/a", "a/.", "a/.."] {
            assert!(matches!(of("d1", name), Err(BlobNameError::DotSegment(_))), "{name}");
        }
        for name in ["a\\..\\b", "a\0", "a\nb", "\u{7f}", "\u{85}"] {
            assert!(matches!(of("d1", name), Err(BlobNameError::Character(_))), "{name:?}");
        }
        // Ids have dots in their alphabet.
        assert!(matches!(of("..", "a"), Err(BlobNameError::DotSegment(_))));
        assert!(matches!(of(".", "a"), Err(BlobNameError::DotSegment(_))));
        for name in ["a", "", "d 1/a", "/a/b", "~service", "~other/a", "~service/../d1/a"] {
            assert!(BlobName::parse(name).is_err(), "{name}");
        }
    }

    #[test]
    fn files_of_back_ends_are_those_of_no_device() {
        assert!(BlobName::parse("~service/a").unwrap().is_of_service());
        assert!(!BlobName::parse("service/a").unwrap().is_of_service());
        assert!(DeviceId::new(SERVICE).is_err());
    }

    #[test]
    fn names_and_their_parts_have_a_longest() {
        assert!(of("d1", &"x".repeat(255)).is_ok());
        assert_eq!(of("d1", &"é".repeat(128)), Err(BlobNameError::SegmentLength(256)));
        let long = "x/".repeat(510);
        assert!(of("d1", &format!("{long}x")).is_ok());
        assert_eq!(of("d1", &format!("{long}xx")), Err(BlobNameError::Length(1025)));
    }
}
