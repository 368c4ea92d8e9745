//! Files of an IoT hub's devices and back ends in a directory.
//!
//! [`BlobDirectory`] is a [`BlobStore`](hub_core::BlobStore) that keeps what devices upload in a
//! directory, each file under its name. Its [`router`](BlobDirectory::router) speaks the part of Azure
//! Blob Storage's REST API that the stock SDKs upload and download with; an application plugs it into
//! `HttpTransport::routes`, or into a server of its own.
//!
//! ```
//! use hub_blob_directory::{BlobDirectory, BlobDirectoryConfig};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = std::env::temp_dir().join(format!("hub-blob-directory-{}", std::process::id()));
//! let files = BlobDirectory::open(&dir, BlobDirectoryConfig::new("https://hub.example"))?;
//! let router = files.router();
//! # drop(router);
//! # std::fs::remove_dir_all(dir)?;
//! # Ok(())
//! # }
//! ```
//!
//! # What to know
//!
//! - A file comes to its place by a rename, when all of it is on stable storage: readers see the old one
//!   or the new one, and a client that is told "created" need not fear a crash.
//! - Bodies go to the disk as they come; a request holds half a mebibyte of them at most, whatever its
//!   size.
//! - The signature of an address names one file, what may be done, and until when. It is the service
//!   signature of Azure Storage, so that whoever has [`BlobDirectory::key`] can make others with any
//!   storage SDK. That of a folder of back ends is for all that is in it (`sr=d`).
//! - Names are the file system's: a name that is a folder of other files cannot be a file, and on a file
//!   system that ignores case two names may be one.
//! - Every wait and every size has a bound: [`BlobDirectoryConfig`].

mod config;
mod directory;
mod disk;
mod properties;
mod query;
mod reader;
mod sas;
mod serve;
mod writer;

pub use self::config::{BlobDirectoryConfig, OpenError};
pub use self::directory::BlobDirectory;
