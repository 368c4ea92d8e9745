//! Documents and items as readers see them.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::num::NonZeroU32;
use std::ops::Bound;

use bytes::Bytes;
use hub_core::store::{Ask, Document, Key, Kind, QueueId, QueueKind, Record};

use crate::core::run::Shared;
use crate::state::documents::{Known, Slot, document};
use crate::state::shelf::Head;
use crate::state::{Body, State, damaged};
use crate::tree::{Space, rows};

/// What the tree said so far in the course of one read.
#[derive(Debug, Default)]
pub(crate) struct Fetched {
    /// Documents hold as long as the store's epoch is this.
    epoch: u64,
    documents: HashMap<Key, Slot>,
    /// Bodies never change, but may be gone.
    bodies: HashMap<(QueueKind, u64), Option<Bytes>>,
}

/// What is still to be fetched.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    epoch: u64,
    documents: Vec<Key>,
    bodies: Vec<(QueueKind, u64)>,
}

impl Wanted {
    /// Asks the tree.
    pub(crate) fn fetch(self, shared: &Shared, mut fetched: Fetched) -> io::Result<Fetched> {
        if fetched.epoch != self.epoch {
            fetched.documents.clear();
            fetched.epoch = self.epoch;
        }
        for key in self.documents {
            let slot = rows::get_document(&*shared.tree, &key)?;
            fetched.documents.insert(key, slot);
        }
        for (kind, number) in self.bodies {
            let body = rows::get_body(&*shared.tree, kind, number)?;
            // An item whose body was gone already when it was asked for, twice, has lost it; one
            // that was settled meanwhile will not be asked for again.
            if body.is_none() && fetched.bodies.contains_key(&(kind, number)) {
                return Err(damaged(format!("item {number} has lost its body")));
            }
            fetched.bodies.insert((kind, number), body);
        }
        Ok(fetched)
    }
}

/// Answers all asks as they stand at this instant (S1), or says what is missing.
pub(crate) fn read(
    state: &mut State,
    asks: &[Ask],
    fetched: &Fetched,
) -> Result<Vec<Option<Record>>, Wanted> {
    let mut wanted = Wanted { epoch: state.epoch, ..Wanted::default() };
    let mut view = View { state, fetched, wanted: &mut wanted };
    let records = asks.iter().map(|ask| view.answer(ask)).collect();
    if wanted.documents.is_empty() && wanted.bodies.is_empty() {
        return Ok(records);
    }
    // All documents are asked for together again: those fetched before hold only as long as the
    // epoch does.
    Err(wanted)
}

struct View<'a> {
    state: &'a mut State,
    fetched: &'a Fetched,
    wanted: &'a mut Wanted,
}

impl View<'_> {
    fn answer(&mut self, ask: &Ask) -> Option<Record> {
        match ask {
            Ask::Document(key) => {
                let found = self.slot(key)?;
                Some(Record::Document(document(key.clone(), found)))
            }
            Ask::Item(queue, sequence) => {
                let shelf = self.state.shelf(queue.kind)?;
                let head = shelf.published(sequence.0).filter(|head| head.queue == *queue)?.clone();
                self.item(queue, sequence.0, &head)
            }
            Ask::Depth(queue) => {
                let shelf = self.state.shelf(queue.kind);
                Some(Record::Depth(shelf.map_or(0, |shelf| shelf.published_depth(queue))))
            }
            Ask::Items(queue, after, limit) => {
                let shelf = self.state.shelf(queue.kind);
                let heads = shelf.map(|shelf| shelf.list(queue, *after, *limit));
                Some(self.items(&heads.unwrap_or_default()))
            }
            Ask::ItemsOfKind(kind, queue, after, limit) => {
                let shelf = self.state.shelf(*kind);
                let heads = shelf.map(|shelf| shelf.list_all(*kind, queue, *after, *limit));
                Some(self.items(&heads.unwrap_or_default()))
            }
        }
    }

    fn items(&mut self, heads: &[(u64, Head)]) -> Record {
        let items = heads.iter().filter_map(|(number, head)| {
            match self.item(&head.queue, *number, head)? {
                Record::Item(item) => Some(item),
                _ => None,
            }
        });
        Record::Items(items.collect())
    }

    fn slot(&mut self, key: &Key) -> Slot {
        if let Known::Yes(slot) = self.state.documents.published(key) {
            return slot;
        }
        let holds = self.fetched.epoch == self.state.epoch;
        match self.fetched.documents.get(key).filter(|_| holds) {
            Some(slot) => {
                if let Some(value) = slot {
                    self.state.documents.warm(key, value);
                }
                slot.clone()
            }
            None => {
                self.wanted.documents.push(key.clone());
                None
            }
        }
    }

    fn item(&mut self, queue: &QueueId, number: u64, head: &Head) -> Option<Record> {
        let body = match &head.body {
            Body::Here(body) => body.clone(),
            Body::Stored => match self.fetched.bodies.get(&(queue.kind, number)) {
                Some(Some(body)) => body.clone(),
                _ => {
                    self.wanted.bodies.push((queue.kind, number));
                    return None;
                }
            },
        };
        Some(Record::Item(rows::item(number, head, body)))
    }
}

/// Tries of a scan before it holds the lock to its end.
const TRIES: usize = 3;

/// Documents of a kind in order (S19): what the tree has under what was written of late.
pub(crate) fn scan(
    shared: &Shared,
    kind: Kind,
    after: Option<&str>,
    limit: NonZeroU32,
) -> io::Result<Vec<Document>> {
    let limit = usize::try_from(limit.get()).unwrap_or(usize::MAX);
    for _ in 0..TRIES {
        let (written, more, epoch) = {
            let state = shared.lock();
            let (written, more) = over(&state, kind, after, limit);
            (written, more, state.epoch)
        };
        let found = merge(shared, kind, after, limit, written, more)?;
        // Nothing moved between memory and the tree meanwhile, so this was one instant.
        if shared.lock().epoch == epoch {
            return Ok(found);
        }
    }
    let state = shared.lock();
    let (written, more) = over(&state, kind, after, limit);
    merge(shared, kind, after, limit, written, more)
}

type Written = BTreeMap<Key, Slot>;

fn over(state: &State, kind: Kind, after: Option<&str>, limit: usize) -> (Written, bool) {
    let from = Key::new(kind, after.unwrap_or(""));
    let bound = match after {
        Some(_) => Bound::Excluded(&from),
        None => Bound::Included(&from),
    };
    state.documents.written_after(kind, bound, limit)
}

fn merge(
    shared: &Shared,
    kind: Kind,
    after: Option<&str>,
    limit: usize,
    mut written: Written,
    more: bool,
) -> io::Result<Vec<Document>> {
    // Where what was written of late goes on beyond what is at hand, the tree is of no use: there
    // are enough documents before.
    let last = written.last_key_value().map(|(key, _)| key.clone()).filter(|_| more);
    let mut documents = Vec::new();
    let mut from = match after {
        Some(after) => rows::document_key(&Key::new(kind, after)),
        None => rows::before_kind(kind),
    };
    // A document may have the empty id, and its key is the one that begins the kind.
    let first = match after {
        None => rows::get_document(&*shared.tree, &Key::new(kind, ""))?,
        Some(_) => None,
    };
    let mut rows_left = first.map(|found| (Key::new(kind, ""), found)).into_iter().collect();
    let mut ended = false;
    loop {
        for (key, found) in std::mem::take::<Vec<_>>(&mut rows_left) {
            while let Some(entry) = written.first_entry()
                && *entry.key() < key
            {
                let (key, slot) = entry.remove_entry();
                documents.extend(slot.map(|found| document(key, found)));
            }
            let newer = written.remove_entry(&key);
            let (key, slot) = newer.unwrap_or((key, Some(found)));
            documents.extend(slot.map(|found| document(key, found)));
            if documents.len() >= limit {
                documents.truncate(limit);
                return Ok(documents);
            }
        }
        if ended {
            let rest = written.into_iter();
            documents.extend(rest.filter_map(|(key, slot)| Some(document(key, slot?))));
            documents.truncate(limit);
            return Ok(documents);
        }
        let wanted = limit.min(1024);
        let found = rows::after(&*shared.tree, Space::Documents, Some(&from), wanted)?;
        ended = found.len() < wanted;
        for (row, value) in found {
            let broken = || damaged(format!("a row of `documents` is damaged: {row:02x?}"));
            let key = rows::document_of(&row).ok_or_else(broken)?;
            if key.kind != kind || last.as_ref().is_some_and(|last| key > *last) {
                ended = true;
                break;
            }
            let value = rows::document(&value).ok_or_else(broken)?;
            from.clone_from(&row);
            rows_left.push((key, value));
        }
    }
}
