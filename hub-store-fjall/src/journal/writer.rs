//! Writing: one group, one append, one sync.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use super::Position;
use super::group::Group;
use super::segment::{DATA, Segment, Wish};
use crate::codec::{index, long};
use crate::disk::Disk;

/// A group is followed by zeros up to the next multiple of this, so that the system need not read the
/// rest of a page from a file that is written over.
const PAGE: u64 = 4096;

/// Whether a group is synced before it counts as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sync {
    Each,
    Never,
}

/// The segment that comes after the one in use.
#[derive(Debug)]
pub(crate) enum Ahead {
    /// Nobody makes it.
    Missing,
    /// It is there, empty.
    Ready(Segment),
    /// Another thread makes it.
    Asked(Receiver<io::Result<Segment>>),
}

/// Why a group was not written.
#[derive(Debug)]
pub(crate) enum WriteError {
    /// Nothing happened.
    Refused(io::Error),
    /// It may be there after a crash, whole or not at all. Nothing may be written any more.
    Unknown(io::Error),
}

/// A group that is durable.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) at: Position,
    pub(crate) bytes: Vec<u8>,
}

/// A segment that is full, and where its groups end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sealed {
    pub(crate) segment: u64,
    pub(crate) end: u64,
    pub(crate) next_group: u64,
}

/// The end of the journal.
#[derive(Debug)]
pub(crate) struct Journal {
    disk: Arc<dyn Disk>,
    store: u128,
    capacity: u64,
    sync: Sync,
    active: Arc<Segment>,
    end: u64,
    /// The number of the next group.
    next: u64,
    pub(crate) ahead: Ahead,
    /// Segments filled since the caller last looked, and the one that is now in use.
    pub(crate) turned: Vec<(Sealed, Arc<Segment>)>,
}

/// A random salt for a segment.
pub(crate) fn salt() -> io::Result<u32> {
    getrandom::u32().map_err(|error| io::Error::other(format!("no random numbers: {error}")))
}

impl Journal {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        store: u128,
        capacity: u64,
        sync: Sync,
        active: Arc<Segment>,
        end: u64,
        next: u64,
    ) -> Self {
        let (ahead, turned) = (Ahead::Missing, Vec::new());
        Self { disk, store, capacity, sync, active, end, next, ahead, turned }
    }

    /// Where the next group goes, if it fits there.
    pub(crate) fn position(&self) -> Position {
        Position { segment: self.active.number, offset: self.end }
    }

    pub(crate) fn next_group(&self) -> u64 {
        self.next
    }

    /// What it takes to make the next segment.
    pub(crate) fn wish(&self, recycle: Option<u64>) -> io::Result<Wish> {
        let number = self.active.number.saturating_add(1);
        Ok(Wish { store: self.store, number, capacity: self.capacity, salt: salt()?, recycle })
    }

    /// Writes a group and syncs it.
    pub(crate) fn write(&mut self, group: Group, version: u64) -> Result<Written, WriteError> {
        let length = long(group.length());
        if self.end.saturating_add(length) > self.active.capacity {
            self.turn(length).map_err(WriteError::Refused)?;
        }
        let mut bytes = group.seal(self.next, version, self.active.salt);
        let at = self.position();
        let end = at.offset + length;
        let padded = end.next_multiple_of(PAGE).min(self.active.capacity);
        bytes.resize(index(padded - at.offset), 0);
        if let Err(error) = self.active.file.write_at(&bytes, at.offset) {
            return Err(self.blot(bytes.len(), error));
        }
        if self.sync == Sync::Each
            && let Err(error) = self.active.file.sync_data()
        {
            return Err(WriteError::Unknown(error));
        }
        bytes.truncate(index(length));
        self.end = end;
        self.next += 1;
        Ok(Written { at, bytes })
    }

    /// Makes sure that a group which was refused is not found after a crash.
    fn blot(&self, length: usize, error: io::Error) -> WriteError {
        let zeros = vec![0; length];
        let blotted = self.active.file.write_at(&zeros, self.end);
        match blotted.and_then(|()| self.active.file.sync_data()) {
            Ok(()) => WriteError::Refused(error),
            Err(_) => WriteError::Unknown(error),
        }
    }

    /// Goes on to the next segment.
    fn turn(&mut self, length: u64) -> io::Result<()> {
        let ready = match std::mem::replace(&mut self.ahead, Ahead::Missing) {
            Ahead::Ready(segment) => Some(segment),
            Ahead::Missing => None,
            Ahead::Asked(made) => match made.recv() {
                Ok(made) => Some(made?),
                Err(_) => None,
            },
        };
        let needed = DATA.saturating_add(length);
        if needed > u64::from(u32::MAX) {
            return Err(io::Error::other(format!("{length} bytes are too much for one group")));
        }
        let segment = match ready {
            Some(segment) if segment.capacity >= needed => segment,
            _ => {
                let mut wish = self.wish(None)?;
                wish.capacity = wish.capacity.max(needed.next_multiple_of(PAGE));
                wish.make(&*self.disk)?
            }
        };
        let (segment, next_group) = (Arc::new(segment), self.next);
        let sealed = Sealed { segment: self.active.number, end: self.end, next_group };
        self.turned.push((sealed, Arc::clone(&segment)));
        self.active = segment;
        self.end = DATA;
        Ok(())
    }
}
