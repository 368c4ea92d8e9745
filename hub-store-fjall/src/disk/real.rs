//! The file layer of the operating system.

use std::fs;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Disk, File, fill_through};

/// A directory of the file system.
#[derive(Debug)]
pub(crate) struct RealDisk {
    path: PathBuf,
    directory: fs::File,
}

impl RealDisk {
    pub(crate) fn new(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), directory: fs::File::open(path)? })
    }
}

impl Disk for RealDisk {
    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let file = fs::File::options().read(true).write(true).open(self.path.join(name))?;
        Ok(Arc::new(RealFile { file, path: self.path.join(name) }))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let mut options = fs::File::options();
        options.read(true).write(true).create(true).truncate(true);
        let path = self.path.join(name);
        Ok(Arc::new(RealFile { file: options.open(&path)?, path }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if entry.file_type()?.is_file()
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.directory.sync_all()
    }

    fn describe(&self, name: &str) -> String {
        self.path.join(name).display().to_string()
    }
}

#[derive(Debug)]
struct RealFile {
    file: fs::File,
    path: PathBuf,
}

impl File for RealFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, offset.saturating_add(crate::codec::long(filled))) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn fill(&self, length: u64) -> io::Result<()> {
        match fill_directly(&self.path, length) {
            // Not every file system can do that.
            Err(error) if error.kind() != io::ErrorKind::StorageFull => fill_through(self, length),
            done => done,
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }
}

/// Tells the system to pass by its cache. Through the cache, the zeros of a segment would cost half
/// as much processor time as everything else that the store does for the messages that fill it.
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "x86")))]
const DIRECT: Option<i32> = Some(0o40000);
#[cfg(all(target_os = "linux", any(target_arch = "aarch64", target_arch = "arm")))]
const DIRECT: Option<i32> = Some(0o200_000);
#[cfg(not(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "x86", target_arch = "aarch64", target_arch = "arm")
)))]
const DIRECT: Option<i32> = None;

/// What direct writes have to be aligned to, in memory, in the file, and in length.
const ALIGNED: usize = 4096;
const PIECE: usize = 1 << 20;

fn fill_directly(path: &Path, length: u64) -> io::Result<()> {
    let unsupported = || io::Error::from(io::ErrorKind::Unsupported);
    let flag = DIRECT.ok_or_else(unsupported)?;
    if !length.is_multiple_of(crate::codec::long(ALIGNED)) {
        return Err(unsupported());
    }
    let file = fs::File::options().write(true).custom_flags(flag).open(path)?;
    let memory = vec![0; PIECE + ALIGNED];
    let start = memory.as_ptr().align_offset(ALIGNED);
    let mut at = 0;
    while at < length {
        let piece = crate::codec::index(length - at).min(PIECE);
        let zeros = memory.get(start..start.saturating_add(piece)).ok_or_else(unsupported)?;
        file.write_all_at(zeros, at)?;
        at += crate::codec::long(piece);
    }
    Ok(())
}
