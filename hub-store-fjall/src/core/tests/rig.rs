//! A store on a simulated world, what it is told, and all that can be seen of it.

use std::num::NonZeroU32;
use std::sync::Arc;

use bytes::Bytes;
use hub_core::conformance::store::Random;
use hub_core::id::{Partition, SequenceNumber};
use hub_core::store::{
    Ask, Batch, BatchId, Change, Claim, Document, DocumentRef, Entries, Entry, Item, Key, Kind,
    Marks, Outcome, Push, QueueId, QueueKind, Record, Scope, Seek,
};
use hub_core::time::Timestamp;

use super::super::checkpoint::Checkpoint;
use super::super::command::{Answer, Command, Reply};
use super::super::read::{Source, entries, first_at};
use super::super::run::{Core, Tuning, remove, write_index};
use super::super::work::Work;
use crate::disk::Disk;
use crate::disk::sim::SimDisk;
use crate::error::OpenError;
use crate::format::identify;
use crate::journal::writer::{Ahead, Sync};
use crate::tree::Tree;
use crate::tree::sim::SimTree;
use crate::view::{self, Fetched};

pub(super) const PARTITIONS: u16 = 3;
const KINDS: [QueueKind; 2] = [QueueKind::Mailbox, QueueKind::Feedback];

/// A store, and the world it runs in.
pub(super) struct Rig {
    pub(super) disk: SimDisk,
    pub(super) tree: SimTree,
    pub(super) core: Option<Core>,
    /// A checkpoint that failed and is tried again.
    pending: Option<Checkpoint>,
    tuning: Tuning,
    /// How often what happened, to see that the tests reach it.
    pub(super) checkpoints: u32,
    pub(super) recycled: u32,
}

/// All that can be seen of a store.
#[derive(Clone, PartialEq)]
pub(super) struct Seen {
    documents: Vec<Document>,
    items: Vec<Item>,
    pub(super) entries: Vec<(Partition, Entry)>,
    places: Vec<u64>,
    recalled: Vec<Option<Vec<Outcome>>>,
    version: u64,
    lasts: Vec<u64>,
}

/// Short: bodies are left out.
impl std::fmt::Debug for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let documents = self.documents.iter().map(|document| &document.at).collect::<Vec<_>>();
        let items = self.items.iter().map(|item| (&item.at, item.visible, item.claims));
        let recalled = self.recalled.iter().flatten().count();
        f.debug_struct("Seen")
            .field("documents", &documents)
            .field("items", &items.collect::<Vec<_>>())
            .field("entries", &self.entries.len())
            .field("places", &self.places)
            .field("recalled", &recalled)
            .field("version", &self.version)
            .field("lasts", &self.lasts)
            .finish()
    }
}

fn tuning() -> Tuning {
    Tuning {
        segment_bytes: 6 * 1024,
        dirty_bytes: 2 * 1024,
        cache_bytes: 2 * 1024,
        log_bytes_max: u64::MAX,
        recent_bytes: 3 * 1024,
    }
}

impl Rig {
    pub(super) fn new() -> Self {
        let disk = SimDisk::default();
        let tree = SimTree::new(&disk);
        Self::over(disk, tree, tuning())
    }

    /// A store that keeps no more than so many bytes of log.
    pub(super) fn bounded(log_bytes_max: u64) -> Self {
        let mut rig = Self::new();
        rig.tuning.log_bytes_max = log_bytes_max;
        rig
    }

    fn over(disk: SimDisk, tree: SimTree, tuning: Tuning) -> Self {
        let (core, pending) = (None, None);
        Self { disk, tree, core, pending, tuning, checkpoints: 0, recycled: 0 }
    }

    /// Opens, or says why not.
    pub(super) fn open(&mut self) -> Result<(), OpenError> {
        (self.core, self.pending) = (None, None);
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let tree: Arc<dyn Tree> = Arc::new(self.tree.clone());
        let store = identify(&*disk, "sim")?;
        self.core = Some(Core::open(disk, tree, store, Sync::Each, self.tuning.clone())?);
        Ok(())
    }

    /// The world after the power came back, with nothing opened.
    pub(super) fn after_power_loss(self, random: &mut Random) -> Self {
        let disk = self.disk.after_power_loss(random);
        let tree = self.tree.after_power_loss(&disk, random);
        Self::over(disk, tree, self.tuning)
    }

    /// The world after the process was killed: what it wrote is there, synced or not.
    pub(super) fn after_kill(self) -> Self {
        let disk = self.disk.after_kill();
        let tree = self.tree.after_kill(&disk);
        Self::over(disk, tree, self.tuning)
    }

    pub(super) fn core(&mut self) -> &mut Core {
        self.core.as_mut().unwrap()
    }

    /// Runs a group, and then what the other threads would do.
    pub(super) fn group(&mut self, commands: &[Command]) -> Vec<Answer> {
        let answers = self.core().run(commands).answers;
        self.tend();
        answers
    }

    pub(super) fn tend(&mut self) {
        let core = self.core.as_mut().unwrap();
        let due = match self.pending.take() {
            Some(checkpoint) if core.shared.tree.revive().is_err() => {
                self.pending = Some(checkpoint);
                None
            }
            Some(checkpoint) => Some(checkpoint),
            None => core.wants_checkpoint().then(|| core.checkpoint()),
        };
        if let Some(checkpoint) = due {
            match checkpoint.write(&core.shared) {
                Ok(()) => {
                    self.checkpoints += 1;
                    core.checkpointed(&checkpoint);
                }
                Err(error) => {
                    core.checkpoint_error = Some(error.to_string());
                    self.pending = Some(checkpoint);
                }
            }
        }
        if let Some(wish) = core.wish()
            && let Ok(segment) = wish.make(&*core.shared.disk)
        {
            self.recycled += u32::from(wish.recycle.is_some());
            core.journal.ahead = Ahead::Ready(segment);
        }
        for (number, bytes) in std::mem::take(&mut core.indexes) {
            drop(write_index(&*core.shared.disk, number, &bytes));
        }
        let spent = core.spent();
        drop(remove(&*core.shared.disk, &spent));
    }

    fn read(&mut self, asks: &[Ask]) -> Vec<Option<Record>> {
        let shared = &self.core().shared;
        let mut fetched = Fetched::default();
        loop {
            let read = view::read(&mut shared.lock(), asks, &fetched);
            match read {
                Ok(records) => return records,
                Err(wanted) => fetched = wanted.fetch(shared, fetched).unwrap(),
            }
        }
    }

    /// Entries of a partition, from the disk.
    pub(super) fn entries(&mut self, partition: Partition) -> std::io::Result<Vec<Entry>> {
        let plan = self.core().shared.lock().log.plan(partition, 0, u64::MAX);
        match plan {
            Some(mut plan) => {
                let near = entries(&plan, Source::Memory)?;
                plan.recent.clear();
                let far = entries(&plan, Source::Disk)?.unwrap();
                assert!(near.is_none_or(|near| near == far), "memory and disk agree");
                Ok(far)
            }
            None => Ok(Vec::new()),
        }
    }

    /// Everything, with the batches up to a number.
    pub(super) fn see(&mut self, batches: u64) -> Seen {
        let mut documents = Vec::new();
        for kind in Kind::ALL {
            let limit = NonZeroU32::new(1000).unwrap();
            let scanned = view::scan(&self.core().shared, kind, None, limit).unwrap();
            let asks: Vec<_> = scanned.iter().map(|d| Ask::Document(d.at.key().clone())).collect();
            let read = self.read(&asks).into_iter().map(|record| match record {
                Some(Record::Document(document)) => document,
                other => panic!("{other:?}"),
            });
            assert_eq!(read.collect::<Vec<_>>(), scanned, "scan and read agree");
            documents.extend(scanned);
        }
        let mut items = Vec::new();
        for queue in queues() {
            let asks =
                [Ask::Items(queue.clone(), SequenceNumber(0), u32::MAX), Ask::Depth(queue.clone())];
            let [Some(Record::Items(found)), Some(Record::Depth(depth))] = &self.read(&asks)[..]
            else {
                panic!("{queue:?}")
            };
            assert_eq!(found.len(), *depth as usize, "depth and list agree");
            items.extend(found.iter().cloned());
        }
        let (mut all, mut places) = (Vec::new(), Vec::new());
        for partition in (0..PARTITIONS).map(Partition) {
            let found = self.entries(partition).unwrap();
            for place in [Seek::Oldest, Seek::Next] {
                let state = self.core().shared.lock();
                places.push(state.log.seek(partition, place).unwrap().0);
            }
            self.check_times(partition, &found);
            all.extend(found.into_iter().map(|entry| (partition, entry)));
        }
        let mut state = self.core().shared.lock();
        let recalled = (0..batches).map(|id| state.recall.get(BatchId(id.into()))).collect();
        let version = state.version;
        let lasts = KINDS.into_iter().map(|kind| state.shelf_mut(kind).last).collect();
        Seen { documents, items, entries: all, places, recalled, version, lasts }
    }

    /// Every time is found where it is.
    fn check_times(&mut self, partition: Partition, entries: &[Entry]) {
        let shared = Arc::clone(&self.core().shared);
        let next = shared.lock().log.seek(partition, Seek::Next).unwrap().0;
        let mut times: Vec<_> = entries.iter().map(|entry| entry.at).collect();
        times.dedup();
        for time in times {
            for time in [time, time.after(std::time::Duration::from_millis(1))] {
                let right = entries.iter().find(|entry| entry.at >= time);
                let right = right.map_or(next, |entry| entry.sequence.0);
                let sought = shared.lock().log.seek(partition, Seek::Time(time));
                let found = match sought {
                    Ok(number) => number.0,
                    Err(plan) => first_at(&plan, time, Source::Disk).unwrap().unwrap(),
                };
                assert_eq!(found, right, "{partition} at {time}");
            }
        }
    }
}

fn queues() -> Vec<QueueId> {
    let of = |kind| ["a", "b"].map(|id| QueueId { kind, id: id.into() });
    KINDS.into_iter().flat_map(of).collect()
}

/// Makes commands from a seed and from what the store has.
pub(super) struct Script {
    random: Random,
    batch: u64,
    now: u64,
}

impl Script {
    pub(super) fn new(seed: u64) -> Self {
        Self { random: Random::new(seed), batch: 0, now: 1000 }
    }

    pub(super) fn batches(&self) -> u64 {
        self.batch
    }

    /// The next group.
    pub(super) fn group(&mut self, seen: &Seen) -> Vec<Command> {
        self.now += self.random.below(20);
        (0..=self.random.below(3)).map(|_| self.command(seen)).collect()
    }

    fn command(&mut self, seen: &Seen) -> Command {
        match self.random.below(10) {
            0 => {
                let partition = Partition(self.random.below(PARTITIONS.into()) as u16);
                let places = &seen.places[usize::from(partition.0) * 2..];
                let span = places[1] - places[0] + 2;
                Command::Trim(partition, SequenceNumber(places[0] + self.random.below(span)))
            }
            1 | 2 => {
                let queues = queues();
                let queue = self.random.pick(&queues).unwrap().clone();
                let scope = match self.random.below(3) {
                    0 => Scope::Any(queue.kind),
                    1 => Scope::Overdue(queue.kind),
                    _ => Scope::Queue(queue),
                };
                let hide_until = Timestamp::from_millis(self.now + self.random.below(60));
                let limit = self.random.below(4) as u32;
                let claim = Claim { scope, limit, hide_until };
                Command::Claim(Timestamp::from_millis(self.now), vec![claim])
            }
            _ => {
                let changes = (0..=self.random.below(3)).map(|_| self.change(seen)).collect();
                let id = BatchId(self.batch.into());
                self.batch += 1;
                Command::Commit(Work::new(&Batch { id, changes, nudges: Vec::new() }))
            }
        }
    }

    fn body(&mut self) -> Bytes {
        let length = match self.random.below(10) {
            0 => self.random.below(5000),
            _ => self.random.below(200),
        };
        let fill = self.random.number() as u8;
        Bytes::from(vec![fill; length as usize])
    }

    fn change(&mut self, seen: &Seen) -> Change {
        let mut change = Change::new();
        for _ in 0..=self.random.below(2) {
            change = self.step(change, seen);
        }
        change
    }

    fn step(&mut self, change: Change, seen: &Seen) -> Change {
        let body = self.body();
        let now = self.now;
        let time = |more| Timestamp::from_millis(now + more);
        let document = self.random.pick(&seen.documents).map(|found| found.at.clone());
        let item = self.random.pick(&seen.items).map(|found| found.at.clone());
        match (self.random.below(10), document, item) {
            (0, ..) => {
                let queues = queues();
                change.clear(self.random.pick(&queues).unwrap().clone())
            }
            (1, Some(document), _) => change.remove(&document),
            (2, Some(document), _) => change.replace(&document, body),
            (3, _, Some(item)) => change.settle(&item),
            (4, _, Some(item)) => {
                let marks = Marks::new(&[body.len() as u8]).unwrap();
                change.retime(&item, time(self.random.below(50)), marks)
            }
            (5 | 6, ..) => {
                let queues = queues();
                let deadline = match self.random.below(2) {
                    0 => Timestamp::MAX,
                    _ => time(self.random.below(50)),
                };
                let queue = self.random.pick(&queues).unwrap().clone();
                let visible = time(self.random.below(30));
                change.push(Push { queue, capacity: 6, visible, deadline, body })
            }
            (7 | 8, ..) => {
                let partition = Partition(self.random.below(PARTITIONS.into()) as u16);
                let ends = (1..=3).map(|n| (body.len() / 3 * n) as u32).collect();
                let arena = body.slice(..body.len() / 3 * 3);
                let entries = Entries::from_parts(arena, ends).unwrap();
                change.append(partition, time(0), entries)
            }
            (_, document, _) => {
                let id = self.random.below(12).to_string();
                let kind = *self.random.pick(&Kind::ALL).unwrap();
                let key = Key::new(kind, &id);
                match document.filter(|found| *found.key() == key) {
                    Some(found) => change.require(&DocumentRef::new(key, found.version())),
                    None => change.create(key, body),
                }
            }
        }
    }
}

/// Whether a group happened.
pub(super) fn all_ok(answers: &[Answer]) -> bool {
    answers.iter().all(Result::is_ok)
}

/// Answers without their errors.
pub(super) fn told(answers: Vec<Answer>) -> Vec<String> {
    answers
        .into_iter()
        .map(|answer| match answer {
            Ok(Reply::Outcomes(outcomes)) => format!("{outcomes:?}"),
            Ok(Reply::Items(items)) => format!("{items:?}"),
            Ok(Reply::Done) => "done".into(),
            Err(error) => format!("{error}"),
        })
        .collect()
}
