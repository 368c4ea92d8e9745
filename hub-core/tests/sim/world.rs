//! The world: one clock, one queue of events, and everything that is in it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hub_core::device::Setup;
use hub_core::frame::{Inbound, Outbound};
use hub_core::id::{Address, NodeId};
use hub_core::limits::Limits;
use hub_core::time::Timestamp;

use crate::driver::{SimNode, StoreCall, StoreReply};
use crate::fact::{Call, Conn, Fact, SKEW_MAX};
use crate::links::{Client, Connection};
use crate::oracle::{Failure, Oracle};
use crate::rng::Rng;
use crate::store::SimStore;
use crate::workload::{Pending, Service};

/// Errors put in on purpose, which the invariants must catch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    /// Settles and retimes hold whatever their version.
    StoreIgnoresItemGuards,
    /// Documents are written whatever was read.
    StoreIgnoresDocumentGuards,
    /// A repeated batch is committed again.
    StoreForgetsBatches,
    /// A claimed item stays visible to other claims.
    StoreClaimsDoNotHide,
    /// Receipts for telemetry leave before the commit.
    DriverReceiptsEarly,
    /// Some outcomes never reach their machine.
    DriverDropsOutcomes,
    /// A batch that waits too long for its answer is taken for committed.
    DriverTrustsUnknown,
    /// A batch whose outcome is unknown is sent again under a new id.
    DriverRenamesBatches,
    /// Some posts of other nodes are taken out of the inbox and thrown away.
    DriverLosesPosts,
}

/// What to run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    pub(crate) bug: Option<Bug>,
    /// Keep and hash all events as text.
    pub(crate) trace: bool,
    /// How many of the last events and facts a failure tells.
    pub(crate) keep: usize,
    /// How long faults last, in milliseconds of the simulated clock.
    pub(crate) faulty: u64,
}

impl Options {
    pub(crate) fn new() -> Self {
        Self { bug: None, trace: false, keep: 80, faulty: 15_000 }
    }
}

/// How often what goes wrong, in a thousand.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Faults {
    pub(crate) unavailable: u64,
    pub(crate) unknown: u64,
    pub(crate) slow: u64,
    pub(crate) hints_lost: u64,
    pub(crate) stalls: u64,
    pub(crate) cuts: u64,
    pub(crate) crashes: u64,
    pub(crate) suspects: u64,
}

impl Faults {
    /// Some runs are calm in some respect and wild in another.
    fn draw(rng: &mut Rng) -> Self {
        let mut some = |most: u64| if rng.permille(300) { 0 } else { rng.below(most) };
        Self {
            unavailable: some(120),
            unknown: some(150),
            slow: some(150),
            hints_lost: some(700),
            stalls: some(60),
            cuts: some(600),
            crashes: some(500),
            suspects: some(1000),
        }
    }
}

/// What is to happen.
#[derive(Debug)]
pub(crate) enum Event {
    /// Somebody does something.
    Workload,
    /// A request reaches the store, to have its effect or not, and to be answered or not.
    AtStore {
        node: usize,
        run: u64,
        call: StoreCall,
        effect: bool,
        told: bool,
    },
    /// The store's answer reaches the node.
    FromStore {
        node: usize,
        run: u64,
        reply: StoreReply,
    },
    /// A batch is tried again.
    Again {
        node: usize,
        run: u64,
    },
    /// A read is tried again.
    ReadAgain {
        node: usize,
        run: u64,
        address: Address,
    },
    Timer {
        node: usize,
        run: u64,
    },
    Sweep {
        node: usize,
        run: u64,
    },
    Emit {
        node: usize,
        run: u64,
    },
    /// Something is in a node's inbox.
    Nudge {
        node: usize,
    },
    /// A node looks into its inbox without a nudge.
    Inbox {
        node: usize,
        run: u64,
    },
    /// A node says that it lives, having been held for dead.
    Beat {
        node: usize,
        run: u64,
    },
    Crash {
        node: usize,
    },
    Start {
        node: usize,
    },
    /// A device dials.
    Comes {
        client: usize,
    },
    /// A device's connect reaches a node.
    Arrive {
        conn: Conn,
    },
    Up {
        conn: Conn,
        inbound: Inbound,
    },
    Down {
        conn: Conn,
        outbound: Outbound,
    },
    /// The node learns that a connection is over.
    Ended {
        conn: Conn,
        cause: hub_core::error::DisconnectCause,
    },
    /// The device learns it.
    Cut {
        conn: Conn,
    },
    /// A back end's question reaches a node.
    Asks {
        node: usize,
        address: Address,
        pending: Box<Pending>,
    },
    /// A back end waits no longer.
    GivesUp {
        call: Call,
    },
    /// A reader of the log, and a receiver of feedback, look.
    Readers,
    /// A step of the second phase.
    Calm(u32),
}

/// Which part of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Faulty,
    Calm,
}

pub(crate) struct World {
    pub(crate) rng: Rng,
    pub(crate) options: Options,
    pub(crate) faults: Faults,
    pub(crate) phase: Phase,
    /// Milliseconds of true time.
    pub(crate) now: u64,
    events: BTreeMap<(u64, u64), Event>,
    scheduled: u64,
    pub(crate) limits: Limits,
    pub(crate) store: SimStore,
    pub(crate) nodes: Vec<SimNode>,
    pub(crate) clients: Vec<Client>,
    pub(crate) connections: BTreeMap<Conn, Connection>,
    pub(crate) service: Service,
    /// How often documents of nodes were written.
    pub(crate) node_writes: u128,
    pub(crate) oracle: Oracle,
}

const EPOCH: u64 = 1_800_000_000_000;
/// Partitions of the log.
pub(crate) const PARTITIONS: u16 = 2;

/// Short times and small bounds, so that a short run meets all of them.
fn limits(seed: u64) -> Limits {
    let secs = Duration::from_secs;
    let mut limits = Limits::default();
    limits.c2d_depth_max = 6;
    limits.c2d_ttl_default = secs(12);
    limits.c2d_lock = secs(3);
    limits.c2d_poll_every = secs(2);
    limits.c2d_delivery_count_max = 3;
    limits.offer_window = 3;
    limits.feedback_batch_max = 3;
    limits.feedback_batch_age = secs(2);
    limits.feedback_lock = secs(2);
    limits.feedback_depth_max = 12;
    limits.method_response_timeout_default = secs(2);
    limits.methods_in_flight_max = 4;
    limits.token_grace = secs(1);
    limits.link_window = 8;
    limits.device_inbox_max = 12;
    limits.batch_changes_max = 5;
    limits.waiting_changes_max = 40;
    limits.idle_devices_max = 2;
    limits.sweep_items_max = 3;
    limits.inbox_depth_max = 20;
    limits.inbox_ttl = secs(10);
    limits.inbox_poll_every = secs(1);
    limits.remote_dispatch_timeout = secs(2);
    limits.notice_gap_max = secs(2);
    limits.call_timeout = secs(6);
    // In every other run what can be kept is kept.
    if seed.is_multiple_of(2) {
        limits.dead_letters_max = 3;
        limits.twin_history_max = 4;
        limits.desired_catch_up = true;
    }
    limits
}

impl World {
    fn new(seed: u64, options: Options) -> Self {
        let mut rng = Rng::new(seed);
        let faults = Faults::draw(&mut rng);
        let limits = limits(seed);
        let count = usize::try_from(rng.between(2, 4)).unwrap();
        let nodes = (0..count)
            .map(|index| {
                let id = NodeId::new(&format!("n{index}")).unwrap();
                let (limits, node) = (limits.clone(), id.clone());
                let (routing, configurations) = (Arc::default(), Arc::default());
                let partitions = PARTITIONS;
                let setup = Setup { limits, node, partitions, routing, configurations };
                SimNode::new(index, id, Arc::new(setup))
            })
            .collect();
        let clients = ["d0", "d1", "d2", "d2/m", "idle"].iter().map(|id| Client::new(id)).collect();
        Self {
            rng,
            options,
            faults,
            phase: Phase::Faulty,
            now: EPOCH,
            events: BTreeMap::new(),
            scheduled: 0,
            limits,
            store: SimStore::new(options.bug),
            nodes,
            clients,
            connections: BTreeMap::new(),
            service: Service::default(),
            node_writes: 0,
            oracle: Oracle::new(options.trace, options.keep),
        }
    }

    /// A node's clock, which is off by a bounded amount.
    pub(crate) fn local(&self, node: usize) -> Timestamp {
        Timestamp::from_millis(self.now + SKEW_MAX - self.nodes[node].behind)
    }

    /// True time at which a node's clock shows `at`.
    pub(crate) fn true_time(&self, node: usize, at: Timestamp) -> u64 {
        (at.as_millis() + self.nodes[node].behind).saturating_sub(SKEW_MAX)
    }

    pub(crate) fn after(&mut self, millis: u64, event: Event) {
        self.at(self.now + millis, event);
    }

    pub(crate) fn at(&mut self, time: u64, event: Event) {
        self.scheduled += 1;
        self.events.insert((time.max(self.now), self.scheduled), event);
    }

    pub(crate) fn see(&mut self, fact: Fact) {
        self.oracle.see(self.now, &self.limits, fact);
    }

    fn begin(&mut self) {
        self.register_all();
        for node in 0..self.nodes.len() {
            self.handle(Event::Start { node });
        }
        self.after(5, Event::Workload);
        self.after(50, Event::Readers);
        let until = EPOCH + self.options.faulty;
        self.at(until, Event::Calm(0));
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Workload => self.workload(),
            Event::AtStore { node, run, call, effect, told } => {
                self.at_store(node, run, call, effect, told);
            }
            Event::FromStore { node, run, reply } if self.runs(node, run) => {
                self.store_answers(node, reply);
            }
            Event::Again { node, run } if self.runs(node, run) => self.send_batch(node),
            Event::ReadAgain { node, run, address } if self.runs(node, run) => {
                self.input(node, &address, hub_core::device::Input::ReadFailed);
            }
            Event::Timer { node, run } if self.runs(node, run) => self.timer(node),
            Event::Sweep { node, run } if self.runs(node, run) => self.sweep(node),
            Event::Emit { node, run } if self.runs(node, run) => self.emit(node),
            Event::Nudge { node } => {
                if self.nodes[node].up {
                    self.look(node);
                }
            }
            Event::Inbox { node, run } if self.runs(node, run) => self.poll_inbox(node),
            Event::Beat { node, run } if self.runs(node, run) => self.beat(node),
            Event::Crash { node } => self.crash(node),
            Event::Start { node } => self.start(node),
            Event::Comes { client } => self.comes(client),
            Event::Arrive { conn } => self.arrive(conn),
            Event::Up { conn, inbound } => self.up(conn, inbound),
            Event::Down { conn, outbound } => self.down(conn, outbound),
            Event::Ended { conn, cause } => self.ended(conn, cause),
            Event::Cut { conn } => self.cut(conn),
            Event::Asks { node, address, pending } => self.asks(node, &address, *pending),
            Event::GivesUp { call } => self.gives_up(call),
            Event::Readers => self.readers(),
            Event::Calm(step) => self.calm(step),
            // Of a run of a node that is over.
            Event::FromStore { .. }
            | Event::Again { .. }
            | Event::ReadAgain { .. }
            | Event::Timer { .. }
            | Event::Sweep { .. }
            | Event::Inbox { .. }
            | Event::Beat { .. }
            | Event::Emit { .. } => {}
        }
    }

    fn runs(&self, node: usize, run: u64) -> bool {
        self.nodes[node].up && self.nodes[node].run == run
    }

    fn step(&mut self) -> bool {
        let Some(((at, _), event)) = self.events.pop_first() else { return false };
        self.now = at;
        if self.options.trace {
            self.oracle.note(at - EPOCH, &event);
        }
        self.handle(event);
        let mut oracle = std::mem::take(&mut self.oracle);
        oracle.step(self);
        self.oracle = oracle;
        self.oracle.violation.is_none() && !self.service.finished
    }
}

/// What a run came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) steps: u64,
    pub(crate) facts: u64,
    /// Of all events and facts as text; zero without a trace.
    pub(crate) hash: u64,
}

/// Runs one seed to its end, or to the first violation.
pub(crate) fn run(seed: u64, options: Options) -> Result<Report, Box<Failure>> {
    let mut world = World::new(seed, options);
    world.begin();
    let mut steps = 0;
    while world.step() {
        steps += 1;
    }
    let mut oracle = std::mem::take(&mut world.oracle);
    oracle.finish(&world);
    match oracle.violation.take() {
        Some((invariant, what)) => {
            let at = world.now - EPOCH;
            Err(Box::new(Failure { seed, at, steps, invariant, what, last: oracle.last() }))
        }
        None => Ok(Report { steps, facts: oracle.facts, hash: oracle.hash() }),
    }
}

/// Runs one seed; a failing one again, to tell its last events.
pub(crate) fn examine(seed: u64, options: Options) -> Result<Report, Box<Failure>> {
    match run(seed, options) {
        Err(_) if !options.trace => run(seed, Options { trace: true, ..options }),
        result => result,
    }
}
