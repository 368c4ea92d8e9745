//! A tree in memory that promises no more than the contract of [`Tree`]: of what was not synced, a
//! crash leaves any part.

use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use hub_core::conformance::store::Random;

use super::{Space, Tree, Write};
use crate::disk::sim::SimDisk;

type Rows = BTreeMap<(Space, Vec<u8>), Vec<u8>>;

/// A tree that loses power together with a disk.
#[derive(Debug, Clone)]
pub(crate) struct SimTree {
    disk: SimDisk,
    rows: Arc<Mutex<(Rows, Rows, Vec<Write>)>>,
}

fn apply(rows: &mut Rows, (space, key, value): Write) {
    match value {
        Some(value) => rows.insert((space, key), value),
        None => rows.remove(&(space, key)),
    };
}

impl SimTree {
    pub(crate) fn new(disk: &SimDisk) -> Self {
        Self { disk: disk.clone(), rows: Arc::default() }
    }

    /// The tree after the power came back.
    pub(crate) fn after_power_loss(&self, disk: &SimDisk, random: &mut Random) -> Self {
        let (mut durable, _, unsynced) = self.rows.lock().unwrap().clone();
        let all = random.percent(20);
        for write in unsynced {
            if all || random.percent(50) {
                apply(&mut durable, write);
            }
        }
        let rows = Arc::new(Mutex::new((durable.clone(), durable, Vec::new())));
        Self { disk: disk.clone(), rows }
    }

    /// The tree after the process was killed.
    pub(crate) fn after_kill(&self, disk: &SimDisk) -> Self {
        let rows = self.rows.lock().unwrap().clone();
        Self { disk: disk.clone(), rows: Arc::new(Mutex::new(rows)) }
    }

    fn step(&self, what: &'static str) -> io::Result<()> {
        let mut world = self.disk.world();
        world.step(|| what.into())?;
        if world.faults.tree_fails {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

impl Tree for SimTree {
    fn get(&self, space: Space, key: &[u8]) -> io::Result<Option<Bytes>> {
        let rows = &self.rows.lock().unwrap().1;
        Ok(rows.get(&(space, key.to_vec())).cloned().map(Bytes::from))
    }

    fn after(
        &self,
        space: Space,
        key: Option<&[u8]>,
        limit: usize,
    ) -> io::Result<Vec<(Vec<u8>, Bytes)>> {
        let rows = &self.rows.lock().unwrap().1;
        let from = match key {
            Some(key) => Bound::Excluded((space, key.to_vec())),
            None => Bound::Included((space, Vec::new())),
        };
        let range = rows.range((from, Bound::Unbounded)).take_while(|((of, _), _)| *of == space);
        let rows = range.map(|((_, key), value)| (key.clone(), value.clone().into()));
        Ok(rows.take(limit).collect())
    }

    fn write(&self, writes: Vec<Write>) -> io::Result<()> {
        let stepped = self.step("tree write");
        if stepped.is_ok() || self.disk.world().is_last() {
            let (_, now, unsynced) = &mut *self.rows.lock().unwrap();
            for write in writes {
                apply(now, write.clone());
                unsynced.push(write);
            }
        }
        stepped
    }

    fn sync(&self) -> io::Result<()> {
        self.step("tree sync")?;
        if self.disk.world().is_last() {
            return Err(io::Error::other("the power is lost"));
        }
        let (durable, now, unsynced) = &mut *self.rows.lock().unwrap();
        durable.clone_from(now);
        unsynced.clear();
        Ok(())
    }

    fn revive(&self) -> io::Result<()> {
        self.step("tree opened again")
    }

    fn close(&self) {}
}
