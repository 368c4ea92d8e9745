//! Why a store could not be opened.

use std::io;
use std::path::Path;

/// Why a store could not be opened. Each message is one line that says what to do; nothing on disk
/// was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process has the store open.
    #[error(
        "{directory}: another process has this store open; stop it, or choose another directory"
    )]
    Locked {
        /// The store's directory.
        directory: String,
    },
    /// The directory cannot be used: permissions, a read-only file system, a failing disk.
    #[error("{path}: {source}; the store needs a directory it can read and write")]
    Io {
        /// What could not be used.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// There is no room for the store's files.
    #[error("{path}: the disk is full; make room for at least {needed} bytes and open it again")]
    Full {
        /// What could not be written.
        path: String,
        /// How much is needed at the least.
        needed: u64,
    },
    /// The files were written by a later version of this program.
    #[error(
        "{path}: written in format {found}, this program knows format {known}; use the program that \
         wrote it, or a later one"
    )]
    Newer {
        /// The file that says so.
        path: String,
        /// Its format.
        found: u32,
        /// The latest format this program knows.
        known: u32,
    },
    /// There are files, and they are not a store's.
    #[error("{directory}: not empty, and not a store; choose an empty directory")]
    NotAStore {
        /// The directory.
        directory: String,
    },
    /// A file says something that was never written to it.
    #[error(
        "{path}: damaged ({what}); put back a copy of the whole directory, or see \"Damaged files\" \
         in docs/durability.md"
    )]
    Damaged {
        /// The damaged file.
        path: String,
        /// Where and how.
        what: String,
    },
}

impl OpenError {
    pub(crate) fn io(path: impl AsRef<Path>, source: io::Error) -> Self {
        let path = path.as_ref().display().to_string();
        match source.kind() {
            io::ErrorKind::InvalidData => Self::Damaged { path, what: source.to_string() },
            _ => Self::Io { path, source },
        }
    }

    pub(crate) fn damaged(path: impl Into<String>, what: impl Into<String>) -> Self {
        Self::Damaged { path: path.into(), what: what.into() }
    }
}
