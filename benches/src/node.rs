//! The machines alone: inputs in, effects out, and a store that always says yes.

use std::sync::Arc;

use bytes::Bytes;
use hub_core::delivery;
use hub_core::device::{Answer, Arrival, Effects, Input, Purpose, Request, Said, Setup};
use hub_core::envelope::{AuthMethod, AuthScope, AuthType, Message};
use hub_core::frame::{Disposition, Guarantee, Inbound, Interest, LockToken, Outbound};
use hub_core::hello::{CredentialMark, Grant, SessionMode};
use hub_core::id::{Address, CallId, LinkId, NodeId, SequenceNumber, Tag};
use hub_core::limits::Limits;
use hub_core::method::MethodCall;
use hub_core::node::Node;
use hub_core::store::{
    Batch, BatchId, Issued, Item, ItemRef, Marks, Outcome, QueueId, Store, Version,
};
use hub_core::time::Timestamp;

use crate::fixture::{self, BODY, Devices, InProcess, address, turns};
use crate::twin::Scale;
use crate::{Bench, Random};

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
const DEVICES: usize = 100;

/// A node whose devices are connected.
#[derive(Debug)]
struct Machines {
    /// Registers the devices; its store stands behind the machines while they are set up.
    hub: InProcess,
    node: Node,
    addresses: Vec<Address>,
    fx: Effects,
    last: u64,
}

impl Machines {
    fn new(devices: usize) -> Self {
        let node = NodeId::new("bench").expect("an id");
        let setup = Setup {
            limits: Limits::default(),
            node,
            partitions: 4,
            routing: Arc::default(),
            configurations: Arc::default(),
        };
        Self {
            hub: InProcess::new(devices),
            node: Node::new(Arc::new(setup)),
            addresses: (0..devices).map(address).collect(),
            fx: Effects::default(),
            last: 0,
        }
    }

    /// Connects all devices.
    fn connect(&mut self, interest: Interest) {
        for (link, address) in (1..).map(LinkId).zip(self.addresses.clone()) {
            let grant = Grant {
                auth: AuthMethod { scope: AuthScope::Hub, kind: AuthType::InProcess },
                expires: Timestamp::MAX,
                generation: self.hub.generation(&address),
                credential: CredentialMark::default(),
            };
            let arrival = Box::new(Arrival { grant, session: SessionMode::Clean, model: None });
            self.with_store(&address, Input::Connect(CallId(0), link, arrival));
            let welcome = |said: &Said| matches!(said, Said::Answer(_, Answer::Welcome(_)));
            assert!(self.fx.said.iter().any(welcome), "{:?}", self.fx);
            let add = vec![(interest, Guarantee::AtLeastOnce)];
            let subscribe = Inbound::Subscribe(Tag(0), add);
            self.node.handle(NOW, &address, Input::Frame(link, subscribe), &mut self.fx);
        }
    }

    fn with_store(&mut self, address: &Address, mut input: Input) {
        let store = self.hub.store.clone();
        loop {
            self.node.handle(NOW, address, input, &mut self.fx);
            if !self.fx.reads.is_empty() {
                input = Input::Loaded(fixture::now(store.read(&self.fx.reads)).expect("read"));
            } else if let Some(change) = self.fx.change.take() {
                self.last += 1;
                let id = BatchId(u128::from(self.last));
                let batch = Batch { id, changes: vec![change], nudges: Vec::new() };
                let outcome = fixture::now(store.commit(&batch)).expect("committed").pop();
                input = Input::Outcome(outcome.expect("one"));
            } else {
                return;
            }
        }
    }

    fn handle(&mut self, turn: usize, input: Input) -> &mut Effects {
        if let Some(address) = self.addresses.get(turn) {
            self.node.handle(NOW, address, input, &mut self.fx);
        }
        &mut self.fx
    }

    /// The change is committed.
    fn commit(&mut self, turn: usize) -> &mut Effects {
        assert!(self.fx.change.take().is_some(), "a change");
        self.last += 1;
        let issued = Issued { version: Version(self.last), sequences: Vec::new() };
        self.handle(turn, Input::Outcome(Outcome::Committed(issued)))
    }
}

fn link(turn: usize) -> LinkId {
    LinkId(turn as u64 + 1)
}

/// What was said to the link last.
fn said(fx: &Effects) -> Option<&Outbound> {
    match fx.said.first() {
        Some(Said::ToLink(_, outbound)) => Some(outbound),
        _ => None,
    }
}

/// A direct method: the call and its answer, two inputs.
#[derive(Debug)]
pub struct Method(Machines);

impl Bench for Method {
    type Size = Devices;
    const NAME: &'static str = "node/method";
    const SIZES: &'static [Devices] = &[Devices(DEVICES)];

    fn open(Devices(count): Devices) -> Self {
        Self(Machines::new(count))
    }

    fn seed(&mut self, _: &mut Random) {
        self.0.connect(Interest::Methods);
    }

    fn elements(_: Devices) -> u64 {
        2
    }

    fn run(&mut self, rounds: u64) {
        let machines = &mut self.0;
        for turn in turns(rounds, machines.addresses.len()) {
            let call = MethodCall::new("reboot").with_payload("{\"after\":5}");
            let fx = machines.handle(turn, Input::Ask(CallId(7), Request::Invoke(call)));
            let reference = match said(fx) {
                Some(Outbound::Call(reference, ..)) => *reference,
                other => wrong(other),
            };
            let reply = Inbound::Reply(reference, 200, Bytes::from_static(b"true"));
            let fx = machines.handle(turn, Input::Frame(link(turn), reply));
            assert!(matches!(fx.said.first(), Some(Said::Answer(CallId(7), Answer::Method(_)))));
        }
    }
}

/// A patch of the reported properties: the frame and its outcome, two inputs.
#[derive(Debug)]
pub struct Report {
    machines: Machines,
    scale: Scale,
    patches: Vec<Bytes>,
}

impl Bench for Report {
    type Size = Scale;
    const NAME: &'static str = "node/report";
    const SIZES: &'static [Scale] = &[Scale::Small];

    fn open(scale: Scale) -> Self {
        Self { machines: Machines::new(DEVICES), scale, patches: Vec::new() }
    }

    fn seed(&mut self, random: &mut Random) {
        self.machines.connect(Interest::TwinResponses);
        let content: Bytes = self.scale.content(random).into();
        for (turn, address) in self.machines.addresses.clone().iter().enumerate() {
            let report = Inbound::Report(Tag(0), content.clone(), None);
            self.machines.with_store(address, Input::Frame(link(turn), report));
        }
        self.patches = (0..16).map(|_| self.scale.patch(random).into()).collect();
    }

    fn elements(_: Scale) -> u64 {
        2
    }

    fn run(&mut self, rounds: u64) {
        let Self { machines, patches, .. } = self;
        for (turn, patch) in turns(rounds, machines.addresses.len()).zip(patches.iter().cycle()) {
            let report = Inbound::Report(Tag(1), patch.clone(), None);
            machines.handle(turn, Input::Frame(link(turn), report));
            match said(machines.commit(turn)) {
                Some(Outbound::Reported(Tag(1), _)) => {}
                other => wrong(other),
            }
        }
    }
}

/// A cloud-to-device message from its claim on: claimed, settled, committed, three inputs.
#[derive(Debug)]
pub struct Settle {
    machines: Machines,
    body: Bytes,
}

impl Bench for Settle {
    type Size = Devices;
    const NAME: &'static str = "node/settle";
    const SIZES: &'static [Devices] = &[Devices(DEVICES)];

    fn open(Devices(count): Devices) -> Self {
        Self { machines: Machines::new(count), body: Bytes::new() }
    }

    fn seed(&mut self, random: &mut Random) {
        self.machines.connect(Interest::Messages);
        let message = Message::new(random.bytes(BODY)).with_message_id("m-1");
        let push = delivery::accept(&address(0), 1, message, NOW, &Limits::default());
        self.body = push.expect("a message").body;
    }

    fn elements(_: Devices) -> u64 {
        3
    }

    fn run(&mut self, rounds: u64) {
        let Self { machines, body } = self;
        let until = NOW.after(Limits::default().c2d_lock);
        for turn in turns(rounds, machines.addresses.len()) {
            let Some(address) = machines.addresses.get(turn) else { return };
            machines.last += 1;
            let (sequence, version) = (SequenceNumber(machines.last), Version(machines.last));
            let item = Item {
                at: ItemRef::new(QueueId::mailbox(address), sequence, version),
                visible: until,
                deadline: Timestamp::MAX,
                claims: 1,
                marks: Marks::default(),
                body: body.clone(),
            };
            let claimed = Input::Claimed(Purpose::Offer(link(turn)), 50, vec![item]);
            match said(machines.handle(turn, claimed)) {
                Some(Outbound::Offer(_)) => {}
                other => wrong(other),
            }
            let token = LockToken { sequence, version, until };
            let settle = Inbound::Settle(Some(Tag(1)), token, Disposition::Complete);
            machines.handle(turn, Input::Frame(link(turn), settle));
            match said(machines.commit(turn)) {
                Some(Outbound::Receipt(Tag(1))) => {}
                other => wrong(other),
            }
        }
    }
}

/// A bench that measures a machine which does something else would measure nothing.
fn wrong<T>(got: Option<&Outbound>) -> T {
    panic!("the machine gives another answer: {got:?}")
}
