//! A device's messages against a list: whatever is sent, received, settled, purged and expired in
//! whatever order, the machine and a store do what a plain list with a clock would do.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use std::time::Duration;

use hub_core::delivery::{DeadLetter, FeedbackRecord, FeedbackStatus};
use hub_core::device::{Answer, Input, Purpose, Request, Said};
use hub_core::envelope::{Ack, Message};
use hub_core::error::{DisconnectCause, ErrorKind};
use hub_core::frame::{Disposition, Inbound, LockToken};
use hub_core::id::{CallId, LinkId, SequenceNumber, Tag};
use hub_core::limits::Limits;
use hub_core::store::{Ask, Change, Claim, Item, QueueId, QueueKind, Record, Scope};
use hub_core::time::Timestamp;
use proptest::prelude::*;

use rig::{Rig, answers, offers, told};

#[path = "regress/rig.rs"]
#[expect(dead_code, reason = "shared with tests that need more of it")]
mod rig;

const LINK: u64 = 1;
const DEPTH: usize = 6;
const WINDOW: usize = 3;
const COUNT: u8 = 3;
const LOCK: u64 = 3_000;
const LETTERS: usize = 4;

/// What happens.
#[derive(Debug, Clone)]
enum Act {
    Connect,
    Leave,
    Send {
        ack: Ack,
        life: u64,
    },
    Receive {
        lock: u64,
    },
    /// With one of the tokens that were ever seen, by the link or by a call.
    Settle {
        token: prop::sample::Index,
        disposition: Disposition,
        link: bool,
    },
    Purge,
    Sweep,
    /// Sends one of the dead letters again.
    Replay {
        letter: prop::sample::Index,
    },
    Wait {
        millis: u64,
    },
}

fn act() -> impl Strategy<Value = Act> {
    let ack = prop::sample::select(vec![Ack::None, Ack::Positive, Ack::Negative, Ack::Full]);
    let disposition = prop::sample::select(vec![
        Disposition::Complete,
        Disposition::Abandon,
        Disposition::Abandon,
        Disposition::Reject,
    ]);
    prop_oneof![
        1 => Just(Act::Connect),
        1 => Just(Act::Leave),
        6 => (ack, 500..9_000_u64).prop_map(|(ack, life)| Act::Send { ack, life }),
        2 => (1..4_000_u64).prop_map(|lock| Act::Receive { lock }),
        6 => (any::<prop::sample::Index>(), disposition, any::<bool>())
            .prop_map(|(token, disposition, link)| Act::Settle { token, disposition, link }),
        1 => Just(Act::Purge),
        1 => Just(Act::Sweep),
        2 => any::<prop::sample::Index>().prop_map(|letter| Act::Replay { letter }),
        4 => (1..4_000_u64).prop_map(|millis| Act::Wait { millis }),
    ]
}

/// Who holds a message.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Holder {
    Link,
    Call,
}

/// A message in the list.
#[derive(Debug, Clone)]
struct Waiting {
    number: u64,
    ack: Ack,
    expiry: u64,
    count: u8,
    /// Who holds it, until when, and by which token (its place among all tokens).
    held: Option<(Holder, u64, usize)>,
}

/// The list.
#[derive(Debug, Default)]
struct Model {
    now: u64,
    listening: bool,
    list: Vec<Waiting>,
    sent: u64,
    tokens: usize,
    feedback: Vec<(String, FeedbackStatus)>,
    /// Whether letters are kept.
    keeps: bool,
    letters: Vec<Letter>,
}

/// A dead message: its number, its wish for feedback, how often it was given back, how it ended.
#[derive(Debug, Clone, PartialEq)]
struct Letter(u64, Ack, u8, FeedbackStatus);

/// What a step is to show.
#[derive(Debug, Default, PartialEq)]
struct Shown {
    /// Numbers and delivery counts of what is offered.
    offered: Vec<(u64, u8)>,
    received: Option<Option<(u64, u8)>>,
    settled: Option<bool>,
    sent: Option<bool>,
    purged: Option<u64>,
}

impl Model {
    fn end(&mut self, index: usize, status: FeedbackStatus) {
        let gone = self.list.remove(index);
        if self.keeps && status != FeedbackStatus::Success {
            self.letters.push(Letter(gone.number, gone.ack, gone.count, status));
            let over = self.letters.len().saturating_sub(LETTERS);
            self.letters.drain(..over);
        }
        let wants = match gone.ack {
            Ack::None => false,
            Ack::Positive => status == FeedbackStatus::Success,
            Ack::Negative => status != FeedbackStatus::Success,
            Ack::Full => true,
        };
        if wants {
            self.feedback.push((format!("m{}", gone.number), status));
        }
    }

    fn is_visible(&self, waiting: &Waiting) -> bool {
        waiting.held.is_none_or(|(_, until, _)| until <= self.now)
    }

    /// The first message that nobody holds and that has not expired; expired ones end on the way.
    fn take(&mut self, holder: Holder, lock: u64) -> Option<(u64, u8)> {
        loop {
            let index = self.list.iter().position(|waiting| self.is_visible(waiting))?;
            if self.list[index].expiry <= self.now {
                self.end(index, FeedbackStatus::Expired);
                continue;
            }
            let token = self.tokens;
            self.tokens += 1;
            let until = self.now + lock;
            let waiting = &mut self.list[index];
            waiting.held = Some((holder, until, token));
            return Some((waiting.number, waiting.count));
        }
    }

    fn deliver(&mut self, shown: &mut Shown) {
        let held = |waiting: &&Waiting| matches!(waiting.held, Some((Holder::Link, until, _)) if until > self.now);
        let mut out = self.list.iter().filter(held).count();
        while self.listening && out < WINDOW {
            let Some(offer) = self.take(Holder::Link, LOCK) else { return };
            shown.offered.push(offer);
            out += 1;
        }
    }

    fn settle(&mut self, token: usize, disposition: Disposition) -> bool {
        let found = self.list.iter().position(
            |waiting| matches!(waiting.held, Some((_, until, t)) if t == token && until > self.now),
        );
        let Some(index) = found else { return false };
        match disposition {
            Disposition::Complete => self.end(index, FeedbackStatus::Success),
            Disposition::Reject => self.end(index, FeedbackStatus::Rejected),
            Disposition::Abandon => {
                let waiting = &mut self.list[index];
                waiting.count += 1;
                waiting.held = None;
                if waiting.count >= COUNT {
                    self.end(index, FeedbackStatus::DeliveryCountExceeded);
                }
            }
        }
        true
    }

    /// When a lock ends next.
    fn next(&self) -> Option<u64> {
        let ends = self.list.iter().filter_map(|waiting| waiting.held.map(|(_, until, _)| until));
        ends.filter(|until| *until > self.now).min()
    }

    fn act(&mut self, act: &Act, token: Option<usize>) -> Shown {
        let mut shown = Shown::default();
        match act {
            Act::Connect => self.listening = true,
            Act::Leave => {
                self.listening = false;
                for waiting in &mut self.list {
                    if matches!(waiting.held, Some((Holder::Link, ..))) {
                        waiting.held = None;
                    }
                }
            }
            Act::Send { ack, life } => {
                let room = self.list.len() < DEPTH;
                self.sent += 1;
                if room {
                    let (number, expiry) = (self.sent, self.now + life);
                    let ack = *ack;
                    self.list.push(Waiting { number, ack, expiry, count: 0, held: None });
                }
                shown.sent = Some(room);
            }
            Act::Receive { lock } => shown.received = Some(self.take(Holder::Call, *lock)),
            Act::Settle { disposition, .. } => {
                shown.settled = token.map(|token| self.settle(token, *disposition));
            }
            Act::Purge => {
                shown.purged = Some(self.list.len() as u64);
                while !self.list.is_empty() {
                    self.end(0, FeedbackStatus::Purged);
                }
            }
            Act::Sweep => {
                let due = |model: &Self| {
                    model.list.iter().position(|w| model.is_visible(w) && w.expiry <= model.now)
                };
                while let Some(index) = due(self) {
                    self.end(index, FeedbackStatus::Expired);
                }
            }
            Act::Replay { letter } if !self.letters.is_empty() => {
                let index = letter.index(self.letters.len());
                let room = self.list.len() < DEPTH;
                if room {
                    let Letter(number, ack, ..) = self.letters.remove(index);
                    let expiry = self.now + 3_600_000;
                    self.list.push(Waiting { number, ack, expiry, count: 0, held: None });
                }
                shown.sent = Some(room);
            }
            Act::Replay { .. } => {}
            Act::Wait { millis } => {
                let end = self.now + millis;
                while let Some(next) = self.next().filter(|next| *next <= end) {
                    self.now = next;
                    self.deliver(&mut shown);
                }
                self.now = end;
            }
        }
        self.deliver(&mut shown);
        shown
    }
}

/// The machine, with all that it said so far.
struct Real {
    rig: Rig,
    listening: bool,
    calls: u64,
    sent: u64,
    tokens: Vec<LockToken>,
}

fn number(message: &hub_core::envelope::Stored) -> u64 {
    std::str::from_utf8(&message.body).unwrap().parse().unwrap()
}

impl Real {
    fn new(keeps: bool) -> Self {
        let rig = Rig::with(|limits: &mut Limits| {
            limits.dead_letters_max = if keeps { u32::try_from(LETTERS).unwrap() } else { 0 };
            limits.c2d_depth_max = u32::try_from(DEPTH).unwrap();
            limits.offer_window = u32::try_from(WINDOW).unwrap();
            limits.c2d_delivery_count_max = COUNT;
            limits.c2d_lock = Duration::from_millis(LOCK);
        });
        Self { rig, listening: false, calls: 0, sent: 0, tokens: Vec::new() }
    }

    fn ask(&mut self, request: Request) -> (Answer, Vec<Said>) {
        self.calls += 1;
        let call = self.calls;
        let said = self.rig.feed(0, Input::Ask(CallId(call), request));
        let [answer] = answers(&said, call)[..] else { panic!("{said:?}") };
        (answer.clone(), said)
    }

    fn offered(&mut self, said: &[Said], shown: &mut Shown) {
        for delivery in offers(said, LINK) {
            self.tokens.push(delivery.token);
            shown.offered.push((number(&delivery.message), delivery.delivery_count));
        }
    }

    fn act(&mut self, act: &Act, token: Option<LockToken>) -> Shown {
        let mut shown = Shown::default();
        let said = match act {
            Act::Connect if self.listening => Vec::new(),
            Act::Connect => {
                self.listening = true;
                self.rig.connect(0, LINK)
            }
            Act::Leave => {
                self.listening = false;
                self.rig.feed(0, Input::Leave(LinkId(LINK), DisconnectCause::Clean))
            }
            Act::Send { ack, life } => {
                self.sent += 1;
                let message = Message::new(self.sent.to_string())
                    .with_message_id(&format!("m{}", self.sent))
                    .with_ack(*ack)
                    .with_expiry(self.rig.now.after(Duration::from_millis(*life)));
                let (answer, said) = self.ask(Request::Send(message));
                shown.sent = Some(match answer {
                    Answer::Sent(_) => true,
                    Answer::Failed(error) if error.kind() == ErrorKind::QueueFull => false,
                    other => panic!("{other:?}"),
                });
                said
            }
            Act::Receive { lock } => {
                let (answer, said) = self.ask(Request::Receive(*lock));
                let Answer::Received(delivery) = answer else { panic!("{answer:?}") };
                shown.received = Some(delivery.map(|delivery| {
                    self.tokens.push(delivery.token);
                    (number(&delivery.message), delivery.delivery_count)
                }));
                said
            }
            Act::Settle { disposition, link, .. } => {
                let Some(token) = token else { return shown };
                if *link {
                    // Frames of a link that has gone may settle too: the version decides.
                    let frame = Inbound::Settle(Some(Tag(7)), token, *disposition);
                    let said = self.rig.feed(0, Input::Frame(LinkId(LINK), frame));
                    let receipt = hub_core::frame::Outbound::Receipt(Tag(7));
                    shown.settled = Some(told(&said, LINK).contains(&&receipt));
                    said
                } else {
                    let (answer, said) = self.ask(Request::Settle(token, *disposition));
                    shown.settled = Some(answer == Answer::Done);
                    said
                }
            }
            Act::Purge => {
                let (answer, said) = self.ask(Request::Purge);
                let Answer::Purged(count) = answer else { panic!("{answer:?}") };
                shown.purged = Some(count);
                said
            }
            Act::Sweep => {
                let hide_until = self.rig.now.after(Duration::from_secs(60));
                let scope = Scope::Overdue(QueueKind::Mailbox);
                let claim = Claim { scope, limit: 100, hide_until };
                let items = self.rig.claim((Purpose::Job, self.rig.now, claim));
                self.rig.feed(0, Input::Overdue(items))
            }
            Act::Replay { letter } => {
                let items = self.letter_items();
                if items.is_empty() {
                    return shown;
                }
                let item = &items[letter.index(items.len())];
                let message = DeadLetter::from_item(item).unwrap().replay(None);
                let removal = Box::new(Change::new().settle(&item.at));
                let (answer, said) = self.ask(Request::SendWith(message, removal));
                shown.sent = Some(match answer {
                    Answer::Sent(_) => true,
                    Answer::Failed(error) if error.kind() == ErrorKind::QueueFull => false,
                    other => panic!("{other:?}"),
                });
                said
            }
            Act::Wait { millis } => {
                let end = self.rig.now.after(Duration::from_millis(*millis));
                let mut said = Vec::new();
                while let Some(next) = self.rig.machines[0].deadline().filter(|at| *at <= end) {
                    self.rig.now = self.rig.now.max(next);
                    said.extend(self.rig.tick(0));
                    let after = self.rig.machines[0].deadline();
                    assert!(after.is_none_or(|after| after > self.rig.now), "{after:?}");
                }
                self.rig.now = end;
                said
            }
        };
        self.offered(&said, &mut shown);
        shown
    }

    /// Numbers of what is in the queue.
    fn list(&self) -> Vec<u64> {
        let ask = Ask::Items(QueueId::mailbox(&self.rig.address), SequenceNumber(0), 100);
        let Some(Record::Items(items)) = self.rig.read(ask) else { panic!("no list") };
        let message = |item: &Item| hub_core::envelope::Stored::decode(item.body.clone()).unwrap();
        items.iter().map(|item| number(&message(item))).collect()
    }

    fn letter_items(&self) -> Vec<Item> {
        let ask = Ask::Items(QueueId::dead_letters(&self.rig.address), SequenceNumber(0), 100);
        let Some(Record::Items(items)) = self.rig.read(ask) else { panic!("no list") };
        items
    }

    fn letters(&self) -> Vec<Letter> {
        let letter = |item: &Item| {
            let letter = DeadLetter::from_item(item).unwrap();
            let number = number(&letter.message);
            Letter(number, letter.message.ack, letter.delivery_count, letter.cause.into())
        };
        self.letter_items().iter().map(letter).collect()
    }

    fn feedback(&self) -> Vec<(String, FeedbackStatus)> {
        let queue = QueueId::feedback_pending(&self.rig.address.device_id());
        let ask = Ask::Items(queue, SequenceNumber(0), 1000);
        let Some(Record::Items(items)) = self.rig.read(ask) else { panic!("no list") };
        let record = |item: &Item| FeedbackRecord::decode(&item.body).unwrap();
        let records = items.iter().map(record);
        records.map(|record| (record.message_id, record.status)).collect()
    }
}

fn check(acts: &[Act], keeps: bool) {
    let (mut real, mut model) = (Real::new(keeps), Model { keeps, ..Model::default() });
    model.now = real.rig.now.as_millis();
    for act in acts {
        let index = match act {
            Act::Settle { token, .. } if !real.tokens.is_empty() => {
                Some(token.index(real.tokens.len()))
            }
            _ => None,
        };
        let token = index.map(|index| real.tokens[index]);
        let shown = real.act(act, token);
        assert_eq!(shown, model.act(act, index), "after {act:?}, {model:#?}");
        assert_eq!(Timestamp::from_millis(model.now), real.rig.now);
        let list: Vec<u64> = model.list.iter().map(|waiting| waiting.number).collect();
        assert_eq!(real.list(), list, "after {act:?}");
        // Two ends in one change may be told in either order.
        let (mut told, mut right) = (real.feedback(), model.feedback.clone());
        told.sort_by(|a, b| a.0.cmp(&b.0));
        right.sort_by(|a, b| a.0.cmp(&b.0));
        assert_eq!(told, right, "after {act:?}");
        assert_eq!(real.letters(), model.letters, "after {act:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_mailbox_is_a_list_with_a_clock(acts in prop::collection::vec(act(), 1..60)) {
        check(&acts, false);
    }

    /// And whatever ends there unreceived lies in a second list, of which the oldest give way.
    #[test]
    fn dead_letters_are_a_list_too(acts in prop::collection::vec(act(), 1..60)) {
        check(&acts, true);
    }
}
