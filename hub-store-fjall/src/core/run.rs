//! One group: judge, write, sync, show, answer.

use std::any::Any;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hub_core::id::NodeId;
use hub_core::store::{Item, Key, Outcome, StoreError};

use super::checkpoint::Checkpoint;
use super::command::{Answer, Command, Reply};
use super::judge::{Judge, Taken};
use crate::disk::Disk;
use crate::journal::Position;
use crate::journal::group::Group;
use crate::journal::segment::{self, Segment, Wish};
use crate::journal::writer::{Ahead, Journal, WriteError};
use crate::state::documents::Slot;
use crate::state::{Body, State, damaged};
use crate::tree::{Tree, rows};

/// What readers and the writer share.
#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    pub(crate) tree: Arc<dyn Tree>,
    pub(crate) disk: Arc<dyn Disk>,
    /// Keeps other processes away. The last field, so that it is dropped last.
    lock: Mutex<Option<Lock>>,
}

/// Whatever keeps other processes away as long as it lives.
struct Lock(#[expect(dead_code, reason = "it is there to be dropped")] Box<dyn Any + Send>);

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lock")
    }
}

impl Shared {
    pub(crate) fn new(state: State, tree: Arc<dyn Tree>, disk: Arc<dyn Disk>) -> Self {
        Self { state: Mutex::new(state), tree, disk, lock: Mutex::default() }
    }

    /// Keeps a lock until [`Shared::close`].
    pub(crate) fn guard(&self, lock: Box<dyn Any + Send>) {
        *self.lock.lock().unwrap_or_else(PoisonError::into_inner) = Some(Lock(lock));
    }

    /// Closes the tree, and gives the directory free.
    pub(crate) fn close(&self) {
        self.tree.close();
        drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock panics, so a poisoned lock means no broken state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The figures that decide when what happens.
#[derive(Debug, Clone)]
pub(crate) struct Tuning {
    /// Bytes of a segment.
    pub(crate) segment_bytes: u64,
    /// Bytes that only memory and the journal have, at which a checkpoint begins.
    pub(crate) dirty_bytes: usize,
    /// Bytes of the document cache.
    pub(crate) cache_bytes: usize,
    /// Most bytes of segments.
    pub(crate) log_bytes_max: u64,
    /// Bytes of the journal kept in memory for readers.
    pub(crate) recent_bytes: usize,
}

/// The writer's side of the store.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) shared: Arc<Shared>,
    pub(crate) journal: Journal,
    pub(crate) tuning: Tuning,
    pub(crate) store: u128,
    /// The segment that the last checkpoint points into: it and later ones are needed.
    pub(crate) keep: u64,
    /// Where the last checkpoint ends.
    pub(crate) checkpointed_at: Position,
    /// The remembered batches that the tree has.
    pub(crate) saved: (u64, u64),
    /// A checkpoint is under way.
    pub(crate) checkpointing: bool,
    /// Why the last checkpoint failed, if it did.
    pub(crate) checkpoint_error: Option<String>,
    /// Index files to write.
    pub(crate) indexes: Vec<(u64, Vec<u8>)>,
    /// Segments that nobody needs once the checkpoint under way is there, which says so.
    pub(crate) expiring: Vec<Arc<Segment>>,
    /// Segments nobody needs any more.
    pub(crate) expired: Vec<Arc<Segment>>,
}

/// What became of a group.
#[derive(Debug)]
pub(crate) struct Ran {
    /// One for each command, in order.
    pub(crate) answers: Vec<Answer>,
    /// Nodes to wake.
    pub(crate) nudges: Vec<NodeId>,
}

/// What was decided for a command, before it is durable.
enum Judged {
    Outcomes(Vec<Outcome>),
    Taken(Vec<Vec<Taken>>),
    Done,
}

fn operation(command: &Command) -> &'static str {
    match command {
        Command::Commit(_) => "commit",
        Command::Claim(..) => "claim",
        Command::Trim(..) => "trim",
    }
}

impl Core {
    /// Runs commands as one group.
    pub(crate) fn run(&mut self, commands: &[Command]) -> Ran {
        let refuse = |why: &dyn Fn(&'static str) -> StoreError| Ran {
            answers: commands.iter().map(|command| Err(why(operation(command)))).collect(),
            nudges: Vec::new(),
        };
        if let Some(why) = self.poisoned() {
            return refuse(&|operation| StoreError::fatal(operation, why.clone()));
        }
        if let Some(why) = self.overfull() {
            return refuse(&|operation| StoreError::unavailable(operation, why.clone()));
        }
        let fetched = match self.fetch(commands) {
            Ok(fetched) => fetched,
            Err(error) => {
                let why = error.to_string();
                let damaged = error.kind() == io::ErrorKind::InvalidData;
                return refuse(&|operation| match damaged {
                    true => StoreError::fatal(operation, why.clone()),
                    false => StoreError::unavailable(operation, why.clone()),
                });
            }
        };
        let mut group = Group::default();
        let (judged, nudges, version) = self.judge(commands, fetched, &mut group);
        if !group.is_empty() {
            let written = self.journal.write(group, version);
            self.turned();
            match written {
                Ok(written) => self.shared.lock().log.written(written.at, written.bytes.into()),
                Err(WriteError::Refused(error)) => {
                    self.shared.lock().roll_back();
                    let why = advice(&error);
                    return refuse(&|operation| StoreError::unavailable(operation, why.clone()));
                }
                Err(WriteError::Unknown(error)) => {
                    let why = format!(
                        "the journal could not be synced ({error}); what is durable is known only \
                         after the store is opened again"
                    );
                    self.shared.lock().poisoned = Some(why.clone());
                    return refuse(&|operation| StoreError::fatal(operation, why.clone()));
                }
            }
        }
        self.shared.lock().publish();
        let answers = judged.into_iter().map(|judged| self.answer(judged)).collect();
        Ran { answers, nudges }
    }

    /// Why nothing can be written any more.
    pub(crate) fn poisoned(&self) -> Option<String> {
        self.shared.lock().poisoned.clone()
    }

    /// Why nothing can be taken in now: checkpoints fail, and memory has its bound.
    fn overfull(&self) -> Option<String> {
        let error = self.checkpoint_error.as_ref()?;
        self.is_brimming().then(|| format!("the state cannot be written: {error}"))
    }

    /// Whether memory holds so much that a checkpoint has to end first.
    pub(crate) fn is_brimming(&self) -> bool {
        self.shared.lock().dirty_bytes() >= self.tuning.dirty_bytes.saturating_mul(4)
    }

    /// Reads the documents that guards look at and memory does not have.
    fn fetch(&self, commands: &[Command]) -> io::Result<HashMap<Key, Slot>> {
        let mut cold = HashSet::new();
        {
            let state = self.shared.lock();
            for command in commands {
                let Command::Commit(work) = command else { continue };
                for key in work.keys().filter(|key| state.documents.is_cold(key)) {
                    cold.insert(key.clone());
                }
            }
        }
        let mut fetched = HashMap::with_capacity(cold.len());
        for key in cold {
            let slot = rows::get_document(&*self.shared.tree, &key)?;
            fetched.insert(key, slot);
        }
        Ok(fetched)
    }

    fn judge(
        &self,
        commands: &[Command],
        fetched: HashMap<Key, Slot>,
        group: &mut Group,
    ) -> (Vec<Judged>, Vec<NodeId>, u64) {
        let state = &mut *self.shared.lock();
        for (key, slot) in fetched {
            state.documents.fetched(key, slot);
        }
        let mut judge = Judge { state, group };
        let (mut judged, mut nudges) = (Vec::with_capacity(commands.len()), Vec::new());
        for command in commands {
            judged.push(match command {
                Command::Commit(work) => {
                    let (outcomes, new) = judge.commit(work);
                    if new {
                        nudges.extend(work.nudges.iter().cloned());
                    }
                    Judged::Outcomes(outcomes)
                }
                Command::Claim(now, claims) => {
                    Judged::Taken(claims.iter().map(|claim| judge.claim(*now, claim)).collect())
                }
                Command::Trim(partition, below) => {
                    judge.trim(*partition, *below);
                    Judged::Done
                }
            });
        }
        (judged, nudges, state.version)
    }

    fn answer(&self, judged: Judged) -> Answer {
        Ok(match judged {
            Judged::Outcomes(outcomes) => Reply::Outcomes(outcomes),
            Judged::Done => Reply::Done,
            Judged::Taken(lists) => {
                let lists = lists.into_iter().map(|list| self.bodies(list)).collect();
                let lists: io::Result<Vec<_>> = lists;
                Reply::Items(lists.map_err(|error| match error.kind() {
                    io::ErrorKind::InvalidData => StoreError::fatal("claim", error),
                    _ => StoreError::unknown("claim", error),
                })?)
            }
        })
    }

    fn bodies(&self, taken: Vec<Taken>) -> io::Result<Vec<Item>> {
        taken
            .into_iter()
            .map(|(kind, sequence, head)| {
                let body = match &head.body {
                    Body::Here(body) => body.clone(),
                    Body::Stored => rows::get_body(&*self.shared.tree, kind, sequence)?
                        .ok_or_else(|| damaged(format!("item {sequence} has lost its body")))?,
                };
                Ok(rows::item(sequence, &head, body))
            })
            .collect()
    }

    /// Takes up the segments that the journal has gone on to.
    fn turned(&mut self) {
        for (sealed, segment) in std::mem::take(&mut self.journal.turned) {
            let mut state = self.shared.lock();
            state.log.hold(segment);
            let summary = state.log.summary(sealed.segment, sealed.end, sealed.next_group);
            drop(state);
            self.indexes.extend(summary.map(|summary| (sealed.segment, summary.encode())));
        }
    }

    /// Whether anything happened since the last checkpoint, and none is under way.
    pub(crate) fn could_checkpoint(&self) -> bool {
        // What a group that failed has left in memory must not reach the tree.
        !self.checkpointing
            && self.poisoned().is_none()
            && self.journal.position() != self.checkpointed_at
    }

    /// Whether it is time for a checkpoint.
    pub(crate) fn wants_checkpoint(&self) -> bool {
        self.could_checkpoint()
            && (self.journal.position().segment > self.keep
                || self.shared.lock().dirty_bytes() >= self.tuning.dirty_bytes)
    }

    /// Begins a checkpoint. To be run, on any thread, and then given to [`Core::checkpointed`].
    pub(crate) fn checkpoint(&mut self) -> Checkpoint {
        self.checkpointing = true;
        let at = self.journal.position();
        let next_group = self.journal.next_group();
        let mut state = self.shared.lock();
        // The checkpoint says where the segments begin, and only then may files go: what is missing
        // when the store is opened is then known to be lost or known to have expired.
        self.expiring.extend(state.log.expire(at.segment));
        Checkpoint::freeze(&mut state, self.store, at, next_group, self.saved)
    }

    /// Takes up the end of a checkpoint.
    pub(crate) fn checkpointed(&mut self, checkpoint: &Checkpoint) {
        self.checkpointing = false;
        self.checkpoint_error = None;
        self.keep = checkpoint.meta.at.segment;
        self.checkpointed_at = checkpoint.meta.at;
        self.saved = checkpoint.meta.batches;
        let mut state = self.shared.lock();
        let spent = checkpoint.thaw(&mut state);
        drop(state);
        // A large layer takes its time to be freed, and needs no lock for it.
        drop(spent);
        self.expired.append(&mut self.expiring);
    }

    /// The next segment, if it is to be made, over an expired one if there is one nobody reads.
    pub(crate) fn wish(&mut self) -> Option<Wish> {
        if !matches!(self.journal.ahead, Ahead::Missing) {
            return None;
        }
        let capacity = self.tuning.segment_bytes;
        let free = self
            .expired
            .iter()
            .position(|segment| segment.capacity == capacity && Arc::strong_count(segment) == 1);
        let recycle = free.map(|at| self.expired.swap_remove(at).number);
        if let Some(number) = recycle {
            drop(self.shared.disk.remove(&segment::index_name(number)));
        }
        self.journal.wish(recycle).ok()
    }

    /// Expired segments whose files are to be removed: all but one to write over.
    pub(crate) fn spent(&mut self) -> Vec<Arc<Segment>> {
        let spare = usize::from(matches!(self.journal.ahead, Ahead::Missing));
        let from = self.expired.len().min(spare);
        self.expired.split_off(from)
    }
}

/// Removes the files of segments that have expired. What stays behind is removed at the next opening.
pub(crate) fn remove(disk: &dyn Disk, spent: &[Arc<Segment>]) -> io::Result<()> {
    for segment in spent {
        drop(disk.remove(&segment::index_name(segment.number)));
        disk.remove(&segment::name(segment.number))?;
    }
    if spent.is_empty() { Ok(()) } else { disk.sync_directory() }
}

/// Writes an index file. It is not synced: one that is not whole after a crash is made again.
pub(crate) fn write_index(disk: &dyn Disk, number: u64, bytes: &[u8]) -> io::Result<()> {
    disk.create(&segment::index_name(number))?.write_at(bytes, 0)
}

/// What an error says, and what to do about it.
pub(crate) fn advice(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            format!("the disk is full ({error}): make room or lower the bound on the log's bytes")
        }
        _ => error.to_string(),
    }
}
