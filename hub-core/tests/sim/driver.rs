//! The engine's part, played deterministically: what `engine/shard.rs`, `committer.rs` and
//! `tasks.rs` do with the effects of machines, with one shard per node.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use hub_core::delivery::Emitter;
use hub_core::device::{Answer, Effects, Input, Purpose, Said, Setup};
use hub_core::frame::Outbound;
use hub_core::id::{Address, CallId, LinkId, NodeId, Tag};
use hub_core::inbox::Reply;
use hub_core::node::Node;
use hub_core::store::{
    Ask, Batch, BatchId, Change, Claim, Item, Outcome, QueueKind, Record, Scope,
};
use hub_core::time::Timestamp;

use crate::fact::{Call, Conn, Fact, SKEW_MAX, Wish};
use crate::world::{Bug, Event, Phase, World};

/// What is asked of the store.
#[derive(Debug)]
pub(crate) enum StoreCall {
    Read(Address, Vec<Ask>),
    Claim(ClaimFor, Timestamp, Claim),
    Commit(Batch),
}

/// Who wants items.
#[derive(Debug, Clone)]
pub(crate) enum ClaimFor {
    Device(Address, Purpose),
    Sweep,
    Emitter,
    /// A node's own inbox.
    Inbox,
    /// Posts for nodes that do not fetch them.
    Bury,
}

/// What the store answers: nothing, when it cannot say.
#[derive(Debug)]
pub(crate) enum StoreReply {
    Read(Address, Option<Vec<Option<Record>>>),
    Claimed(ClaimFor, u32, Option<Vec<Item>>),
    Committed(Option<Vec<Outcome>>),
}

/// Who is told what became of a change.
#[derive(Debug, Clone)]
pub(crate) enum Done {
    Receipt(LinkId, Tag),
    Device(Address),
    Emitter,
    /// A change of the registry, which no machine decides.
    Registry(Address),
    /// A post that was taken out, or an answer for another node.
    Nobody,
}

/// One process of the hub.
pub(crate) struct SimNode {
    pub(crate) index: usize,
    pub(crate) id: NodeId,
    setup: Arc<Setup>,
    pub(crate) up: bool,
    /// Counts its lives.
    pub(crate) run: u64,
    /// How far its clock is behind the fastest allowed.
    pub(crate) behind: u64,
    pub(crate) machines: Node,
    fx: Effects,
    pub(crate) waiting: VecDeque<(Change, Done)>,
    flight: Option<(Batch, Vec<Done>)>,
    batches: u64,
    pub(crate) lines: BTreeMap<LinkId, Conn>,
    pub(crate) calls: BTreeMap<CallId, Call>,
    /// Calls that other nodes wait for.
    pub(crate) foreign: BTreeMap<CallId, (Address, Reply)>,
    last_call: u64,
    links: u64,
    emitter: Emitter,
    made: u32,
    armed: Option<u64>,
}

impl SimNode {
    pub(crate) fn new(index: usize, id: NodeId, setup: Arc<Setup>) -> Self {
        Self {
            index,
            id,
            machines: Node::new(setup.clone()),
            setup,
            up: false,
            run: 0,
            behind: 0,
            fx: Effects::default(),
            waiting: VecDeque::new(),
            flight: None,
            batches: 0,
            lines: BTreeMap::new(),
            calls: BTreeMap::new(),
            foreign: BTreeMap::new(),
            last_call: 0,
            links: 0,
            emitter: Emitter::new(Timestamp::ZERO),
            made: 0,
            armed: None,
        }
    }

    /// Calls of one life are none of the next, to whom an answer may come late.
    pub(crate) fn next_call(&mut self) -> CallId {
        self.last_call += 1;
        CallId(self.run << 32 | self.last_call)
    }

    pub(crate) fn next_link(&mut self) -> LinkId {
        self.links += 1;
        LinkId(self.links)
    }

    /// Whether so much waits that nothing new should be begun.
    pub(crate) fn is_full(&self) -> bool {
        self.waiting.len() >= self.setup.limits.waiting_changes_max
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.waiting.is_empty() && self.flight.is_none()
    }
}

impl World {
    /// A node begins, with nothing in memory and a clock of its own.
    pub(crate) fn start(&mut self, n: usize) {
        if self.nodes[n].up {
            return;
        }
        let behind = self.rng.below(2 * SKEW_MAX + 1);
        let node = &mut self.nodes[n];
        let mut fresh = SimNode::new(n, node.id.clone(), node.setup.clone());
        (fresh.up, fresh.run, fresh.behind) = (true, node.run + 1, behind);
        *node = fresh;
        let (run, id) = (node.run, node.id.clone());
        self.nodes[n].emitter = Emitter::new(self.local(n));
        self.see(Fact::Started { node: n, id: id.clone() });
        self.write_node(n, &id);
        let sweep = self.rng.below(1000);
        self.after(sweep, Event::Sweep { node: n, run });
        self.after(sweep / 2, Event::Emit { node: n, run });
        self.after(sweep / 3, Event::Inbox { node: n, run });
    }

    /// A node loses all it had in memory, and every connection to it breaks.
    pub(crate) fn crash(&mut self, n: usize) {
        if !self.nodes[n].up {
            return;
        }
        self.nodes[n].up = false;
        self.see(Fact::Crashed { node: n });
        let lines: Vec<Conn> = self.nodes[n].lines.values().copied().collect();
        for conn in lines {
            let delay = self.rng.below(300);
            self.after(delay, Event::Cut { conn });
        }
        let down = self.rng.between(20, 3000);
        self.after(down, Event::Start { node: n });
    }

    /// A question for a machine: registered first, so that the answer finds it.
    pub(crate) fn ask_machine(&mut self, n: usize, address: &Address, call: Call, wish: Wish) {
        let id = self.nodes[n].next_call();
        self.nodes[n].calls.insert(id, call);
        let input = match &wish {
            Wish::Request(request) => Input::Ask(id, request.clone()),
            Wish::Connect { conn } => {
                let connection = &self.connections[conn];
                Input::Connect(id, connection.link, Box::new(connection.arrival()))
            }
        };
        self.see(Fact::Asked { call, node: n, address: address.clone(), wish });
        self.input(n, address, input);
    }

    /// Nobody waits for the answer any more.
    pub(crate) fn cancel(&mut self, n: usize, address: &Address, call: Call) {
        let found = self.nodes[n].calls.iter().find(|(_, c)| **c == call).map(|(id, _)| *id);
        if let Some(id) = found {
            self.see(Fact::Cancelled { call });
            self.input(n, address, Input::Cancel(id));
        }
    }

    /// One input, decided and said at once.
    pub(crate) fn input(&mut self, n: usize, address: &Address, input: Input) {
        let now = self.local(n);
        let node = &mut self.nodes[n];
        let mut fx = std::mem::take(&mut node.fx);
        node.machines.handle(now, address, input, &mut fx);
        for said in fx.said.drain(..) {
            self.said(n, said);
        }
        if let Some(change) = fx.change.take() {
            self.nodes[n].waiting.push_back((change, Done::Device(address.clone())));
        }
        for append in fx.appends.drain(..) {
            if self.nodes[n].lines.contains_key(&append.link) {
                let done = Done::Receipt(append.link, append.tag);
                if self.options.bug == Some(Bug::DriverReceiptsEarly) {
                    self.told(n, append.link, Outbound::Receipt(append.tag));
                }
                self.nodes[n].waiting.push_back((append.change, done));
            }
        }
        if !fx.reads.is_empty() {
            let asks = std::mem::take(&mut fx.reads);
            self.ask_store(n, StoreCall::Read(address.clone(), asks));
        }
        for (purpose, at, claim) in fx.claims.drain(..) {
            self.ask_store(
                n,
                StoreCall::Claim(ClaimFor::Device(address.clone(), purpose), at, claim),
            );
        }
        self.nodes[n].fx = fx;
        self.arm(n);
        self.kick(n);
    }

    fn said(&mut self, n: usize, said: Said) {
        match said {
            Said::ToLink(link, outbound) => self.told(n, link, outbound),
            Said::Received(link, tag, _) => self.told(n, link, Outbound::Receipt(tag)),
            Said::Answer(id, answer) => {
                if let Some((of, reply)) = self.nodes[n].foreign.remove(&id) {
                    return self.reply(n, of, reply, answer);
                }
                let Some(call) = self.nodes[n].calls.get(&id).copied() else { return };
                self.see(Fact::Answered { call, answer: answer.clone() });
                self.answered(n, call, answer);
            }
            Said::Close(link, reason) => {
                self.told(n, link, Outbound::Close(reason));
            }
            Said::Lifecycle(_) => {}
            Said::FeedbackMade => self.nodes[n].made += 1,
        }
    }

    fn told(&mut self, n: usize, link: LinkId, outbound: Outbound) {
        if let Some(conn) = self.nodes[n].lines.get(&link).copied() {
            self.see(Fact::Told { conn, outbound: outbound.clone() });
            self.push_down(conn, outbound);
        }
    }

    /// Sees to it that the earliest deadline is met.
    fn arm(&mut self, n: usize) {
        let Some(deadline) = self.nodes[n].machines.deadline() else { return };
        if deadline == Timestamp::MAX {
            return;
        }
        let at = self.true_time(n, deadline).max(self.now);
        if self.nodes[n].armed.is_none_or(|armed| at < armed) {
            self.nodes[n].armed = Some(at);
            let late = if self.phase == Phase::Faulty { self.rng.below(20) } else { 0 };
            let run = self.nodes[n].run;
            self.at(at + late, Event::Timer { node: n, run });
        }
    }

    pub(crate) fn timer(&mut self, n: usize) {
        self.nodes[n].armed = None;
        let now = self.local(n);
        while let Some(address) = self.nodes[n].machines.due(now) {
            self.input(n, &address, Input::Tick);
            let next = self.nodes[n].machines.device(&address).and_then(|d| d.deadline());
            if next.is_some_and(|next| next <= now) {
                let what = format!("after a tick at {now}, {address} wants one at {next:?}");
                return self.oracle.violate("a deadline lies ahead", what);
            }
        }
        self.arm(n);
    }

    /// Sends what waits, unless a batch is out already.
    pub(crate) fn kick(&mut self, n: usize) {
        let most = self.limits.batch_changes_max;
        let node = &mut self.nodes[n];
        if node.flight.is_some() || node.waiting.is_empty() {
            return;
        }
        let take = node.waiting.len().min(most);
        let (changes, done): (Vec<_>, Vec<_>) = node.waiting.drain(..take).unzip();
        node.batches += 1;
        let batch = Batch { id: batch_id(node), changes, nudges: Vec::new() };
        node.flight = Some((batch, done));
        self.send_batch(n);
    }

    pub(crate) fn send_batch(&mut self, n: usize) {
        if let Some((batch, _)) = &self.nodes[n].flight {
            let call = StoreCall::Commit(batch.clone());
            self.ask_store(n, call);
        }
    }

    /// On its way to the store: it may not arrive, arrive late, or be answered to nobody.
    pub(crate) fn ask_store(&mut self, node: usize, call: StoreCall) {
        let run = self.nodes[node].run;
        let (effect, told) = if self.rng.permille(self.faults.unavailable) {
            (false, true)
        } else if self.rng.permille(self.faults.unknown) {
            (self.rng.permille(500), false)
        } else {
            (true, true)
        };
        let delay = self.store_delay();
        self.after(delay, Event::AtStore { node, run, call, effect, told });
    }

    fn store_delay(&mut self) -> u64 {
        if self.rng.permille(self.faults.slow) {
            self.rng.between(20, 1500)
        } else {
            self.rng.below(4)
        }
    }

    pub(crate) fn at_store(
        &mut self,
        node: usize,
        run: u64,
        call: StoreCall,
        effect: bool,
        told: bool,
    ) {
        let mut facts = Vec::new();
        let reply = match call {
            StoreCall::Read(address, asks) => {
                StoreReply::Read(address, (effect && told).then(|| self.store.read(&asks)))
            }
            StoreCall::Claim(to, now, claim) => {
                let limit = claim.limit;
                let taken = effect.then(|| self.store.claim(now, &claim, &mut facts));
                StoreReply::Claimed(to, limit, taken.filter(|_| told))
            }
            StoreCall::Commit(batch) => {
                let outcomes = effect.then(|| self.store.commit(node, &batch, &mut facts));
                StoreReply::Committed(outcomes.filter(|_| told))
            }
        };
        for fact in facts {
            self.nudges(&fact);
            self.see(fact);
        }
        let delay = self.store_delay();
        // Without a word the adapter gives up after a while.
        let delay = if told { delay } else { delay + 200 };
        self.after(delay, Event::FromStore { node, run, reply });
    }

    pub(crate) fn store_answers(&mut self, n: usize, reply: StoreReply) {
        match reply {
            StoreReply::Read(address, Some(records)) => {
                self.input(n, &address, Input::Loaded(records))
            }
            StoreReply::Read(address, None) => {
                let run = self.nodes[n].run;
                self.after(50, Event::ReadAgain { node: n, run, address });
            }
            StoreReply::Claimed(ClaimFor::Device(address, purpose), limit, items) => {
                let input = match items {
                    Some(items) => Input::Claimed(purpose, limit, items),
                    None => Input::ClaimFailed(purpose),
                };
                self.input(n, &address, input);
            }
            StoreReply::Claimed(ClaimFor::Sweep, limit, items) => {
                let items = items.unwrap_or_default();
                let more = items.len() == limit as usize;
                let mut by_device: BTreeMap<Address, Vec<Item>> = BTreeMap::new();
                for item in items {
                    if let Ok(address) = Address::parse(&item.at.queue().id) {
                        by_device.entry(address).or_default().push(item);
                    }
                }
                for (address, items) in by_device {
                    self.input(n, &address, Input::Overdue(items));
                }
                if more {
                    self.sweep_once(n);
                } else {
                    let run = self.nodes[n].run;
                    self.after(1000, Event::Sweep { node: n, run });
                }
            }
            StoreReply::Claimed(ClaimFor::Inbox, limit, items) => {
                let items = items.unwrap_or_default();
                let more = items.len() == limit as usize;
                for item in items {
                    self.take_post(n, &item);
                }
                if more {
                    self.look(n);
                }
            }
            StoreReply::Claimed(ClaimFor::Bury, _, items) => {
                for item in items.unwrap_or_default() {
                    self.bury_post(n, &item);
                }
            }
            StoreReply::Claimed(ClaimFor::Emitter, _, items) => {
                let now = self.local(n);
                let change =
                    items.and_then(|items| self.nodes[n].emitter.emit(&items, now, &self.limits));
                match change {
                    Some(change) => {
                        self.nodes[n].waiting.push_back((change, Done::Emitter));
                        self.kick(n);
                    }
                    None => self.emit_later(n),
                }
            }
            StoreReply::Committed(outcomes) => self.batch_answered(n, outcomes),
        }
    }

    fn batch_answered(&mut self, n: usize, outcomes: Option<Vec<Outcome>>) {
        let outcomes = match outcomes {
            Some(outcomes) => outcomes,
            None if self.options.bug == Some(Bug::DriverTrustsUnknown) => {
                let changes = self.nodes[n].flight.as_ref().map_or(0, |(_, done)| done.len());
                let version = hub_core::store::Version(0);
                let issued = hub_core::store::Issued { version, sequences: vec![] };
                vec![Outcome::Committed(issued); changes]
            }
            None => {
                if self.options.bug == Some(Bug::DriverRenamesBatches) {
                    let node = &mut self.nodes[n];
                    node.batches += 1;
                    let id = batch_id(node);
                    if let Some((batch, _)) = &mut node.flight {
                        batch.id = id;
                    }
                }
                let pause = self.rng.between(5, 400);
                let run = self.nodes[n].run;
                return self.after(pause, Event::Again { node: n, run });
            }
        };
        let Some((_, done)) = self.nodes[n].flight.take() else { return };
        for (done, outcome) in done.into_iter().zip(outcomes) {
            if self.options.bug == Some(Bug::DriverDropsOutcomes)
                && matches!(done, Done::Device(_))
                && self.rng.permille(50)
            {
                continue;
            }
            match done {
                Done::Receipt(link, tag) => {
                    if self.options.bug != Some(Bug::DriverReceiptsEarly) {
                        self.told(n, link, Outbound::Receipt(tag));
                    }
                }
                Done::Device(address) => self.input(n, &address, Input::Outcome(outcome)),
                Done::Emitter => self.emit_later(n),
                Done::Nobody => {}
                Done::Registry(address) => {
                    if matches!(outcome, Outcome::Committed(_)) {
                        self.input(n, &address, Input::Changed);
                    }
                }
            }
        }
        self.kick(n);
    }

    pub(crate) fn sweep(&mut self, n: usize) {
        self.sweep_once(n);
    }

    fn sweep_once(&mut self, n: usize) {
        let now = self.local(n);
        let claim = Claim {
            scope: Scope::Overdue(QueueKind::Mailbox),
            limit: self.limits.sweep_items_max,
            hide_until: now.after(self.limits.c2d_lock),
        };
        self.ask_store(n, StoreCall::Claim(ClaimFor::Sweep, now, claim.clone()));
        let scope = Scope::Overdue(QueueKind::Inbox);
        self.ask_store(n, StoreCall::Claim(ClaimFor::Bury, now, Claim { scope, ..claim }));
    }

    fn emit_later(&mut self, n: usize) {
        let run = self.nodes[n].run;
        self.after(1000, Event::Emit { node: n, run });
    }

    pub(crate) fn emit(&mut self, n: usize) {
        let now = self.local(n);
        let node = &mut self.nodes[n];
        for _ in 0..std::mem::take(&mut node.made) {
            node.emitter.noticed();
        }
        let limit = node.emitter.due(now, &self.limits);
        if limit == 0 {
            return self.emit_later(n);
        }
        let claim = Claim {
            scope: Scope::Any(QueueKind::FeedbackPending),
            limit,
            hide_until: now.after(self.limits.feedback_lock),
        };
        self.ask_store(n, StoreCall::Claim(ClaimFor::Emitter, now, claim));
    }

    /// What the registry does: a change made of what is stored, committed without a machine.
    pub(crate) fn commit_registry(&mut self, n: usize, address: &Address, change: Change) {
        self.nodes[n].waiting.push_back((change, Done::Registry(address.clone())));
        self.kick(n);
    }

    pub(crate) fn answered(&mut self, n: usize, call: Call, answer: Answer) {
        match answer {
            Answer::Welcome(_) | Answer::Refused(_) => self.connect_answered(call, answer),
            answer => self.service_answered(n, call, answer),
        }
    }
}

/// Unique over all nodes and their lives.
fn batch_id(node: &SimNode) -> BatchId {
    BatchId(((node.index as u128) << 96) | (u128::from(node.run) << 64) | u128::from(node.batches))
}
