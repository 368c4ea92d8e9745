//! A simulated world: a disk and a tree in memory that lose power at any step, fail single
//! operations, run full, and after a crash have of what was not synced whatever a die says.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use hub_core::conformance::store::Random;

use super::{Disk, File};

/// Power loss works on pieces of this size: a disk writes a sector or does not.
const SECTOR: usize = 512;

/// What goes wrong, by the number of the operation. Counted are operations that change something:
/// writes, syncs, and changes of names, of the disk and of the tree.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faults {
    /// From this operation on, nothing works any more; the operation itself may leave a part.
    pub(crate) power_lost_at: Option<u64>,
    /// This operation fails, once.
    pub(crate) fails_at: Option<u64>,
    /// This sync of a file fails, once. Syncs are counted by themselves.
    pub(crate) sync_fails_at: Option<u64>,
    /// Files may have so many bytes together.
    pub(crate) bytes_max: Option<usize>,
    /// The tree takes no writes.
    pub(crate) tree_fails: bool,
}

/// What operations have in common.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) operations: u64,
    pub(crate) syncs: u64,
    pub(crate) faults: Faults,
    /// What the operations were, for messages.
    pub(crate) last: String,
    inodes: Vec<Inode>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    /// Changes of names that are not durable.
    renamings: Vec<BTreeMap<String, usize>>,
}

#[derive(Debug, Default, Clone)]
struct Inode {
    durable: Vec<u8>,
    now: Vec<u8>,
    unsynced: Vec<(usize, Vec<u8>)>,
}

/// The disk of a world.
#[derive(Debug, Clone, Default)]
pub(crate) struct SimDisk(pub(crate) Arc<Mutex<World>>);

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    inode: usize,
}

fn dead() -> io::Error {
    io::Error::other("the power is lost")
}

impl World {
    /// Counts an operation; an error if it is to fail.
    pub(crate) fn step(&mut self, what: impl FnOnce() -> String) -> io::Result<()> {
        self.operations += 1;
        let now = self.operations;
        if self.faults.power_lost_at.is_some_and(|at| now > at) {
            return Err(dead());
        }
        self.last = what();
        if self.faults.fails_at == Some(now) {
            return Err(io::Error::other("injected: the operation failed"));
        }
        Ok(())
    }

    /// Whether the power goes with the operation that was counted last.
    pub(crate) fn is_last(&self) -> bool {
        self.faults.power_lost_at == Some(self.operations)
    }

    fn rename(&mut self, change: impl FnOnce(&mut BTreeMap<String, usize>)) {
        change(&mut self.names);
        self.renamings.push(self.names.clone());
    }
}

impl SimDisk {
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap()
    }

    /// The disk after the power came back.
    pub(crate) fn after_power_loss(&self, random: &mut Random) -> Self {
        let world = self.world();
        // Changes of names reach the disk in order.
        let kept = random.below(world.renamings.len() as u64 + 1) as usize;
        let names = match kept.checked_sub(1) {
            Some(last) => world.renamings[last].clone(),
            None => world.durable_names.clone(),
        };
        let inodes = world.inodes.iter().map(|inode| lose(inode, random)).collect();
        let durable_names = names.clone();
        Self(Arc::new(Mutex::new(World { inodes, names, durable_names, ..World::default() })))
    }

    /// The disk after the process was killed: what it wrote is there, synced or not. The process may
    /// go on with its own.
    pub(crate) fn after_kill(&self) -> Self {
        let world = self.world();
        Self(Arc::new(Mutex::new(World {
            inodes: world.inodes.clone(),
            names: world.names.clone(),
            durable_names: world.durable_names.clone(),
            renamings: world.renamings.clone(),
            ..World::default()
        })))
    }

    /// The content of a file, to be changed.
    #[cfg(test)]
    pub(crate) fn with_bytes<T>(&self, name: &str, change: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let world = &mut *self.world();
        let inode = &mut world.inodes[world.names[name]];
        let result = change(&mut inode.now);
        inode.durable.clone_from(&inode.now);
        result
    }
}

/// Each sector of each write that was not synced is there or is not.
fn lose(inode: &Inode, random: &mut Random) -> Inode {
    let mut bytes = inode.durable.clone();
    let all = random.percent(20);
    for (offset, written) in &inode.unsynced {
        let mut at = 0;
        while at < written.len() {
            let end = (at + SECTOR - (offset + at) % SECTOR).min(written.len());
            if all || random.percent(50) {
                put(&mut bytes, offset + at, &written[at..end]);
            }
            at = end;
        }
    }
    Inode { durable: bytes.clone(), now: bytes, unsynced: Vec::new() }
}

fn put(bytes: &mut Vec<u8>, offset: usize, written: &[u8]) {
    let end = offset + written.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(written);
}

impl Disk for SimDisk {
    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let inode = *self.world().names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(SimFile { disk: self.clone(), inode }))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let mut world = self.world();
        world.step(|| format!("create {name}"))?;
        let inode = world.inodes.len();
        world.inodes.push(Inode::default());
        world.rename(|names| {
            names.insert(name.into(), inode);
        });
        Ok(Arc::new(SimFile { disk: self.clone(), inode }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut world = self.world();
        world.step(|| format!("rename {from} {to}"))?;
        let inode = *world.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        world.rename(|names| {
            names.remove(from);
            names.insert(to.into(), inode);
        });
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut world = self.world();
        world.step(|| format!("remove {name}"))?;
        if !world.names.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        world.rename(|names| {
            names.remove(name);
        });
        Ok(())
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.world().names.keys().cloned().collect())
    }

    fn sync_directory(&self) -> io::Result<()> {
        let world = &mut *self.world();
        world.step(|| "sync names".into())?;
        world.renamings.clear();
        world.durable_names.clone_from(&world.names);
        Ok(())
    }

    fn describe(&self, name: &str) -> String {
        format!("sim/{name}")
    }
}

impl File for SimFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let world = &mut *self.disk.world();
        let used: usize = world.names.values().map(|inode| world.inodes[*inode].now.len()).sum();
        let end = offset as usize + bytes.len();
        let grows = end.saturating_sub(world.inodes[self.inode].now.len());
        if world.faults.bytes_max.is_some_and(|max| grows > 0 && used + grows > max) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let stepped = world.step(|| format!("write {} bytes", bytes.len()));
        let failed_now = stepped.is_err() && world.faults.fails_at == Some(world.operations);
        if stepped.is_ok() || failed_now {
            // One that fails may have written all of it, too.
            let inode = &mut world.inodes[self.inode];
            inode.unsynced.push((offset as usize, bytes.to_vec()));
            put(&mut inode.now, offset as usize, bytes);
        }
        if world.is_last() { Err(dead()) } else { stepped }
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let world = self.disk.world();
        let bytes = &world.inodes[self.inode].now;
        let from = bytes.get(offset as usize..).unwrap_or_default();
        let length = from.len().min(buffer.len());
        buffer[..length].copy_from_slice(&from[..length]);
        Ok(length)
    }

    fn fill(&self, length: u64) -> io::Result<()> {
        super::fill_through(self, length)
    }

    fn sync_data(&self) -> io::Result<()> {
        let world = &mut *self.disk.world();
        // A sync that fails has kept what it could, and nobody knows what that is.
        world.step(|| "sync".into())?;
        world.syncs += 1;
        if world.faults.sync_fails_at == Some(world.syncs) {
            return Err(io::Error::other("injected: the sync failed"));
        }
        if world.is_last() {
            return Err(dead());
        }
        let inode = &mut world.inodes[self.inode];
        inode.unsynced.clear();
        inode.durable.clone_from(&inode.now);
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.disk.world().inodes[self.inode].now.len() as u64)
    }
}
