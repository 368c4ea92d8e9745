//! What goes wrong, and what it takes to make it go wrong.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::ValueEnum;

/// A fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Fault {
    /// SIGKILL while it works, and a new start on the same data.
    Kill,
    /// SIGKILL while it works, and again while it starts.
    KillStarting,
    /// SIGTERM, and a new start on the same data.
    Terminate,
    /// The process stands still for up to a second.
    Freeze,
    /// The disk is full for up to two seconds; every other time the process is killed meanwhile.
    Fill,
    /// All processes of PostgreSQL are killed, and it is started again.
    Postgres,
    /// All connections to PostgreSQL end.
    Cut,
    /// Nothing passes between the hub and PostgreSQL for up to three seconds.
    Stall,
}

impl Fault {
    /// Whether it takes a PostgreSQL of the run's own.
    pub(crate) fn is_of_postgres(self) -> bool {
        matches!(self, Self::Postgres | Self::Cut | Self::Stall)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kill => "kills",
            Self::KillStarting => "kills while starting",
            Self::Terminate => "terminations",
            Self::Freeze => "freezes",
            Self::Fill => "full disks",
            Self::Postgres => "kills of PostgreSQL",
            Self::Cut => "cut connections",
            Self::Stall => "stalled connections",
        })
    }
}

/// A small file system of its own. Gone when dropped.
#[derive(Debug)]
pub(crate) struct Mount {
    path: PathBuf,
}

impl Mount {
    /// Mounts so many MiB of memory at a new folder. Takes the right to do so.
    pub(crate) fn new(path: &Path, mib: u64) -> io::Result<Self> {
        fs::create_dir_all(path)?;
        let size = format!("size={mib}m");
        let mut mount = Command::new("mount");
        let done = mount.args(["-t", "tmpfs", "-o", &size, "crash"]).arg(path).output()?;
        match done.status.success() {
            true => Ok(Self { path: path.to_owned() }),
            false => Err(io::Error::other(String::from_utf8_lossy(&done.stderr).trim().to_owned())),
        }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Nothing can be done about it: the run is over.
        drop(Command::new("umount").arg("--lazy").arg(&self.path).output());
    }
}

/// A file that takes all the room there is.
#[derive(Debug)]
pub(crate) struct Ballast {
    path: PathBuf,
}

impl Ballast {
    /// Takes all room of the file system on which a folder lies.
    pub(crate) fn new(folder: &Path) -> io::Result<Self> {
        let ballast = Self { path: folder.join("ballast") };
        let mut file = File::create(&ballast.path)?;
        for piece in [1 << 20, 1 << 12] {
            let zeros = vec![0; piece];
            loop {
                match file.write_all(&zeros) {
                    Ok(()) => {}
                    Err(error) if error.kind() == io::ErrorKind::StorageFull => break,
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(ballast)
    }
}

impl Drop for Ballast {
    fn drop(&mut self) {
        // A run that goes on with a full disk does not settle, and says so.
        drop(fs::remove_file(&self.path));
    }
}
