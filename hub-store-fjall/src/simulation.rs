//! A store on a simulated disk: for tests of what stands on a store, when the power goes.
//!
//! Only with the feature `simulation`. A [`Machine`] is a disk in memory, and a tree in memory in the
//! place of fjall, which promise no more than real ones do: of what was not synced when the power
//! went, each sector and each row is there or is not, by a die. The store on it has its real threads,
//! so a seed repeats what the disk does, and not in which order threads run.

use std::sync::Arc;

use hub_core::conformance::store::Random;

use crate::config::FileStoreConfig;
use crate::disk::Disk;
use crate::disk::sim::SimDisk;
use crate::error::OpenError;
use crate::format::identify;
use crate::store::FileStore;
use crate::tree::sim::SimTree;

/// A machine whose disk fails on purpose.
#[derive(Debug, Clone)]
pub struct Machine {
    disk: SimDisk,
    tree: SimTree,
}

impl Default for Machine {
    fn default() -> Self {
        let disk = SimDisk::default();
        let tree = SimTree::new(&disk);
        Self { disk, tree }
    }
}

impl Machine {
    /// A machine with an empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens the store on its disk.
    ///
    /// # Errors
    /// As [`FileStore::open`]; and when the power goes meanwhile.
    pub fn open(&self, config: &FileStoreConfig) -> Result<FileStore, OpenError> {
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let store = identify(&*disk, "simulated")?;
        FileStore::over(disk, Arc::new(self.tree.clone()), store, config, Box::new(()))
    }

    /// The power goes with the operation of this number, which may leave a part of its effect. Counted
    /// from 1 are operations that change something, by this machine.
    pub fn lose_power_at(&self, operation: u64) {
        self.disk.world().faults.power_lost_at = Some(operation);
    }

    /// The operation of this number fails, once; a write that fails may have written all of it.
    pub fn fail_at(&self, operation: u64) {
        self.disk.world().faults.fails_at = Some(operation);
    }

    /// The sync of this number fails, once: whether anything written before it is durable is not known.
    /// Counted from 1 are syncs of files.
    pub fn fail_sync_at(&self, sync: u64) {
        self.disk.world().faults.sync_fails_at = Some(sync);
    }

    /// How many operations there were.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.disk.world().operations
    }

    /// Whether the power is lost.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        let world = self.disk.world();
        world.faults.power_lost_at.is_some_and(|at| world.operations >= at)
    }

    /// The operation that came last before the power was lost, in words.
    #[must_use]
    pub fn last_operation(&self) -> String {
        self.disk.world().last.clone()
    }

    /// The machine when the power is back, without faults. For a store that is still open on the old one,
    /// nothing works from then on.
    #[must_use]
    pub fn after_power_loss(&self, seed: u64) -> Self {
        self.freeze();
        let mut random = Random::new(seed);
        let disk = self.disk.after_power_loss(&mut random);
        let tree = self.tree.after_power_loss(&disk, &mut random);
        Self { disk, tree }
    }

    /// The machine after the process was killed: everything written is there, synced or not.
    #[must_use]
    pub fn after_kill(&self) -> Self {
        self.freeze();
        let disk = self.disk.after_kill();
        let tree = self.tree.after_kill(&disk);
        Self { disk, tree }
    }

    /// Stops the machine. Disk and tree are looked at one after the other, and a store that went on
    /// between the two would leave a state that is newer than its journal.
    fn freeze(&self) {
        let world = &mut *self.disk.world();
        let now = world.operations;
        let at = world.faults.power_lost_at.map_or(now, |at| at.min(now));
        world.faults.power_lost_at = Some(at);
    }
}
