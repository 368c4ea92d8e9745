//! A complete store: sorted maps, looked through where a larger one has an index. `OneLock` hands it
//! one call after another and keeps the rest of the contract; `docs/writing-a-store.md` says how.

use std::collections::BTreeMap;

use hub_core::id::{Partition, SequenceNumber};
use hub_core::store::*;
use hub_core::time::Timestamp;

#[derive(Default)]
pub(crate) struct World {
    documents: BTreeMap<Key, Document>,
    /// Numbered over all queues together, also when they were emptied meanwhile (S10).
    items: BTreeMap<SequenceNumber, Item>,
    last_item: SequenceNumber,
    logs: BTreeMap<Partition, Log>,
}

/// One partition. Number and time of the last entry outlive a trim (S12, S18).
#[derive(Default)]
struct Log {
    last: SequenceNumber,
    at: Timestamp,
    entries: Vec<Entry>,
}

impl Held for World {
    fn version_of(&self, key: &Key) -> Option<Version> {
        self.documents.get(key).map(|document| document.at.version())
    }

    fn holds(&self, at: &ItemRef) -> bool {
        self.items.get(&at.sequence()).is_some_and(|item| item.at == *at)
    }

    fn depth(&self, queue: &QueueId) -> u32 {
        self.items.values().filter(|item| item.at.queue() == queue).count() as u32
    }
}

impl Shapes for World {
    fn read(&self, ask: &Ask) -> Option<Record> {
        Some(match ask {
            Ask::Document(key) => Record::Document(self.documents.get(key)?.clone()),
            Ask::Item(queue, number) => {
                let item = self.items.get(number).filter(|item| item.at.queue() == queue);
                Record::Item(item?.clone())
            }
            Ask::Depth(queue) => Record::Depth(self.depth(queue)),
            Ask::Items(queue, after, limit) => {
                let items = self.items.range(after.next()..).map(|(_, item)| item.clone());
                let items = items.filter(|item| item.at.queue() == queue);
                Record::Items(items.take(*limit as usize).collect())
            }
            Ask::ItemsOfKind(kind, queue, after, limit) => {
                let items = self.items.values().filter(|item| item.at.queue().kind == *kind);
                let place = |item: &Item| (item.at.queue().id.clone(), item.at.sequence());
                let after = (queue.clone(), *after);
                let mut items: Vec<_> = items.filter(|item| place(item) > after).cloned().collect();
                items.sort_by_key(place);
                items.truncate(*limit as usize);
                Record::Items(items)
            }
        })
    }

    fn scan(&self, kind: Kind, after: Option<&str>, limit: usize) -> Vec<Document> {
        let all = self.documents.iter().filter(|(key, _)| key.kind == kind);
        let rest = all.filter(|(key, _)| after.is_none_or(|after| *key.id > *after));
        rest.take(limit).map(|(_, document)| document.clone()).collect()
    }

    fn apply(&mut self, op: &Op, version: Version) -> Option<SequenceNumber> {
        match op {
            Op::Require(..) => {}
            Op::Put(key, _, body) => {
                let at = DocumentRef::new(key.clone(), version);
                self.documents.insert(key.clone(), Document { at, body: body.clone() });
            }
            Op::Remove(key, _) => drop(self.documents.remove(key)),
            Op::Push(push) => {
                self.last_item = self.last_item.next();
                self.items.insert(self.last_item, push.item(self.last_item, version));
                return Some(self.last_item);
            }
            Op::Retime(at, visible, marks) => {
                self.items.get_mut(&at.sequence())?.retime(*visible, *marks, version);
            }
            Op::Settle(at) => drop(self.items.remove(&at.sequence())),
            Op::Clear(queue) => self.items.retain(|_, item| item.at.queue() != queue),
            Op::Append(partition, at, entries) => {
                let log = self.logs.entry(*partition).or_default();
                let first = log.last.next();
                log.at = log.at.max(*at);
                for body in entries.iter() {
                    log.last = log.last.next();
                    log.entries.push(Entry { sequence: log.last, at: log.at, body });
                }
                return Some(first);
            }
        }
        None
    }

    fn claim(&mut self, now: Timestamp, claim: &Claim, version: Version) -> Vec<Item> {
        let wanted = self.items.values_mut().filter(|item| claim.wants(item, now));
        wanted.take(claim.limit as usize).map(|item| claim.take(item, version)).collect()
    }

    fn tail(&self, partition: Partition, from: SequenceNumber, limit: usize) -> Vec<Entry> {
        let entries = self.logs.get(&partition).into_iter().flat_map(|log| &log.entries);
        entries.filter(|entry| entry.sequence >= from).take(limit).cloned().collect()
    }

    fn seek(&self, partition: Partition, to: Seek) -> SequenceNumber {
        let Some(log) = self.logs.get(&partition) else { return SequenceNumber(1) };
        let found = log.entries.iter().find(|entry| match to {
            Seek::Oldest => true,
            Seek::Time(at) => entry.at >= at,
            Seek::Next => false,
        });
        found.map_or(log.last.next(), |entry| entry.sequence)
    }

    fn trim(&mut self, partition: Partition, below: SequenceNumber) {
        if let Some(log) = self.logs.get_mut(&partition) {
            log.entries.retain(|entry| entry.sequence >= below);
        }
    }
}
