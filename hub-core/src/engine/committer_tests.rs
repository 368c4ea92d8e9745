//! The committer on a store that answers as it is told.

use std::num::NonZeroU32;
use std::sync::atomic::AtomicU32;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Notify;

use super::super::line::Bounds;
use super::*;
use crate::frame::Outbound;
use crate::id::{Address, NodeId, Partition, SequenceNumber};
use crate::store::{
    Ask, Claim, Document, Durability, Entries, Entry, Issued, Item, Key, Kind, Record, Seek,
    StoreErrorKind, Version,
};
use crate::time::Timestamp;

/// How the store answers the next commit. Without an answer it commits.
enum Answer {
    /// When it is let go.
    Hold(Arc<Notify>),
    Fails(StoreErrorKind),
    Outcomes(Vec<Outcome>),
}

#[derive(Default)]
struct Script {
    answers: Mutex<VecDeque<Answer>>,
    commits: Mutex<Vec<Batch>>,
}

fn committed() -> Outcome {
    Outcome::Committed(Issued { version: Version(1), sequences: Vec::new() })
}

#[async_trait]
impl Store for Script {
    fn durability(&self) -> Durability {
        Durability::Volatile
    }

    async fn read(&self, _: &[Ask]) -> Result<Vec<Option<Record>>, StoreError> {
        unreachable!("a committer reads nothing")
    }

    async fn scan(
        &self,
        _: Kind,
        _: Option<&str>,
        _: NonZeroU32,
    ) -> Result<Vec<Document>, StoreError> {
        unreachable!("a committer reads nothing")
    }

    async fn commit(&self, batch: &Batch) -> Result<Vec<Outcome>, StoreError> {
        lock(&self.commits).push(batch.clone());
        let answer = lock(&self.answers).pop_front();
        match answer {
            Some(Answer::Hold(go)) => go.notified().await,
            Some(Answer::Fails(StoreErrorKind::Unavailable)) => {
                return Err(StoreError::unavailable("commit", "as told"));
            }
            Some(Answer::Fails(StoreErrorKind::Unknown)) => {
                return Err(StoreError::unknown("commit", "as told"));
            }
            Some(Answer::Fails(StoreErrorKind::Fatal)) => {
                return Err(StoreError::fatal("commit", "as told"));
            }
            Some(Answer::Outcomes(outcomes)) => return Ok(outcomes),
            None => {}
        }
        Ok(batch.changes.iter().map(|_| committed()).collect())
    }

    async fn claim(&self, _: Timestamp, _: &[Claim]) -> Result<Vec<Vec<Item>>, StoreError> {
        unreachable!("a committer claims nothing")
    }

    async fn tail(
        &self,
        _: Partition,
        _: SequenceNumber,
        _: NonZeroU32,
    ) -> Result<Vec<Entry>, StoreError> {
        unreachable!("a committer reads nothing")
    }

    async fn seek(&self, _: Partition, _: Seek) -> Result<SequenceNumber, StoreError> {
        unreachable!("a committer reads nothing")
    }

    async fn trim(&self, _: Partition, _: SequenceNumber) -> Result<(), StoreError> {
        unreachable!("a committer trims nothing")
    }

    async fn nudged(&self, _: &NodeId) {}
}

/// What a shard would be told.
#[derive(Default)]
struct Told {
    appended: AtomicU32,
    fatal: AtomicU32,
    degraded: Mutex<Vec<bool>>,
    finished: AtomicU32,
    /// So many changes are added, one by one, each when the one before it is answered.
    more: AtomicU32,
    committer: Mutex<Option<Arc<Committer>>>,
    /// Happens once, before the next results are handed out.
    meanwhile: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Finish for Told {
    fn finish(self: &Arc<Self>, answered: impl Iterator<Item = (Done, Outcome)>) {
        let meanwhile = lock(&self.meanwhile).take();
        meanwhile.into_iter().for_each(|happens| happens());
        for (done, outcome) in answered {
            self.finished.fetch_add(1, Ordering::SeqCst);
            match done {
                Done::Receipt { line, tag, bytes } => line.receipt(tag, bytes),
                Done::Caller(caller) => drop(caller.send(outcome)),
                Done::Device(_) => {}
            }
            let more = self.more.load(Ordering::SeqCst);
            if let Some(committer) = lock(&self.committer).clone().filter(|_| more > 0) {
                self.more.store(more - 1, Ordering::SeqCst);
                committer.submit(change(9), Done::Caller(oneshot::channel().0));
            }
        }
    }

    fn appended(&self, _: bool) {
        self.appended.fetch_add(1, Ordering::SeqCst);
    }

    fn to_configure(&self) {}

    fn fatal(&self, _: &StoreError) {
        self.fatal.fetch_add(1, Ordering::SeqCst);
    }

    fn degraded(&self, yes: bool) {
        lock(&self.degraded).push(yes);
    }
}

struct Bench {
    script: Arc<Script>,
    told: Arc<Told>,
    committer: Arc<Committer>,
}

const PREFIX: u128 = 7 << 64;

impl Bench {
    fn new(limits: Limits) -> Self {
        let script = Arc::new(Script::default());
        let committer = Committer::new(
            script.clone(),
            Arc::new(limits),
            Handle::current(),
            Arc::new(Meter::new("")),
            PREFIX,
        );
        Self { script, told: Arc::new(Told::default()), committer: Arc::new(committer) }
    }

    fn answer(&self, answer: Answer) {
        lock(&self.script.answers).push_back(answer);
    }

    fn hold(&self) -> Arc<Notify> {
        let go = Arc::new(Notify::new());
        self.answer(Answer::Hold(go.clone()));
        go
    }

    fn submit(&self, change: Change) -> oneshot::Receiver<Outcome> {
        let (sender, receiver) = oneshot::channel();
        self.committer.submit(change, Done::Caller(sender));
        self.committer.kick(&self.told);
        receiver
    }

    /// For those who do not want to know.
    fn add(&self, change: Change) {
        drop(self.submit(change));
    }

    /// The changes of each commit so far, by the number they were made with.
    fn commits(&self) -> Vec<Vec<usize>> {
        let commits = lock(&self.script.commits);
        commits.iter().map(|batch| batch.changes.iter().map(number).collect()).collect()
    }

    fn poll_room(&self, link: u64) -> Poll<()> {
        self.committer.poll_room(LinkId(link), &Context::from_waker(Waker::noop()))
    }
}

/// A change that is told from others by the length of its body.
fn change(number: usize) -> Change {
    Change::new().create(Key::new(Kind::Twin, "t"), Bytes::from(vec![0; number]))
}

fn number(change: &Change) -> usize {
    match change.ops() {
        [Op::Put(_, _, body)] => body.len(),
        other => panic!("not one of ours: {other:?}"),
    }
}

#[tokio::test]
async fn a_store_that_answers_at_once_costs_no_task() {
    let bench = Bench::new(Limits::default());
    let mut answer = bench.submit(change(1));
    assert_eq!(answer.try_recv().unwrap(), Some(committed()));
    assert!(bench.committer.is_idle());
}

#[tokio::test]
async fn while_a_batch_is_out_the_next_gathers() {
    let bench = Bench::new(Limits::default());
    let go = bench.hold();
    let first = bench.submit(change(1));
    tokio::task::yield_now().await;
    let others: Vec<_> = (2..5).map(|number| bench.submit(change(number))).collect();
    tokio::task::yield_now().await;
    assert_eq!(bench.commits(), [vec![1]], "one is out, and one only");
    assert_eq!(bench.committer.depth().0, 3);
    assert!(!bench.committer.is_idle());
    go.notify_one();
    assert_eq!(first.await.unwrap(), committed());
    for other in others {
        assert_eq!(other.await.unwrap(), committed());
    }
    assert_eq!(bench.commits(), [vec![1], vec![2, 3, 4]], "the rest in one batch, in order");
    assert_eq!(bench.committer.depth(), (0, 0));
}

/// Whether the store answers at once or later, and whoever brings the next events meanwhile.
#[tokio::test]
async fn a_link_has_its_receipts_in_the_order_of_its_events() {
    for later in [false, true] {
        let bench = Bench::new(Limits::default());
        let bounds = Bounds::from(&Limits::default());
        let line = Arc::new(Line::new(LinkId(1), Address::parse("d").unwrap(), bounds));
        let (committer, told, to) = (bench.committer.clone(), bench.told.clone(), line.clone());
        let send = move |tag| {
            let done = Done::Receipt { line: to.clone(), tag: Tag(tag), bytes: 0 };
            committer.submit(change(1), done);
            committer.kick(&told);
        };
        let go = later.then(|| bench.hold());
        let other = send.clone();
        // The first is answered and its receipt not yet out, when another thread sends the second.
        let meanwhile = move || std::thread::spawn(move || other(2)).join().unwrap();
        *lock(&bench.told.meanwhile) = Some(Box::new(meanwhile));
        send(1);
        go.iter().for_each(|go| go.notify_one());
        while !bench.committer.is_idle() {
            tokio::task::yield_now().await;
        }
        let receipts: Vec<_> = std::iter::from_fn(|| line.try_next()).collect();
        assert_eq!(receipts, [1, 2].map(|tag| Outbound::Receipt(Tag(tag))), "later: {later}");
    }
}

/// The store is not kept waiting for whoever takes the results.
#[tokio::test]
async fn the_next_batch_is_out_before_results_are_handed_out() {
    let bench = Bench::new(Limits::default());
    let (first, second) = (bench.hold(), bench.hold());
    bench.add(change(1));
    bench.add(change(2));
    let (script, seen) = (bench.script.clone(), Arc::new(AtomicUsize::new(0)));
    let count = seen.clone();
    *lock(&bench.told.meanwhile) = Some(Box::new(move || {
        count.store(lock(&script.commits).len(), Ordering::SeqCst);
    }));
    first.notify_one();
    second.notify_one();
    while !bench.committer.is_idle() {
        tokio::task::yield_now().await;
    }
    assert_eq!(seen.load(Ordering::SeqCst), 2);
    assert_eq!(bench.commits(), [vec![1], vec![2]]);
}

#[tokio::test]
async fn a_batch_keeps_its_bounds() {
    let one = change(1).bytes();
    let limits = Limits { batch_changes_max: 2, batch_bytes_max: 3 * one, ..Limits::default() };
    let bench = Bench::new(limits);
    let go = bench.hold();
    bench.add(change(1));
    tokio::task::yield_now().await;
    // 2 and 3 are as many as fit, 500 is more than fits and goes alone.
    let mut last = None;
    for number in [2, 3, 4, 500, 5] {
        last = Some(bench.submit(change(number)));
    }
    go.notify_one();
    last.unwrap().await.unwrap();
    assert_eq!(bench.commits(), [vec![1], vec![2, 3], vec![4], vec![500], vec![5]]);
}

#[tokio::test(start_paused = true)]
async fn a_batch_whose_fate_is_unknown_is_sent_again_under_its_name() {
    let bench = Bench::new(Limits::default());
    for kind in [StoreErrorKind::Unknown, StoreErrorKind::Unavailable, StoreErrorKind::Unknown] {
        bench.answer(Answer::Fails(kind));
    }
    bench.answer(Answer::Outcomes(vec![Outcome::Conflict]));
    let first = bench.submit(change(1));
    tokio::task::yield_now().await;
    let second = bench.submit(change(2));
    assert_eq!(first.await.unwrap(), Outcome::Conflict);
    assert_eq!(second.await.unwrap(), committed());
    assert_eq!(bench.commits(), [vec![1], vec![1], vec![1], vec![1], vec![2]]);
    let ids: Vec<_> = lock(&bench.script.commits).iter().map(|batch| batch.id).collect();
    assert_eq!(ids, [0, 0, 0, 0, 1].map(|number| BatchId(PREFIX | number)));
    assert_eq!(*lock(&bench.told.degraded), [true, false], "told once, and once again");
    assert_eq!(bench.committer.counters.retries.load(Ordering::Relaxed), 3);
    assert_eq!(bench.committer.counters.conflicts.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_fatal_error_ends_it_and_lets_everybody_go() {
    let limits = Limits { waiting_changes_max: 2, ..Limits::default() };
    let bench = Bench::new(limits);
    let go = bench.hold();
    let first = bench.submit(change(1));
    tokio::task::yield_now().await;
    bench.answer(Answer::Fails(StoreErrorKind::Fatal));
    let (second, third) = (bench.submit(change(2)), bench.submit(change(3)));
    assert!(bench.committer.is_full() && bench.poll_room(1).is_pending());
    go.notify_one();
    assert_eq!(first.await.unwrap(), committed());
    assert!(second.await.is_err() && third.await.is_err(), "nobody is told what is not known");
    assert_eq!(bench.told.fatal.load(Ordering::SeqCst), 1);
    assert!(bench.submit(change(4)).await.is_err());
    assert_eq!(bench.commits().len(), 2, "nothing goes to a lost store");
    assert!(bench.poll_room(1).is_ready());
    assert!(!bench.committer.is_idle(), "not all was written");
}

#[tokio::test]
async fn too_few_outcomes_are_fatal() {
    let bench = Bench::new(Limits::default());
    let go = bench.hold();
    bench.add(change(1));
    tokio::task::yield_now().await;
    bench.answer(Answer::Outcomes(vec![committed()]));
    let (second, third) = (bench.submit(change(2)), bench.submit(change(3)));
    go.notify_one();
    assert!(second.await.is_err() && third.await.is_err(), "one of them would wait for ever");
    assert_eq!(bench.told.fatal.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn room_comes_back_also_when_there_is_room_for_one() {
    for most in [1, 2, 3] {
        let limits = Limits { waiting_changes_max: most, ..Limits::default() };
        let bench = Bench::new(limits);
        let go = bench.hold();
        bench.add(change(1));
        tokio::task::yield_now().await;
        // The first was waiting itself, until it went.
        assert!(!bench.committer.is_full(), "{most}");
        (1..most).for_each(|_| bench.add(change(2)));
        let last = bench.submit(change(2));
        assert!(bench.committer.is_full(), "{most}");
        assert!(bench.poll_room(1).is_pending());
        go.notify_one();
        last.await.unwrap();
        assert!(!bench.committer.is_full(), "{most}");
        assert!(bench.poll_room(1).is_ready());
    }
}

#[tokio::test]
async fn bytes_fill_it_too() {
    let limits = Limits { waiting_bytes_max: 2 * change(100).bytes(), ..Limits::default() };
    let bench = Bench::new(limits);
    let go = bench.hold();
    bench.add(change(1));
    tokio::task::yield_now().await;
    bench.add(change(100));
    assert!(!bench.committer.is_full());
    let last = bench.submit(change(100));
    assert!(bench.committer.is_full());
    assert_eq!(bench.committer.depth(), (2, 2 * change(100).bytes()));
    go.notify_one();
    last.await.unwrap();
    assert!(!bench.committer.is_full());
}

#[tokio::test]
async fn a_link_that_asks_often_waits_in_one_place() {
    let limits = Limits { waiting_changes_max: 1, ..Limits::default() };
    let bench = Bench::new(limits);
    let _go = bench.hold();
    bench.add(change(1));
    bench.add(change(2));
    for _ in 0..1000 {
        assert!(bench.poll_room(1).is_pending());
        assert!(bench.poll_room(2).is_pending());
    }
    assert_eq!(lock(&bench.committer.state).room.len(), 2);
}

#[tokio::test]
async fn whoever_waits_for_room_is_woken() {
    let limits = Limits { waiting_changes_max: 1, ..Limits::default() };
    let bench = Bench::new(limits);
    let go = bench.hold();
    bench.add(change(1));
    bench.add(change(2));
    let committer = bench.committer.clone();
    let waiting = tokio::spawn(std::future::poll_fn(move |cx| committer.poll_room(LinkId(1), cx)));
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    go.notify_one();
    waiting.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_abandoned_batch_is_not_offered_for_ever() {
    let bench = Bench::new(Limits::default());
    for _ in 0..1000 {
        bench.answer(Answer::Fails(StoreErrorKind::Unavailable));
    }
    let answer = bench.submit(change(1));
    tokio::time::sleep(Duration::from_secs(10)).await;
    let before = bench.commits().len();
    assert!(before > 3, "it is tried again and again");
    bench.committer.abandon();
    assert!(answer.await.is_err());
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(bench.commits().len() <= before + 1, "the hub is gone");
}

#[tokio::test]
async fn work_that_makes_work_does_not_hold_its_caller() {
    let bench = Bench::new(Limits::default());
    *lock(&bench.told.committer) = Some(bench.committer.clone());
    bench.told.more.store(100, Ordering::SeqCst);
    bench.add(change(1));
    let led = bench.told.finished.load(Ordering::SeqCst);
    assert!(led <= u32::try_from(lead::LEAD_MAX).unwrap(), "{led} were led by one caller");
    while !bench.committer.is_idle() {
        tokio::task::yield_now().await;
    }
    assert_eq!(bench.told.finished.load(Ordering::SeqCst), 101);
}

#[tokio::test]
async fn readers_are_told_of_entries_only() {
    let bench = Bench::new(Limits::default());
    bench.add(change(1));
    assert_eq!(bench.told.appended.load(Ordering::SeqCst), 0);
    let entries = Entries::one(Bytes::from_static(b"x"));
    bench.add(Change::new().append(Partition(0), Timestamp::ZERO, entries));
    assert_eq!(bench.told.appended.load(Ordering::SeqCst), 1);
}

#[cfg(feature = "metrics")]
#[tokio::test]
async fn the_oldest_is_as_old_as_the_first_that_waits() {
    let bench = Bench::new(Limits { batch_changes_max: 1, ..Limits::default() });
    assert_eq!(bench.committer.oldest(), Some(Duration::ZERO));
    let go = bench.hold();
    bench.add(change(1));
    tokio::task::yield_now().await;
    assert_eq!(bench.committer.oldest(), Some(Duration::ZERO), "it is out and does not wait");
    bench.add(change(2));
    std::thread::sleep(Duration::from_millis(20));
    let last = bench.submit(change(3));
    assert!(bench.committer.oldest().unwrap() >= Duration::from_millis(20));
    go.notify_one();
    last.await.unwrap();
    assert_eq!(bench.committer.oldest(), Some(Duration::ZERO));
}
