//! Claims of the memory store over many queues.

use std::sync::Arc;
use std::time::Duration;

use hub_core::id::Address;
use hub_core::store::{Batch, BatchId, Change, Claim, Push, QueueId, QueueKind, Scope, Store};
use hub_core::time::Timestamp;
use hub_store_memory::MemoryStore;

use crate::fixture::{self, BODY, address};
use crate::{Bench, Random};

const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);
const LOCK: Duration = Duration::from_secs(60);
const QUEUES: usize = 10_000;

fn fill(
    store: &MemoryStore,
    addresses: &[Address],
    depth: usize,
    deadline: Timestamp,
    body: &[u8],
) {
    let push = |address: &Address| Push {
        queue: QueueId::mailbox(address),
        capacity: 50,
        visible: START,
        deadline,
        body: body.to_vec().into(),
    };
    for round in 0..depth {
        let changes = addresses.iter().map(|address| Change::new().push(push(address))).collect();
        let id = BatchId(round as u128);
        fixture::now(store.commit(&Batch { id, changes, nudges: Vec::new() })).expect("pushed");
    }
}

/// Claims everything one of 10,000 queues holds, so many items, for a minute; a minute later again.
#[derive(Debug)]
pub struct Queues {
    store: Arc<MemoryStore>,
    depth: u64,
    addresses: Vec<Address>,
    at: usize,
    now: Timestamp,
}

impl Bench for Queues {
    type Size = u64;
    const NAME: &'static str = "claim/queue";
    const SIZES: &'static [u64] = &[1, 10, 50];

    fn open(depth: u64) -> Self {
        Self { store: fixture::store(), depth, addresses: Vec::new(), at: 0, now: START }
    }

    fn seed(&mut self, random: &mut Random) {
        self.addresses = (0..QUEUES).map(address).collect();
        let body = random.bytes(BODY);
        let depth = usize::try_from(self.depth).unwrap_or(1);
        fill(&self.store, &self.addresses, depth, Timestamp::MAX, &body);
        random.shuffle(&mut self.addresses);
    }

    fn elements(depth: u64) -> u64 {
        depth
    }

    fn run(&mut self, rounds: u64) {
        for _ in 0..rounds {
            if self.at == self.addresses.len() {
                self.at = 0;
                self.now = self.now.after(LOCK);
            }
            let Some(address) = self.addresses.get(self.at) else { return };
            self.at += 1;
            let scope = Scope::Queue(QueueId::mailbox(address));
            let claim = Claim { scope, limit: 50, hide_until: self.now.after(LOCK) };
            let taken = fixture::now(self.store.claim(self.now, &[claim])).expect("claimed");
            debug_assert_eq!(taken.iter().map(Vec::len).sum::<usize>() as u64, self.depth);
        }
    }
}

/// A sweep: takes so many overdue items of 10,000 queues that hold one each.
#[derive(Debug)]
pub struct Overdue {
    store: Arc<MemoryStore>,
    limit: u64,
    taken: u64,
    now: Timestamp,
}

impl Bench for Overdue {
    type Size = u64;
    const NAME: &'static str = "claim/overdue";
    const SIZES: &'static [u64] = &[1, 256];

    fn open(limit: u64) -> Self {
        Self { store: fixture::store(), limit, taken: 0, now: START }
    }

    fn seed(&mut self, random: &mut Random) {
        let addresses: Vec<_> = (0..QUEUES).map(address).collect();
        fill(&self.store, &addresses, 1, START, &random.bytes(BODY));
    }

    fn elements(limit: u64) -> u64 {
        limit
    }

    fn run(&mut self, rounds: u64) {
        for _ in 0..rounds {
            // So many claims later all items are locked: on to the time when all are free again.
            if self.taken + self.limit > QUEUES as u64 {
                self.taken = 0;
                self.now = self.now.after(LOCK);
            }
            self.taken += self.limit;
            let limit = u32::try_from(self.limit).unwrap_or(1);
            let scope = Scope::Overdue(QueueKind::Mailbox);
            let claim = Claim { scope, limit, hide_until: self.now.after(LOCK) };
            let taken = fixture::now(self.store.claim(self.now, &[claim])).expect("claimed");
            debug_assert_eq!(taken.iter().map(Vec::len).sum::<usize>() as u64, self.limit);
        }
    }
}
