//! A small world of messages: a link that claims, a receiver at another node that
//! claims, a settler that settles what either was given, and the end of a lock, over two messages.
//!
//! Requests to the store and its answers are events of their own, so that anything may come between
//! them.

use std::collections::{BTreeMap, BTreeSet};

use hub_core::device::{Answer, Effects, Input, Request, Said};
use hub_core::envelope::Message;
use hub_core::frame::{Disposition, Guarantee, Inbound, Interest, LockToken, Outbound};
use hub_core::hello::SessionMode;
use hub_core::id::{CallId, LinkId, SequenceNumber, Tag};
use hub_core::store::{Ask, QueueId, Record, Version};

use crate::choices::Choices;
use crate::rig::Rig;

/// What may happen next.
enum Event {
    /// A machine hears of something.
    Hears(usize, Input),
    /// The store does what a machine asked.
    Does(usize, Effects),
    /// The lock of the first claims ends.
    Tick,
}

const LINK: u64 = 1;
const RECEIVE: u64 = 5;
const SETTLE: u64 = 6;

struct World {
    rig: Rig,
    events: Vec<Event>,
    /// Tokens by message, the latest last, as they were given out.
    tokens: BTreeMap<SequenceNumber, Vec<LockToken>>,
    versions: BTreeSet<(SequenceNumber, Version)>,
    /// The token that the settler uses, and what it was told.
    settling: Option<LockToken>,
    settled: Option<bool>,
}

impl World {
    fn new() -> Self {
        let mut rig = Rig::with(|limits| limits.offer_window = 2);
        let arrival = rig.arrival(SessionMode::Clean);
        rig.feed(0, Input::Connect(CallId(1), LinkId(LINK), arrival));
        for call in 2..4 {
            rig.feed(1, Input::Ask(CallId(call), Request::Send(Message::new("x"))));
        }
        let messages = vec![(Interest::Messages, Guarantee::AtLeastOnce)];
        let subscribe = Inbound::Subscribe(Tag(1), messages);
        let events = vec![
            Event::Hears(0, Input::Frame(LinkId(LINK), subscribe)),
            Event::Hears(1, Input::Ask(CallId(RECEIVE), Request::Receive(60_000))),
            Event::Tick,
        ];
        let (tokens, versions) = (BTreeMap::new(), BTreeSet::new());
        Self { rig, events, tokens, versions, settling: None, settled: None }
    }

    fn run(&mut self, event: Event) {
        match event {
            Event::Hears(machine, input) => self.hears(machine, input),
            Event::Does(machine, mut fx) => {
                if !fx.reads.is_empty() {
                    let records = fx.reads.drain(..).map(|ask| self.rig.read(ask)).collect();
                    self.events.push(Event::Hears(machine, Input::Loaded(records)));
                }
                if let Some(change) = fx.change.take() {
                    let outcome = self.rig.commit(change);
                    self.events.push(Event::Hears(machine, Input::Outcome(outcome)));
                }
                for claim in fx.claims.drain(..) {
                    let (purpose, limit) = (claim.0, claim.2.limit);
                    let items = self.rig.claim(claim);
                    let input = Input::Claimed(purpose, limit, items);
                    self.events.push(Event::Hears(machine, input));
                }
            }
            Event::Tick => {
                self.rig.later(self.rig.limits.c2d_lock);
                self.hears(0, Input::Tick);
                self.hears(1, Input::Tick);
            }
        }
    }

    fn hears(&mut self, machine: usize, input: Input) {
        let mut fx = self.rig.step(machine, input);
        for said in std::mem::take(&mut fx.said) {
            match said {
                Said::ToLink(_, Outbound::Offer(delivery)) => self.given(machine, delivery.token),
                Said::Answer(CallId(RECEIVE), Answer::Received(Some(delivery))) => {
                    self.given(machine, delivery.token);
                }
                Said::Answer(CallId(SETTLE), Answer::Done) => self.settled = Some(true),
                Said::Answer(CallId(SETTLE), _) => self.settled = Some(false),
                _ => {}
            }
        }
        // Each request goes its own way.
        let split = |fx: Effects, events: &mut Vec<Event>| {
            let Effects { change, reads, claims, .. } = fx;
            if let Some(change) = change {
                let change = Some(change);
                events.push(Event::Does(machine, Effects { change, ..Effects::default() }));
            }
            if !reads.is_empty() {
                events.push(Event::Does(machine, Effects { reads, ..Effects::default() }));
            }
            for claim in claims {
                let claims = vec![claim];
                events.push(Event::Does(machine, Effects { claims, ..Effects::default() }));
            }
        };
        split(fx, &mut self.events);
    }

    fn given(&mut self, machine: usize, token: LockToken) {
        let fresh = self.versions.insert((token.sequence, token.version));
        assert!(fresh, "{token:?} was given out twice");
        let earlier = self.tokens.entry(token.sequence).or_default();
        // A claim that is answered late may be older than one that was answered before it.
        let over = earlier.iter().all(|other| other.until != token.until);
        assert!(over, "{token:?} and one of {earlier:?} hold at once");
        earlier.push(token);
        if self.settling.is_none() {
            // The first that is given out is settled, at the other node.
            self.settling = Some(token);
            let request = Request::Settle(token, Disposition::Complete);
            self.events.push(Event::Hears(1 - machine, Input::Ask(CallId(SETTLE), request)));
        }
    }

    fn left(&self) -> Vec<(SequenceNumber, Version)> {
        let ask = Ask::Items(QueueId::mailbox(&self.rig.address), SequenceNumber(0), 9);
        let Some(Record::Items(items)) = self.rig.read(ask) else { panic!("no list") };
        items.iter().map(|item| (item.at.sequence(), item.at.version())).collect()
    }

    fn check(&self) {
        let left = self.left();
        let token = self.settling.unwrap();
        let gone = left.iter().all(|(sequence, _)| *sequence != token.sequence);
        assert_eq!(self.settled, Some(gone), "what was told of {token:?} is not so: {left:?}");
        assert_eq!(left.len(), if gone { 1 } else { 2 }, "{left:?}");
        assert!(self.rig.machines.iter().all(|machine| machine.waiting() == 0));
        assert!(self.rig.machines[0].offers() <= 2);
    }
}

#[test]
fn all_orders_of_two_claimers_a_settler_and_a_tick_over_two_messages() {
    let mut choices = Choices::default();
    let (mut orders, mut refused) = (0_u32, 0_u32);
    loop {
        let mut world = World::new();
        while !world.events.is_empty() {
            let choice = match world.events.len() {
                1 => 0,
                of => choices.next(of),
            };
            let event = world.events.remove(choice);
            world.run(event);
        }
        world.check();
        orders += 1;
        refused += u32::from(world.settled == Some(false));
        if !choices.advance() {
            break;
        }
    }
    println!("{orders} orders, {refused} of them with a settlement that came too late");
    assert!(orders > 1000 && refused > 0 && refused < orders, "{orders}, {refused}");
}
