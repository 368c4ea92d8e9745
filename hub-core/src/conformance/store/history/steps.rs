//! What may happen in a history: drawn from a seed, among few names, so that they meet.

use std::num::NonZeroU32;

use bytes::Bytes;

use super::super::Random;
use super::walk::Walk;
use crate::id::{Partition, SequenceNumber};
use crate::store::{
    Ask, Change, Claim, DocumentRef, Entries, ItemRef, Key, Kind, Marks, Push, QueueId, QueueKind,
    Scope, Seek, Store, Version,
};
use crate::time::Timestamp;

/// One step, in the model's versions and numbers.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Commit(Vec<Change>),
    /// A batch of before, by its place from the last.
    Repeat(usize),
    Claim(Timestamp, Vec<Claim>),
    Read(Vec<Ask>),
    Scan(Kind, Option<String>, NonZeroU32),
    Tail(Partition, SequenceNumber, NonZeroU32),
    Seek(Partition, Seek),
    Trim(Partition, SequenceNumber),
}

const KINDS: [Kind; 3] = [Kind::Identity, Kind::Twin, Kind::Cursor];
const QUEUES: [QueueKind; 2] = [QueueKind::Mailbox, QueueKind::FeedbackPending];
const IDS: [&str; 4] = ["a", "a/m", "b", "B"];

pub(super) fn draw<S: Store>(random: &mut Random, walk: &Walk<S>) -> Step {
    match random.below(100) {
        0..50 => {
            let count = 1 + random.below(4);
            Step::Commit((0..count).map(|_| change(random, walk)).collect())
        }
        50..55 => Step::Repeat(random.below(10) as usize),
        55..73 => Step::Claim(now(random, walk), claims(random, walk)),
        73..80 => Step::Read((0..random.below(6)).map(|_| ask(random, walk)).collect()),
        80..85 => {
            let after = random.percent(60).then(|| id(random).to_owned());
            Step::Scan(kind(random), after, limit(random))
        }
        85..91 => Step::Tail(partition(random), place(random, walk), limit(random)),
        91..97 => {
            let to = match random.below(4) {
                0 => Seek::Oldest,
                1 => Seek::Next,
                // Just when an entry came is where it matters which side it is on.
                2 => Seek::Time(walk.appended(random.number()).unwrap_or(Timestamp::ZERO)),
                _ => Seek::Time(now(random, walk)),
            };
            Step::Seek(partition(random), to)
        }
        _ => Step::Trim(partition(random), place(random, walk)),
    }
}

fn change<S: Store>(random: &mut Random, walk: &Walk<S>) -> Change {
    let mut change = Change::new();
    for _ in 0..[1, 1, 1, 2, 2, 3, 4, 0][random.below(8) as usize] {
        change = match random.below(10) {
            0..2 => {
                let key = key(random);
                let read = version(random, walk, &key);
                change.write(&key, read, body(random, 40))
            }
            2 => {
                let key = key(random);
                match version(random, walk, &key) {
                    Some(version) => change.remove(&DocumentRef::new(key, version)),
                    None => change.create(key, body(random, 40)),
                }
            }
            3 => {
                let key = key(random);
                match version(random, walk, &key) {
                    Some(version) => change.require(&DocumentRef::new(key, version)),
                    None => change.require_absent(key),
                }
            }
            4..6 => change.push(Push {
                queue: queue(random),
                capacity: 1 + random.below(6) as u32,
                visible: now(random, walk),
                deadline: deadline(random, walk),
                body: body(random, 40),
            }),
            6 => match item(random, walk) {
                Some(item) => change.retime(&item, now(random, walk), marks(random)),
                None => change,
            },
            7 => match item(random, walk) {
                Some(item) => change.settle(&item),
                None => change,
            },
            8 if random.percent(30) => change.clear(queue(random)),
            _ => change.append(partition(random), now(random, walk), entries(random)),
        };
    }
    change
}

fn claims<S: Store>(random: &mut Random, walk: &Walk<S>) -> Vec<Claim> {
    let hide_until = now(random, walk).after(std::time::Duration::from_millis(random.below(60)));
    let limit = |random: &mut Random| [0, 1, 2, 3, u32::MAX][random.below(5) as usize];
    // Claims of one call share no queue: which of two gets an item first is the store's choice.
    if random.percent(50) {
        let kind = *random.pick(&QUEUES).unwrap_or(&QUEUES[0]);
        let scope = if random.percent(50) { Scope::Any(kind) } else { Scope::Overdue(kind) };
        return vec![Claim { scope, limit: limit(random), hide_until }];
    }
    let mut claims = Vec::new();
    for kind in QUEUES {
        for id in IDS {
            if random.percent(40) {
                let scope = Scope::Queue(QueueId { kind, id: id.into() });
                claims.push(Claim { scope, limit: limit(random), hide_until });
            }
        }
    }
    claims
}

fn ask<S: Store>(random: &mut Random, walk: &Walk<S>) -> Ask {
    match random.below(5) {
        // For the same reason as below.
        4 => {
            let (queue, most) = (queue(random), limit(random).get());
            Ask::ItemsOfKind(queue.kind, queue.id, SequenceNumber(0), most)
        }
        0 => Ask::Document(key(random)),
        // Numbers differ between the stores, so the list begins where both agree.
        2 => Ask::Items(queue(random), SequenceNumber(0), limit(random).get()),
        1 => Ask::Depth(queue(random)),
        _ => item(random, walk).map_or_else(
            || Ask::Depth(queue(random)),
            |item| Ask::Item(item.queue().clone(), item.sequence()),
        ),
    }
}

fn kind(random: &mut Random) -> Kind {
    *random.pick(&KINDS).unwrap_or(&KINDS[0])
}

fn id(random: &mut Random) -> &'static str {
    IDS[random.below(IDS.len() as u64) as usize]
}

fn key(random: &mut Random) -> Key {
    Key::new(kind(random), id(random))
}

fn queue(random: &mut Random) -> QueueId {
    let kind = QUEUES[random.below(QUEUES.len() as u64) as usize];
    QueueId { kind, id: id(random).into() }
}

fn partition(random: &mut Random) -> Partition {
    Partition(random.below(3) as u16)
}

/// Near the time the history has come to; sometimes before it, since clocks differ.
fn now<S: Store>(random: &mut Random, walk: &Walk<S>) -> Timestamp {
    Timestamp::from_millis((walk.now() + random.below(40)).saturating_sub(15))
}

fn deadline<S: Store>(random: &mut Random, walk: &Walk<S>) -> Timestamp {
    if random.percent(30) { Timestamp::MAX } else { now(random, walk) }
}

fn limit(random: &mut Random) -> NonZeroU32 {
    NonZeroU32::new([1, 2, 5, 1000][random.below(4) as usize]).unwrap_or(NonZeroU32::MIN)
}

fn place<S: Store>(random: &mut Random, walk: &Walk<S>) -> SequenceNumber {
    SequenceNumber(random.below(walk.longest_log() + 3))
}

fn body(random: &mut Random, longest: u64) -> Bytes {
    (0..random.below(longest)).map(|_| random.number() as u8).collect()
}

fn marks(random: &mut Random) -> Marks {
    Marks::new(&body(random, Marks::MAX as u64 + 1)).unwrap_or_default()
}

fn entries(random: &mut Random) -> Entries {
    let bodies: Vec<_> = (0..1 + random.below(4)).map(|_| body(random, 12)).collect();
    let ends = bodies.iter().scan(0, |end, body| {
        *end += body.len() as u32;
        Some(*end)
    });
    let ends: Vec<_> = ends.collect();
    Entries::from_parts(bodies.concat().into(), ends).unwrap_or_default()
}

/// Mostly the version the document has; else an old one of it, or a wrong absence. Never another
/// document's: a store may give that to this one too (S6).
fn version<S: Store>(random: &mut Random, walk: &Walk<S>, key: &Key) -> Option<Version> {
    match random.below(10) {
        0 => walk.old_version(random.number(), key),
        1 => None,
        _ => walk.version_of(key),
    }
}

/// Mostly an item as it is; else an old state of one, which may be settled by now.
fn item<S: Store>(random: &mut Random, walk: &Walk<S>) -> Option<ItemRef> {
    if random.percent(75) { walk.item(random.number()) } else { walk.old_item(random.number()) }
}
