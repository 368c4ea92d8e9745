//! A PostgreSQL server of the run's own, that is killed and started again.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};

/// Makes, starts and removes throwaway servers.
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/postgres");

/// A server. Removed when dropped.
#[derive(Debug)]
pub(crate) struct Postgres {
    /// Where the script keeps what it knows of the server.
    target: PathBuf,
    /// The server's own data.
    data: PathBuf,
    pub(crate) address: SocketAddr,
}

impl Postgres {
    /// Makes a server below a folder, and starts it.
    pub(crate) fn start(folder: &Path) -> io::Result<Self> {
        let target = std::path::absolute(folder)?;
        let url = script(&target, "start")?;
        let state = fs::read_to_string(target.join("postgres").join("started"))?;
        let wrong = || io::Error::other(format!("no server in {state:?}, {url:?}"));
        let folder = state.split_whitespace().next().ok_or_else(wrong)?;
        let address = url.split('@').nth(1).and_then(|rest| rest.split('/').next());
        let address = address.and_then(|text| text.trim().parse().ok()).ok_or_else(wrong)?;
        Ok(Self { data: Path::new(folder).join("data"), target, address })
    }

    /// How a hub is told to use it, through a proxy at this address.
    pub(crate) fn url(through: SocketAddr) -> String {
        format!("postgres://hub@{through}/postgres")
    }

    /// Ends all its processes in the middle of whatever they do.
    pub(crate) fn kill(&self) -> io::Result<()> {
        let text = fs::read_to_string(self.data.join("postmaster.pid"))?;
        let first = text.lines().next().and_then(|line| line.trim().parse::<i32>().ok());
        let first = first.ok_or_else(|| io::Error::other("no process id in postmaster.pid"))?;
        // The first one first, or it would start others in the place of those that end.
        let children = children(first)?;
        for id in std::iter::once(first).chain(children) {
            if let Some(id) = Pid::from_raw(id) {
                // One that has ended already is what was wanted.
                let _ = kill_process(id, Signal::KILL);
            }
        }
        // Those that were begun meanwhile have seen the first one end, and end as well.
        while Path::new(&format!("/proc/{first}/stat")).exists() && !is_zombie(first) {
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        // Where nobody buries the dead, a server would take the old one for alive, and not start.
        fs::remove_file(self.data.join("postmaster.pid"))
    }

    /// Starts it again on the same data, at the same address.
    pub(crate) fn restart(&self) -> io::Result<()> {
        script(&self.target, "restart").map(drop)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        drop(script(&self.target, "stop"));
    }
}

fn script(target: &Path, what: &str) -> io::Result<String> {
    let done = Command::new(SCRIPT).arg(what).env("CARGO_TARGET_DIR", target).output()?;
    match done.status.success() {
        true => Ok(String::from_utf8_lossy(&done.stdout).into_owned()),
        false => {
            let said = String::from_utf8_lossy(&done.stderr).into_owned();
            Err(io::Error::other(format!("scripts/postgres {what}: {said}")))
        }
    }
}

/// The state and the parent of a process.
fn parent(id: i32) -> Option<(String, i32)> {
    let text = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let mut fields = text.rsplit(')').next()?.split_whitespace();
    Some((fields.next()?.to_owned(), fields.next()?.parse().ok()?))
}

fn is_zombie(id: i32) -> bool {
    parent(id).is_some_and(|(state, _)| state == "Z")
}

fn children(of: i32) -> io::Result<Vec<i32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let id = name.to_str().and_then(|name| name.parse().ok());
        found.extend(id.filter(|id| parent(*id).is_some_and(|(_, parent)| parent == of)));
    }
    Ok(found)
}
