//! The few file operations that the journal rests on.
//!
//! All files of the journal lie in one directory. The real layer is [`real`]; the tests put a
//! simulated one underneath that fails, tears writes, and forgets what was not synced.

pub(crate) mod real;
#[cfg(any(test, feature = "simulation"))]
#[expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a simulation may panic")]
pub(crate) mod sim;

use std::fmt::Debug;
use std::io;
use std::sync::Arc;

/// A directory of files.
pub(crate) trait Disk: Debug + Send + Sync + 'static {
    /// Opens a file that exists.
    fn open(&self, name: &str) -> io::Result<Arc<dyn File>>;
    /// Makes an empty file, in the place of one that exists.
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>>;
    /// Gives a file another name, in the place of one that has it. Durable after
    /// [`Disk::sync_directory`].
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// The names of all files.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Makes the names durable: what was created, renamed and removed before.
    fn sync_directory(&self) -> io::Result<()>;
    /// How a message names a file.
    fn describe(&self, name: &str) -> String;
}

/// A file that is written and read at places.
pub(crate) trait File: Debug + Send + Sync + 'static {
    /// Writes all bytes.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Reads until the buffer is full or the file ends; how much it was.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes zeros from the beginning on, so that the space is allocated. May pass by the system's
    /// cache, so nothing of the file may have been written before.
    fn fill(&self, length: u64) -> io::Result<()>;
    /// Makes what was written durable.
    fn sync_data(&self) -> io::Result<()>;
    /// How long the file is.
    fn length(&self) -> io::Result<u64>;
}

/// Zeros are written in pieces of this size.
const PIECE: usize = 1 << 20;

/// Writes zeros with `write_at`.
pub(crate) fn fill_through(file: &dyn File, length: u64) -> io::Result<()> {
    let zeros = vec![0; PIECE];
    let mut at = 0;
    while at < length {
        let piece = crate::codec::index(length - at).min(PIECE);
        file.write_at(zeros.get(..piece).unwrap_or_default(), at)?;
        at += crate::codec::long(piece);
    }
    Ok(())
}

/// Reads a whole file.
pub(crate) fn read_all(file: &dyn File) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; crate::codec::index(file.length()?)];
    let length = file.read_at(&mut bytes, 0)?;
    bytes.truncate(length);
    Ok(bytes)
}

/// Puts a small file in place so that after a crash it is there whole or not at all.
pub(crate) fn replace(disk: &dyn Disk, name: &str, bytes: &[u8]) -> io::Result<()> {
    let new = format!("{name}.new");
    let file = disk.create(&new)?;
    file.write_at(bytes, 0)?;
    file.sync_data()?;
    disk.rename(&new, name)?;
    disk.sync_directory()
}
