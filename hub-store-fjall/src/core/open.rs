//! Opening: the last checkpoint, the index files, and the journal after the checkpoint.

use std::io;
use std::sync::Arc;

use hub_core::store::QueueKind;

use super::checkpoint::Meta;
use super::run::{Core, Shared, Tuning};
use crate::codec::long;
use crate::disk::{Disk, read_all};
use crate::error::OpenError;
use crate::journal::op::Op;
use crate::journal::scan::{self, End, Whole};
use crate::journal::segment::{self, BadHeader, DATA, NEXT, Segment};
use crate::journal::summary::Summary;
use crate::journal::writer::{Ahead, Journal, Sync};
use crate::journal::{GROUP, HEAD, Position};
use crate::state::State;
use crate::state::shelf::Trace;
use crate::tree::{Space, Tree, rows};

/// Rows read at once.
const ROWS: usize = 1024;

/// A store that is being opened.
struct Opening {
    disk: Arc<dyn Disk>,
    store: u128,
    state: State,
    segments: Vec<Arc<Segment>>,
}

/// Where the journal ends.
struct Tail {
    segment: Arc<Segment>,
    end: u64,
    next_group: u64,
    /// Index files that were missing.
    indexes: Vec<(u64, Vec<u8>)>,
}

impl Core {
    /// Opens what there is on a disk and in a tree.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        tree: Arc<dyn Tree>,
        store: u128,
        sync: Sync,
        tuning: Tuning,
    ) -> Result<Self, OpenError> {
        let state = State::new(tuning.cache_bytes, tuning.log_bytes_max, tuning.recent_bytes);
        let mut opening = Opening { disk, store, state, segments: Vec::new() };
        if sync == Sync::Each {
            // A process that was killed may have left names that are not durable yet.
            opening.disk.sync_directory().map_err(opening.failed(""))?;
        }
        let (meta, fresh) = opening.meta(&*tree)?;
        opening.segments(&meta, fresh)?;
        opening.rows(&*tree, &meta)?;
        if !opening.segments.is_empty() {
            let tail = opening.journal(&meta)?;
            return opening.finish(tree, meta, tail, sync, tuning);
        }
        let tail = opening.begin(&tuning)?;
        let path = opening.disk.describe("state");
        let mut core = opening.finish(tree, meta, tail, sync, tuning)?;
        // From now on the state knows of the journal, so a journal that is missing is missed.
        let checkpoint = core.checkpoint();
        checkpoint.write(&core.shared).map_err(|error| OpenError::io(path, error))?;
        core.checkpointed(&checkpoint);
        Ok(core)
    }
}

impl Opening {
    fn failed(&self, name: &str) -> impl Fn(io::Error) -> OpenError {
        let path = self.disk.describe(name);
        move |error| OpenError::io(&path, error)
    }

    /// The last checkpoint; that of an empty store, and `true`, if there is none.
    fn meta(&self, tree: &dyn Tree) -> Result<(Meta, bool), OpenError> {
        let path = self.disk.describe("state");
        let empty = Meta {
            store: self.store,
            at: Position { segment: 1, offset: DATA },
            next_group: 1,
            first: Some(1),
            version: 0,
            lasts: Vec::new(),
            batches: (0, 0),
            numbers: Vec::new(),
        };
        match Meta::read(tree).map_err(|error| OpenError::io(&path, error))? {
            None => Ok((empty, true)),
            Some(Some(meta)) if meta.store == self.store => Ok((meta, false)),
            Some(Some(_)) => Err(OpenError::damaged(path, "the state of another store")),
            Some(None) => Err(OpenError::damaged(path, "a checkpoint in an unknown format")),
        }
    }

    /// Finds the segments that the state knows of.
    fn segments(&mut self, meta: &Meta, fresh: bool) -> Result<(), OpenError> {
        let names = self.disk.list().map_err(self.failed(""))?;
        let numbers: Vec<u64> = names.iter().filter_map(|name| segment::number(name)).collect();
        let found = Row::of(numbers, meta.first);
        let new = fresh && found.row.is_empty();
        if let Some((missing, what)) = found.missing(meta.at.segment)
            && !new
        {
            return Err(OpenError::damaged(self.disk.describe(&segment::name(missing)), what));
        }
        for number in found.row {
            let name = segment::name(number);
            let opened = Segment::open(&*self.disk, self.store, number);
            let path = || self.disk.describe(&name);
            match opened.map_err(self.failed(&name))? {
                Ok(segment) => {
                    let segment = Arc::new(segment);
                    self.state.log.hold(Arc::clone(&segment));
                    self.segments.push(segment);
                }
                Err(BadHeader::Damaged) => return Err(OpenError::damaged(path(), "its header")),
                Err(BadHeader::Foreign) => {
                    return Err(OpenError::damaged(path(), "a segment of another store"));
                }
                Err(BadHeader::Newer(found)) => {
                    return Err(OpenError::Newer { path: path(), found, known: 1 });
                }
            }
        }
        Ok(())
    }

    /// Takes the heads of items, the remembered batches and all numbers from the tree.
    fn rows(&mut self, tree: &dyn Tree, meta: &Meta) -> Result<(), OpenError> {
        let path = self.disk.describe("state");
        let failed = |error| OpenError::io(&path, error);
        let mut after: Option<Vec<u8>> = None;
        loop {
            let found = rows::after(tree, Space::Items, after.as_deref(), ROWS).map_err(failed)?;
            for (key, value) in &found {
                let (Some((kind, number)), Some(head)) = (rows::item_of(key), rows::head(value))
                else {
                    return Err(OpenError::damaged(path, "a row of `items`"));
                };
                self.state.shelf_mut(kind).restore(number, head);
            }
            match found.into_iter().next_back() {
                Some((key, _)) => after = Some(key),
                None => break,
            }
        }
        let (from, next) = meta.batches;
        self.state.recall.begin_at(from);
        let mut number = from;
        while number < next {
            let before = number.checked_sub(1).map(u64::to_be_bytes);
            let before = before.as_ref().map(<[u8; 8]>::as_slice);
            let found = rows::after(tree, Space::Batches, before, ROWS).map_err(failed)?;
            for (key, value) in found {
                let expected = key == number.to_be_bytes();
                if number == next {
                    break;
                }
                if !expected || self.state.recall.restore(value).is_none() {
                    return Err(OpenError::damaged(path, format!("batch {number}")));
                }
                number += 1;
            }
            if number < next && number == from {
                return Err(OpenError::damaged(path, format!("batch {number} is missing")));
            }
        }
        self.state.recall.all_saved();
        self.state.version = meta.version;
        for (kind, last) in QueueKind::ALL.into_iter().zip(&meta.lasts) {
            let shelf = self.state.shelf_mut(kind);
            shelf.last = shelf.last.max(*last);
        }
        Ok(())
    }

    /// A journal without segments: the first one.
    fn begin(&mut self, tuning: &Tuning) -> Result<Tail, OpenError> {
        let name = segment::name(1);
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => OpenError::Full {
                path: self.disk.describe(&name),
                needed: tuning.segment_bytes.saturating_mul(3),
            },
            _ => OpenError::io(self.disk.describe(&name), error),
        };
        let salt = crate::journal::writer::salt().map_err(failed)?;
        let capacity = tuning.segment_bytes;
        let wish = segment::Wish { store: self.store, number: 1, capacity, salt, recycle: None };
        let segment = Arc::new(wish.make(&*self.disk).map_err(failed)?);
        self.state.log.hold(Arc::clone(&segment));
        Ok(Tail { segment, end: DATA, next_group: 1, indexes: Vec::new() })
    }

    /// Reads the journal: index files before the checkpoint, everything after it.
    fn journal(&mut self, meta: &Meta) -> Result<Tail, OpenError> {
        let segments = std::mem::take(&mut self.segments);
        let mut indexes = Vec::new();
        let before = segments.iter().filter(|segment| segment.number < meta.at.segment);
        for segment in before {
            indexes.extend(self.sealed(segment)?);
        }
        for numbers in &meta.numbers {
            self.state.log.restore_numbers(numbers);
        }
        let mut next = meta.next_group;
        let mut tail: Option<Tail> = None;
        for segment in segments.iter().filter(|segment| segment.number >= meta.at.segment) {
            let bytes = self.load(segment)?;
            let at_checkpoint = segment.number == meta.at.segment;
            let mut number = match at_checkpoint {
                // The groups before the checkpoint are only indexed; they count up to it.
                true => first_group(&bytes, segment.salt).unwrap_or(next),
                false => next,
            };
            let mut reached = at_checkpoint.then_some(number);
            let mut wrong = None;
            let (state, salt) = (&mut self.state, segment.salt);
            let end = scan::groups(&bytes, DATA, salt, &mut number, |whole| {
                let at = Position { segment: segment.number, offset: whole.start };
                if at < meta.at {
                    reached = Some(whole.announced.number + 1);
                }
                if replay(state, &bytes, segment.number, whole, at >= meta.at).is_none() {
                    wrong.get_or_insert(whole.start);
                }
            });
            let path = &segment.described;
            let damaged = |at: u64| OpenError::damaged(path, format!("at byte {at}"));
            if let Some(at) = wrong {
                return Err(damaged(at));
            }
            let end = match (end, &tail) {
                (End::Tail(end), _) => end,
                // Its first group is not the one that is missing: that was the last of the
                // segment before.
                (End::Damaged(DATA), Some(tail)) => {
                    let what = format!("at byte {}", tail.end);
                    return Err(OpenError::damaged(&tail.segment.described, what));
                }
                (End::Damaged(at), _) => return Err(damaged(at)),
            };
            if at_checkpoint && (end < meta.at.offset || reached != Some(meta.next_group)) {
                let what = format!("it ends at byte {end}, and the state is newer");
                return Err(OpenError::damaged(path, what));
            }
            if end > DATA || tail.is_none() {
                if let Some(full) = tail.take() {
                    let number = full.segment.number;
                    let summary = self.state.log.summary(number, full.end, full.next_group);
                    indexes.extend(summary.map(|summary| (number, summary.encode())));
                }
                let segment = Arc::clone(segment);
                tail = Some(Tail { segment, end, next_group: number, indexes: Vec::new() });
            }
            next = number;
        }
        self.segments = segments;
        let Some(mut tail) = tail else {
            return Err(OpenError::damaged(self.disk.describe(""), "no segment to write to"));
        };
        tail.indexes = indexes;
        Ok(tail)
    }

    fn load(&self, segment: &Segment) -> Result<Vec<u8>, OpenError> {
        read_all(&*segment.file).map_err(|error| OpenError::io(&segment.described, error))
    }

    /// The index of a sealed segment; if there is none, made anew, and then to be written.
    fn sealed(&mut self, segment: &Segment) -> Result<Option<(u64, Vec<u8>)>, OpenError> {
        let (number, salt) = (segment.number, segment.salt);
        let found = self.disk.open(&segment::index_name(number)).ok();
        let found = found.and_then(|file| read_all(&*file).ok());
        let found = found.and_then(|bytes| Summary::decode(&bytes, number, salt));
        if let Some(summary) = found {
            self.state.log.restore(&summary);
            return Ok(None);
        }
        let bytes = self.load(segment)?;
        let mut next = first_group(&bytes, salt).unwrap_or(0);
        let mut wrong = None;
        let state = &mut self.state;
        let end = scan::groups(&bytes, DATA, salt, &mut next, |whole| {
            if replay(state, &bytes, number, whole, false).is_none() {
                wrong.get_or_insert(whole.start);
            }
        });
        match (end, wrong) {
            (End::Tail(end), None) => {
                let summary = self.state.log.summary(number, end, next);
                Ok(summary.map(|summary| (number, summary.encode())))
            }
            (End::Damaged(at), _) | (_, Some(at)) => {
                Err(OpenError::damaged(&segment.described, format!("at byte {at}")))
            }
        }
    }

    fn finish(
        mut self,
        tree: Arc<dyn Tree>,
        meta: Meta,
        tail: Tail,
        sync: Sync,
        tuning: Tuning,
    ) -> Result<Core, OpenError> {
        self.state.publish();
        let lost = self.state.log.found();
        let there = self.state.log.first_segment();
        if let (Some(first), Some(there)) = (meta.first, there)
            && there > first
        {
            tracing::warn!(
                directory = self.disk.describe(""),
                first,
                there,
                events = lost,
                "the oldest segments of the log are missing, and with them the oldest events"
            );
        }
        if sync == Sync::Each {
            // The last group may have been written and not synced: nobody was told of it, but from
            // now on readers see it.
            let synced = tail.segment.file.sync_data();
            synced.map_err(|error| OpenError::io(&tail.segment.described, error))?;
        }
        let mut ahead = Ahead::Missing;
        let beyond = std::mem::take(&mut self.segments);
        // The last first: a crash in between must leave no gap.
        let beyond = beyond.into_iter().rev();
        for segment in beyond.filter(|found| found.number > tail.segment.number) {
            let number = segment.number;
            self.state.log.release(number);
            let right = number == tail.segment.number + 1;
            match Arc::try_unwrap(segment) {
                Ok(segment) if right && segment.capacity == tuning.segment_bytes => {
                    ahead = Ahead::Ready(segment);
                }
                _ => drop(self.disk.remove(&segment::name(number))),
            }
        }
        let names = self.disk.list().map_err(self.failed(""))?;
        let first = self.state.log.first_segment().unwrap_or(0);
        let stray = |name: &&String| {
            segment::number(name).is_some_and(|number| number < first) || *name == NEXT
        };
        for name in names.iter().filter(stray) {
            drop(self.disk.remove(name));
        }
        let Tail { segment, end, next_group, indexes } = tail;
        let capacity = tuning.segment_bytes;
        let disk = Arc::clone(&self.disk);
        let mut journal = Journal::new(disk, self.store, capacity, sync, segment, end, next_group);
        journal.ahead = ahead;
        Ok(Core {
            shared: Arc::new(Shared::new(self.state, tree, self.disk)),
            journal,
            tuning,
            store: self.store,
            keep: meta.at.segment,
            checkpointed_at: meta.at,
            saved: meta.batches,
            checkpointing: false,
            checkpoint_error: None,
            indexes,
            expiring: Vec::new(),
            expired: Vec::new(),
        })
    }
}

/// The segments that were found, by number.
struct Row {
    /// An unbroken row up to the last.
    row: Vec<u64>,
    /// How many are there before the row that have not expired, beyond a gap.
    cut_off: usize,
}

impl Row {
    /// From the numbers of all files. Those before `first` have expired; if it is not known, so have
    /// all before a gap: an older program removed them in any order.
    fn of(mut numbers: Vec<u64>, first: Option<u64>) -> Self {
        numbers.retain(|number| first.is_none_or(|first| *number >= first));
        numbers.sort_unstable();
        let gap = numbers.windows(2).rposition(|two| matches!(two, [a, b] if a + 1 != *b));
        let row = numbers.split_off(gap.map_or(0, |gap| gap + 1));
        Self { row, cut_off: if first.is_some() { numbers.len() } else { 0 } }
    }

    /// A segment that should be there and is not, and what is to be said of it. A row that begins
    /// late is not refused: somebody may have given up its beginning.
    fn missing(&self, needed: u64) -> Option<(u64, String)> {
        let before = self.row.first().map(|first| first.saturating_sub(1));
        match before {
            Some(missing) if self.cut_off > 0 => {
                let what = format!("missing, and older segments are there: {}", self.cut_off);
                Some((missing, what))
            }
            _ if self.row.binary_search(&needed).is_ok() => None,
            _ => Some((needed, "missing, and the state says that it is needed".to_owned())),
        }
    }
}

/// The number of a segment's first group, if there is one.
fn first_group(bytes: &[u8], salt: u32) -> Option<u64> {
    scan::first(bytes.get(crate::codec::index(DATA)..)?.get(..HEAD + GROUP)?, salt)
}

/// Takes up a group: its appends into the index, and the rest of it if `apply`.
fn replay(state: &mut State, bytes: &[u8], segment: u64, whole: &Whole, apply: bool) -> Option<()> {
    for record in &whole.records {
        let payload = bytes.get(record.payload..record.end)?;
        let op = Op::decode(record.tag, payload)?;
        if let Op::Append(appended) = &op {
            let offset = long(record.payload) - long(HEAD);
            state.log.settle(appended, Position { segment, offset });
        } else if apply {
            replay_op(state, op)?;
        }
    }
    if apply {
        state.version = state.version.max(whole.announced.version);
    }
    state.publish();
    Some(())
}

fn replay_op(state: &mut State, op: Op) -> Option<()> {
    match op {
        Op::Append(_) => {}
        Op::Batch { packed } => state.recall.restore(packed)?,
        Op::Put { key, version, body } => state.documents.settle(key, Some((version, body))),
        Op::Remove { key } => state.documents.settle(key, None),
        Op::Push { sequence, version, push } => {
            // A checkpoint that did not end may have written some of it.
            let shelf = state.shelf_mut(push.queue.kind);
            shelf.insert(sequence, version, &push, Trace::Some);
        }
        Op::Set { kind, sequence, setting } => state.shelf_mut(kind).set(sequence, &setting),
        Op::Settle { kind, sequence } => state.shelf_mut(kind).settle(sequence),
        Op::Clear { queue, last } => state.shelf_mut(queue.kind).clear(&queue, last),
        Op::Trim { partition, below } => state.log.forget(partition.0, below.0),
    }
    Some(())
}
