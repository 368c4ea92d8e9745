//! Folders of back ends, beside those of devices.

use std::fmt;
use std::sync::Arc;

use super::name::{BLOB_NAME_BYTES_MAX, BlobName, BlobNameError, check};

/// What the names of back ends' files begin with, where those of devices have their device's id. No
/// id has a tilde.
pub const SERVICE: &str = "~service";

/// Longest part of a folder's name between two slashes, in characters.
pub const FOLDER_SEGMENT_MAX: usize = 63;

/// A folder of back ends' files: [`SERVICE`], or a folder in it.
///
/// Its parts are letters, digits, hyphens, underscores and dots, so that it stands in a URL as it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobFolder(Arc<str>);

impl BlobFolder {
    /// The folder that all others are in.
    #[must_use]
    pub fn root() -> Self {
        Self(SERVICE.into())
    }

    /// The folder of this name in the root; of an empty name, the root.
    ///
    /// # Errors
    /// [`BlobNameError`] says what about the name is not allowed.
    pub fn new(name: &str) -> Result<Self, BlobNameError> {
        if name.is_empty() {
            return Ok(Self::root());
        }
        let whole = format!("{SERVICE}/{name}");
        check(&whole)?;
        let plain = |c: &char| c.is_ascii_alphanumeric() || "-_.".contains(*c);
        if let Some(c) = name.chars().find(|c| *c != '/' && !plain(c)) {
            return Err(BlobNameError::Character(c));
        }
        if let Some(long) = name.split('/').find(|segment| segment.len() > FOLDER_SEGMENT_MAX) {
            return Err(BlobNameError::SegmentLength(long.len()));
        }
        // Room for the names of files in it.
        if whole.len() > BLOB_NAME_BYTES_MAX / 2 {
            return Err(BlobNameError::Length(whole.len()));
        }
        Ok(Self(whole.into()))
    }

    /// Parses what [`BlobFolder::as_str`] gave. `None` if it is the name of no folder of back ends.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix(SERVICE)?.strip_prefix('/') {
            None => (text == SERVICE).then(Self::root),
            Some("") => None,
            Some(name) => Self::new(name).ok(),
        }
    }

    /// The whole name, beginning with [`SERVICE`].
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// How many parts the name has, [`SERVICE`] counted.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.0.split('/').count()
    }

    /// The file of this name in the folder.
    ///
    /// # Errors
    /// [`BlobNameError`] says what about the name is not allowed.
    pub fn blob(&self, name: &str) -> Result<BlobName, BlobNameError> {
        BlobName::parse(&format!("{}/{name}", self.0))
    }
}

impl fmt::Display for BlobFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the address of a folder has to prove before the hub uses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FolderProof {
    /// The right to read and write there, signed into it. Stores that sign no such addresses ask for
    /// nothing.
    Signature,
    /// Nothing: whoever asks may use the hub's own credentials.
    Hub,
}

/// The URL of a folder, with the right to use it in its query if it has one.
///
/// It never prints its query; [`FolderAddress::as_str`] is the way to see it.
#[derive(Clone, PartialEq, Eq)]
pub struct FolderAddress(String);

impl FolderAddress {
    /// The whole URL. Reveals the right.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The URL without its query: where the folder is, and no right to it.
    #[must_use]
    pub fn without_right(&self) -> &str {
        self.0.split('?').next().unwrap_or("")
    }
}

impl From<String> for FolderAddress {
    fn from(url: String) -> Self {
        Self(url)
    }
}

impl From<&str> for FolderAddress {
    fn from(url: &str) -> Self {
        Self(url.to_owned())
    }
}

/// Never prints the right (T7).
impl fmt::Debug for FolderAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FolderAddress(\"{}?...\")", self.without_right())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_stands_below_those_of_back_ends() {
        let folder = BlobFolder::new("backup/2026-11").unwrap();
        assert_eq!((folder.as_str(), folder.depth()), ("~service/backup/2026-11", 3));
        assert_eq!(
            folder.blob("devices.txt").unwrap().as_str(),
            "~service/backup/2026-11/devices.txt"
        );
        assert_eq!(BlobFolder::parse(folder.as_str()), Some(folder));
        assert_eq!(BlobFolder::new(""), Ok(BlobFolder::root()));
        assert_eq!(BlobFolder::parse("~service"), Some(BlobFolder::root()));
        assert!(BlobFolder::root().blob("a b/c").is_ok());
    }

    #[test]
    fn names_that_lead_elsewhere_or_need_escapes_are_refused() {
        for name in ["/", "a/", "/a", "a//b", "..", "a/../b", "a b", "a%2e", "é", "a?b", "a#b"] {
            assert!(BlobFolder::new(name).is_err(), "{name}");
        }
        assert!(BlobFolder::new(&"x".repeat(64)).is_err());
        assert!(BlobFolder::new(&"x/".repeat(300)).is_err());
        for text in ["", "d1/a", "~service/", "~servicex", "~service/../d1"] {
            assert_eq!(BlobFolder::parse(text), None, "{text}");
        }
        assert!(BlobFolder::root().blob("../d1/a").is_err());
    }

    #[test]
    fn an_address_prints_without_its_right() {
        let address = FolderAddress::from("https://h/uploads/~service?sig=secret");
        assert_eq!(address.without_right(), "https://h/uploads/~service");
        assert_eq!(format!("{address:?}"), "FolderAddress(\"https://h/uploads/~service?...\")");
    }
}
