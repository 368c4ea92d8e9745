//! Machines on one memory store, driven by hand.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use hub_core::device::{Answer, Arrival, Device, Effects, Input, Purpose, Said, Setup};
use hub_core::envelope::{AuthMethod, AuthScope, AuthType};
use hub_core::frame::{Delivery, Guarantee, Inbound, Interest, Outbound};
use hub_core::hello::{CredentialMark, Grant, SessionMode};
use hub_core::id::{Address, CallId, LinkId, NodeId, Tag};
use hub_core::limits::Limits;
use hub_core::registry::{Context, IdentitySpec, Status, create};
use hub_core::session::Session;
use hub_core::store::{
    Ask, Batch, BatchId, Change, Claim, DocumentRef, Item, Key, Outcome, QueueId, Record,
    Store as _,
};
use hub_core::time::Timestamp;
use hub_core::twin::Twin;
use hub_store_memory::MemoryStore;

pub(crate) const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);

/// Two nodes' machines of one device, and the store between them.
pub(crate) struct Rig {
    store: MemoryStore,
    pub(crate) machines: Vec<Device>,
    pub(crate) now: Timestamp,
    pub(crate) limits: Limits,
    pub(crate) address: Address,
    /// So many of the next changes are refused, as if others had written first.
    pub(crate) conflicts: u32,
    batches: u128,
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    /// A registered device with other limits.
    pub(crate) fn with(adapt: impl FnOnce(&mut Limits)) -> Self {
        let mut rig = Self::bare(adapt);
        rig.register(Status::Enabled);
        rig
    }

    /// A device that is not registered yet.
    pub(crate) fn bare(adapt: impl FnOnce(&mut Limits)) -> Self {
        let mut limits = Limits::default();
        adapt(&mut limits);
        let address = Address::parse("d1").unwrap();
        let machines = ["a", "b"].map(|node| machine(node, &limits, &address)).to_vec();
        let store = MemoryStore::new();
        Self { store, machines, now: START, limits, address, conflicts: 0, batches: 0 }
    }

    /// Registers the device, or changes its status.
    pub(crate) fn register(&mut self, status: Status) {
        let mut spec = IdentitySpec::new(self.address.clone());
        spec.status = Some(status);
        let context = Context {
            now: START,
            random: &[7; 64],
            limits: &self.limits,
            edges: &[],
            previous_generation: None,
        };
        let body = create(&spec, &context).unwrap().encode();
        let key = Key::identity(&self.address);
        let change = match self.version(&key) {
            Some(at) => Change::new().replace(&at, body),
            None => Change::new()
                .create(key, body)
                .create(Key::twin(&self.address), Twin::new(START).encode()),
        };
        assert!(matches!(self.commit(change), Outcome::Committed(_)));
    }

    /// Deletes the device, as the registry does.
    pub(crate) fn delete(&mut self) {
        let keys =
            [Key::identity(&self.address), Key::twin(&self.address), Key::session(&self.address)];
        let there = keys.iter().filter_map(|key| self.version(key));
        let change = there.fold(Change::new(), |change, at| change.remove(&at));
        let change = change.clear(QueueId::mailbox(&self.address));
        assert!(matches!(self.commit(change), Outcome::Committed(_)));
    }

    pub(crate) fn later(&mut self, by: Duration) {
        self.now = self.now.after(by);
    }

    pub(crate) fn read(&self, ask: Ask) -> Option<Record> {
        self.store.read(&[ask]).now_or_never().unwrap().unwrap().pop().unwrap()
    }

    fn version(&self, key: &Key) -> Option<DocumentRef> {
        match self.read(Ask::Document(key.clone())) {
            Some(Record::Document(document)) => Some(document.at),
            _ => None,
        }
    }

    pub(crate) fn session(&self) -> Session {
        match self.read(Ask::Document(Key::session(&self.address))) {
            Some(Record::Document(document)) => Session::decode(&document.body).unwrap(),
            _ => Session::default(),
        }
    }

    pub(crate) fn twin(&self) -> Twin {
        match self.read(Ask::Document(Key::twin(&self.address))) {
            Some(Record::Document(document)) => Twin::decode(&document.body).unwrap(),
            _ => panic!("no twin"),
        }
    }

    pub(crate) fn commit(&mut self, change: Change) -> Outcome {
        self.batches += 1;
        let id = BatchId(self.batches);
        let batch = Batch { id, changes: vec![change], nudges: Vec::new() };
        self.store.commit(&batch).now_or_never().unwrap().unwrap().pop().unwrap()
    }

    pub(crate) fn claim(&mut self, (_, at, claim): (Purpose, Timestamp, Claim)) -> Vec<Item> {
        let items = self.store.claim(at, &[claim]).now_or_never().unwrap().unwrap();
        items.into_iter().flatten().collect()
    }

    /// One input, with the effects left to the test.
    pub(crate) fn step(&mut self, machine: usize, input: Input) -> Effects {
        let mut fx = Effects::default();
        self.machines[machine].handle(self.now, input, &mut fx);
        fx
    }

    /// One input, and all that follows from it, with a store that answers at once.
    pub(crate) fn feed(&mut self, machine: usize, input: Input) -> Vec<Said> {
        let fx = self.step(machine, input);
        self.follow(machine, fx)
    }

    /// All that follows from effects.
    pub(crate) fn follow(&mut self, machine: usize, mut fx: Effects) -> Vec<Said> {
        let mut said = std::mem::take(&mut fx.said);
        let mut inputs = Vec::new();
        if !fx.reads.is_empty() {
            let records = self.store.read(&fx.reads).now_or_never().unwrap().unwrap();
            inputs.push(Input::Loaded(records));
        }
        if let Some(change) = fx.change.take() {
            let outcome = match self.conflicts.checked_sub(1) {
                None => self.commit(change),
                Some(less) => {
                    self.conflicts = less;
                    Outcome::Conflict
                }
            };
            inputs.push(Input::Outcome(outcome));
        }
        for claim in fx.claims.drain(..) {
            let (purpose, limit) = (claim.0, claim.2.limit);
            inputs.push(Input::Claimed(purpose, limit, self.claim(claim)));
        }
        for input in inputs {
            said.extend(self.feed(machine, input));
        }
        said
    }

    pub(crate) fn arrival(&self, session: SessionMode) -> Box<Arrival> {
        let generation = START.as_ticks();
        let auth = AuthMethod { scope: AuthScope::Hub, kind: AuthType::InProcess };
        let credential = CredentialMark::default();
        let grant = Grant { auth, expires: Timestamp::MAX, generation, credential };
        Box::new(Arrival { grant, session, model: None })
    }

    /// Connects, with all subscriptions.
    pub(crate) fn connect(&mut self, machine: usize, link: u64) -> Vec<Said> {
        let arrival = self.arrival(SessionMode::Persistent);
        let (call, link) = (CallId(1000 + link), LinkId(link));
        let mut said = self.feed(machine, Input::Connect(call, link, arrival));
        let all = Interest::ALL.map(|interest| (interest, Guarantee::AtLeastOnce)).to_vec();
        said.extend(self.feed(machine, Input::Frame(link, Inbound::Subscribe(Tag(0), all))));
        said
    }

    pub(crate) fn tick(&mut self, machine: usize) -> Vec<Said> {
        self.feed(machine, Input::Tick)
    }
}

/// The machine of a device at a node, without memory.
pub(crate) fn machine(node: &str, limits: &Limits, address: &Address) -> Device {
    let node = NodeId::new(node).unwrap();
    let (limits, routing) = (limits.clone(), Arc::default());
    let configurations = Arc::default();
    let setup = Setup { limits, node, partitions: 1, routing, configurations };
    Device::new(Arc::new(setup), address.clone())
}

/// The answers to a call.
pub(crate) fn answers(said: &[Said], call: u64) -> Vec<&Answer> {
    said.iter()
        .filter_map(|said| match said {
            Said::Answer(id, answer) if *id == CallId(call) => Some(answer),
            _ => None,
        })
        .collect()
}

/// What was told to a link.
pub(crate) fn told(said: &[Said], link: u64) -> Vec<&Outbound> {
    said.iter()
        .filter_map(|said| match said {
            Said::ToLink(id, outbound) if *id == LinkId(link) => Some(outbound),
            _ => None,
        })
        .collect()
}

/// What was offered to a link.
pub(crate) fn offers(said: &[Said], link: u64) -> Vec<&Delivery> {
    told(said, link)
        .into_iter()
        .filter_map(|outbound| match outbound {
            Outbound::Offer(delivery) => Some(&**delivery),
            _ => None,
        })
        .collect()
}
