//! The whole hub in process, on the memory store, without a socket.
//!
//! All run on one thread, in the task that measures: what a figure holds is what the hub's own code
//! costs between a frame that a transport has parsed and the answer it can write.

use std::fmt;
use std::pin::pin;

use bytes::Bytes;
use hub_core::delivery::MessageOutcome;
use hub_core::engine::Link;
use hub_core::envelope::{self, EventBatch, Property, SystemProperty};
use hub_core::frame::{Disposition, Inbound, Interest, Outbound};
use hub_core::id::{Address, Tag};
use hub_core::method::MethodCall;

use crate::fixture::{BODY, Devices, InProcess, address, poll_here, turns};
use crate::twin::Scale;
use crate::{Bench, Random};

/// Links, and messages in each batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Devices that are connected, taking turns.
    pub links: usize,
    /// Telemetry messages handed over together, as a transport does with what one read gave.
    pub window: usize,
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "links={},window={}", self.links, self.window)
    }
}

const fn load(links: usize, window: usize) -> Load {
    Load { links, window }
}

/// Telemetry of 256 B from one link after another: encode the batch, send it, take its receipt.
#[derive(Debug)]
pub struct Telemetry {
    hub: InProcess,
    load: Load,
    links: Vec<Link>,
    body: Vec<u8>,
    limit: usize,
    tag: u64,
}

impl Bench for Telemetry {
    type Size = Load;
    const NAME: &'static str = "engine/telemetry";
    const SIZES: &'static [Load] = &[load(1, 1), load(1, 10), load(100, 1), load(100, 10)];

    fn open(load: Load) -> Self {
        let hub = InProcess::new(load.links);
        let limit = hub.hub.limits().telemetry_bytes_max;
        Self { hub, load, links: Vec::new(), body: Vec::new(), limit, tag: 0 }
    }

    fn seed(&mut self, random: &mut Random) {
        self.body = random.bytes(BODY);
        self.links = self.hub.connect(self.load.links, &[]);
        // Until the log sheds: an entry is the body and some fifty bytes of stamp and properties.
        let per_round = (self.load.window * self.load.links * BODY) as u64;
        self.run(crate::fixture::LOG_BYTES / per_round + 1);
    }

    /// One round goes over all links once.
    fn elements(load: Load) -> u64 {
        (load.links * load.window) as u64
    }

    fn run(&mut self, rounds: u64) {
        let Self { hub, load, links, body, limit, tag } = self;
        let properties = [
            Property::System(SystemProperty::MessageId, "m-1"),
            Property::Application("kind", Some("reading")),
        ];
        hub.block_on(async {
            let mut batch = EventBatch::new();
            for _ in 0..rounds {
                for link in links.iter_mut() {
                    for _ in 0..load.window {
                        batch.push(link.up.stamp(), properties, body, *limit).expect("it fits");
                    }
                    *tag += 1;
                    assert!(link.up.has_room(), "answered at once, so there is room");
                    link.up.send(Inbound::Telemetry(Tag(*tag), batch.take()));
                    let receipt = link.down.try_next();
                    assert_eq!(receipt, Some(Outbound::Receipt(Tag(*tag))));
                }
            }
        });
    }
}

/// A direct method: from the application's call over the link to the device's answer and back.
#[derive(Debug)]
pub struct Method {
    hub: InProcess,
    addresses: Vec<Address>,
    links: Vec<Link>,
}

const DEVICES: usize = 100;

impl Bench for Method {
    type Size = Devices;
    const NAME: &'static str = "engine/method";
    const SIZES: &'static [Devices] = &[Devices(DEVICES)];

    fn open(Devices(count): Devices) -> Self {
        let hub = InProcess::new(count);
        Self { hub, addresses: (0..count).map(address).collect(), links: Vec::new() }
    }

    fn seed(&mut self, _: &mut Random) {
        self.links = self.hub.connect(self.addresses.len(), &[Interest::Methods]);
    }

    fn elements(_: Devices) -> u64 {
        1
    }

    fn run(&mut self, rounds: u64) {
        let Self { hub, addresses, links } = self;
        hub.block_on(async {
            for turn in turns(rounds, addresses.len()) {
                let (Some(address), Some(link)) = (addresses.get(turn), links.get_mut(turn)) else {
                    return;
                };
                let call = MethodCall::new("reboot").with_payload("{\"after\":5}");
                let mut reply = pin!(hub.hub.invoke(address, call));
                assert!(poll_here(&mut reply).await.is_none(), "nobody has answered yet");
                let reference = match link.down.try_next() {
                    Some(Outbound::Call(reference, ..)) => reference,
                    other => wrong(other),
                };
                link.up.send(Inbound::Reply(reference, 200, Bytes::from_static(b"true")));
                let reply = reply.await.expect("answered");
                assert_eq!(reply.status, 200);
            }
        });
    }
}

/// A patch of the reported properties, from the frame to its answer.
#[derive(Debug)]
pub struct Report {
    hub: InProcess,
    scale: Scale,
    links: Vec<Link>,
    patches: Vec<Bytes>,
    tag: u64,
}

impl Bench for Report {
    type Size = Scale;
    const NAME: &'static str = "engine/report";
    const SIZES: &'static [Scale] = &[Scale::Small, Scale::Medium];

    fn open(scale: Scale) -> Self {
        let (links, patches) = (Vec::new(), Vec::new());
        Self { hub: InProcess::new(DEVICES), scale, links, patches, tag: 0 }
    }

    fn seed(&mut self, random: &mut Random) {
        self.links = self.hub.connect(DEVICES, &[Interest::TwinResponses]);
        self.patches = vec![self.scale.content(random).into()];
        self.run(DEVICES as u64);
        self.patches = (0..16).map(|_| self.scale.patch(random).into()).collect();
    }

    fn elements(_: Scale) -> u64 {
        1
    }

    fn run(&mut self, rounds: u64) {
        let Self { hub, links, patches, tag, .. } = self;
        hub.block_on(async {
            for (turn, patch) in turns(rounds, links.len()).zip(patches.iter().cycle()) {
                let Some(link) = links.get_mut(turn) else { return };
                *tag += 1;
                link.up.send(Inbound::Report(Tag(*tag), patch.clone(), None));
                match link.down.try_next() {
                    Some(Outbound::Reported(Tag(answered), _)) if answered == *tag => {}
                    other => wrong(other),
                }
            }
        });
    }
}

/// A cloud-to-device message: sent, delivered, completed, and its outcome told to the sender.
#[derive(Debug)]
pub struct Message {
    hub: InProcess,
    addresses: Vec<Address>,
    links: Vec<Link>,
    body: Bytes,
    tag: u64,
}

impl Bench for Message {
    type Size = Devices;
    const NAME: &'static str = "engine/message";
    const SIZES: &'static [Devices] = &[Devices(DEVICES)];

    fn open(Devices(count): Devices) -> Self {
        let (addresses, links) = ((0..count).map(address).collect(), Vec::new());
        Self { hub: InProcess::new(count), addresses, links, body: Bytes::new(), tag: 0 }
    }

    fn seed(&mut self, random: &mut Random) {
        self.body = random.bytes(BODY).into();
        self.links = self.hub.connect(self.addresses.len(), &[Interest::Messages]);
    }

    fn elements(_: Devices) -> u64 {
        1
    }

    fn run(&mut self, rounds: u64) {
        let Self { hub, addresses, links, body, tag } = self;
        hub.block_on(async {
            for turn in turns(rounds, addresses.len()) {
                let (Some(address), Some(link)) = (addresses.get(turn), links.get_mut(turn)) else {
                    return;
                };
                let message = envelope::Message::new(body.clone()).with_message_id("m-1");
                let sent = hub.hub.send(address, message).await.expect("sent");
                let token = match link.down.try_next() {
                    Some(Outbound::Offer(delivery)) => delivery.token,
                    other => wrong(other),
                };
                *tag += 1;
                link.up.send(Inbound::Settle(Some(Tag(*tag)), token, Disposition::Complete));
                match link.down.try_next() {
                    Some(Outbound::Receipt(Tag(answered))) if answered == *tag => {}
                    other => wrong(other),
                }
                assert_eq!(sent.await, Some(MessageOutcome::Completed));
            }
        });
    }
}

/// A bench that measures a hub which does something else would measure nothing.
fn wrong<T>(got: Option<Outbound>) -> T {
    panic!("the hub gives another answer: {got:?}")
}
