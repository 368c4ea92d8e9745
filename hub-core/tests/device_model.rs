//! Two nodes' machines of one device against one naive model of its session, twin and messages.
//!
//! Whatever a machine has cached, whoever wrote last and however often a change loses against
//! another: every answer is what one plain object would give, and the store holds what it would.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use hub_core::device::{Answer, Input, Request, Said};
use hub_core::envelope::Message;
use hub_core::error::{CloseReason, DisconnectCause, ErrorKind};
use hub_core::frame::{Disposition, Guarantee, Inbound, Interest, Outbound, Subscriptions};
use hub_core::hello::{Refusal, SessionMode};
use hub_core::id::{CallId, LinkId, Tag};
use hub_core::registry::Status;
use hub_core::store::{Ask, QueueId, Record};
use hub_core::twin::ServicePatch;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use rig::{Rig, answers, offers, told};

#[path = "regress/rig.rs"]
#[expect(dead_code, reason = "shared with tests that need more of it")]
mod rig;

const ROUNDS: u32 = 3;
const TAG: Tag = Tag(9);
const CALL: u64 = 77;

/// What happens, at one of the two nodes.
#[derive(Debug, Clone)]
enum Act {
    Connect {
        persistent: bool,
    },
    Leave,
    Subscribe(Interest),
    Unsubscribe(Interest),
    Report {
        patch: Value,
        version: Option<u64>,
    },
    GetTwin,
    Write {
        tags: Option<Value>,
        desired: Option<Value>,
        etag: Etag,
        replace: bool,
    },
    Send,
    /// Anywhere; both nodes hear of it, or none.
    Status {
        enabled: bool,
        heard: bool,
    },
    Hint,
}

#[derive(Debug, Clone, Copy)]
enum Etag {
    None,
    Current,
    Stale,
}

/// An act, where, and how many changes lose first.
type Step = (Act, usize, u32);

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        2 => Just(Value::Null),
        3 => (0..5_u64).prop_map(Value::from),
        1 => Just(json!([1, {"a": 2}])),
        1 => Just(json!({})),
    ];
    leaf.prop_recursive(2, 6, 2, |inner| {
        prop::collection::btree_map("[ab]", inner, 0..3)
            .prop_map(|members| Value::Object(members.into_iter().collect()))
    })
}

fn patch() -> impl Strategy<Value = Value> {
    prop::collection::btree_map("[abc]", value(), 0..3)
        .prop_map(|members| Value::Object(members.into_iter().collect()))
}

fn step() -> impl Strategy<Value = Step> {
    let interest = || prop::sample::select(Interest::ALL.to_vec());
    let etag = prop::sample::select(vec![Etag::None, Etag::None, Etag::Current, Etag::Stale]);
    let act = prop_oneof![
        4 => any::<bool>().prop_map(|persistent| Act::Connect { persistent }),
        2 => Just(Act::Leave),
        4 => interest().prop_map(Act::Subscribe),
        1 => interest().prop_map(Act::Unsubscribe),
        4 => (patch(), prop::option::weighted(0.2, 1..5_u64))
            .prop_map(|(patch, version)| Act::Report { patch, version }),
        2 => Just(Act::GetTwin),
        4 => (prop::option::of(patch()), prop::option::of(patch()), etag, any::<bool>()).prop_map(
            |(tags, desired, etag, replace)| Act::Write { tags, desired, etag, replace }
        ),
        2 => Just(Act::Send),
        1 => (prop::bool::weighted(0.7), any::<bool>())
            .prop_map(|(enabled, heard)| Act::Status { enabled, heard }),
        2 => Just(Act::Hint),
    ];
    let conflicts = prop_oneof![3 => Just(0), 1 => 1..=ROUNDS + 2];
    (act, 0..2_usize, conflicts)
}

#[derive(Debug, Clone, PartialEq)]
struct Link {
    id: u64,
    epoch: u64,
    stored: bool,
    subscriptions: Subscriptions,
}

#[derive(Debug, Default)]
struct Model {
    enabled: bool,
    links: [Option<Link>; 2],
    last_link: u64,
    // The session.
    epoch: u64,
    node: Option<usize>,
    stored: bool,
    subscriptions: Subscriptions,
    // The twin.
    tags: Map<String, Value>,
    desired: Map<String, Value>,
    reported: Map<String, Value>,
    desired_version: u64,
    reported_version: u64,
    /// Messages in the queue.
    messages: u32,
}

/// JSON merge, as twins have it: null removes, objects merge, the rest replaces.
fn merge(into: &mut Map<String, Value>, patch: &Map<String, Value>) {
    for (key, value) in patch {
        match value {
            Value::Null => {
                into.remove(key);
            }
            Value::Object(members) => {
                let inner = into.entry(key.clone()).or_insert_with(|| json!({}));
                if !inner.is_object() {
                    *inner = json!({});
                }
                merge(inner.as_object_mut().unwrap(), members);
            }
            other => {
                into.insert(key.clone(), other.clone());
            }
        }
    }
}

fn members(value: &Value) -> &Map<String, Value> {
    value.as_object().unwrap()
}

/// What is said about a step.
#[derive(Debug, Default, PartialEq)]
struct Shown {
    closed: Vec<(u64, CloseReason)>,
    /// What the link was told about its frame.
    answer: Option<String>,
    /// What the caller was told.
    call: Option<String>,
    notice: Option<(u64, Value)>,
}

impl Model {
    fn is_live(&self, machine: usize) -> bool {
        let epoch = self.links[machine].as_ref().map(|link| link.epoch);
        epoch == Some(self.epoch) && self.node == Some(machine)
    }

    fn listens(&self, machine: usize, interest: Interest) -> bool {
        self.links[machine].as_ref().is_some_and(|link| link.subscriptions.has(interest))
    }

    /// Whoever listens at this node takes all there is, and completes it.
    fn stir(&mut self, machine: usize) {
        if self.listens(machine, Interest::Messages) {
            self.messages = 0;
        }
    }

    fn leave(&mut self, machine: usize) {
        if self.is_live(machine) {
            self.node = None;
            if !self.stored {
                self.subscriptions = Subscriptions::NONE;
            }
        }
        self.links[machine] = None;
    }

    fn close(&mut self, machine: usize, reason: CloseReason, shown: &mut Shown) {
        shown.closed.push((self.links[machine].as_ref().unwrap().id, reason));
        self.leave(machine);
    }

    fn review(&mut self, machine: usize, shown: &mut Shown) {
        if self.links[machine].is_none() {
        } else if !self.enabled {
            self.close(machine, CloseReason::IdentityDisabled, shown);
        } else if !self.is_live(machine) {
            self.close(machine, CloseReason::TakenOver, shown);
        }
        self.stir(machine);
    }

    fn act(&mut self, (act, machine, conflicts): &Step) -> Shown {
        let (machine, lost) = (*machine, *conflicts > ROUNDS);
        let mut shown = Shown::default();
        match act {
            Act::Connect { .. } if !self.enabled => {
                self.last_link += 1;
                shown.call = Some("disabled".to_owned());
            }
            Act::Connect { .. } if lost => {
                self.last_link += 1;
                shown.call = Some("unavailable".to_owned());
            }
            Act::Connect { persistent } => {
                self.last_link += 1;
                if let Some(old) = self.links[machine].take() {
                    shown.closed.push((old.id, CloseReason::TakenOver));
                }
                let present = *persistent && self.stored;
                if !present {
                    self.subscriptions = Subscriptions::NONE;
                }
                (self.epoch, self.node) = (self.epoch + 1, Some(machine));
                self.stored = *persistent;
                let subscriptions = self.subscriptions;
                self.links[machine] = Some(Link {
                    id: self.last_link,
                    epoch: self.epoch,
                    stored: *persistent,
                    subscriptions,
                });
                shown.call = Some(format!("{} {present} {subscriptions:?}", self.epoch));
                self.stir(machine);
            }
            Act::Leave => self.leave(machine),
            Act::Subscribe(interest) => {
                let add = |subscriptions: Subscriptions| {
                    subscriptions.with(*interest, Guarantee::AtLeastOnce)
                };
                self.subscribe(machine, lost, add, &mut shown);
            }
            Act::Unsubscribe(interest) => {
                self.subscribe(machine, lost, |s| s.without(*interest), &mut shown);
            }
            Act::Report { patch, version } => {
                self.report(machine, lost, patch, *version, &mut shown);
            }
            Act::GetTwin if self.listens(machine, Interest::TwinResponses) => {
                shown.answer = Some(format!("{:?}", self.view()));
            }
            Act::GetTwin => {
                shown.answer = self.links[machine].is_some().then(|| "receipt".to_owned());
            }
            Act::Write { tags, desired, etag, replace } => {
                // A patch that names nothing of a section leaves it; a replacement empties it.
                let says = |section: &&Value| *replace || !members(section).is_empty();
                let (tags, desired) = (tags.as_ref().filter(says), desired.as_ref().filter(says));
                shown.call = Some(match etag {
                    Etag::Stale => "PreconditionFailed".to_owned(),
                    _ if tags.is_none() && desired.is_none() => format!("{:?}", self.view()),
                    _ if lost => "Busy".to_owned(),
                    _ => {
                        self.write(machine, tags, desired, *replace, &mut shown);
                        format!("{:?}", self.view())
                    }
                });
            }
            Act::Send if !self.enabled => shown.call = Some("DeviceNotFound".to_owned()),
            Act::Send if lost => shown.call = Some("Busy".to_owned()),
            Act::Send => {
                self.messages += 1;
                shown.call = Some("sent".to_owned());
                self.stir(machine);
            }
            Act::Status { enabled, heard } => {
                self.enabled = *enabled;
                if *heard {
                    self.review(0, &mut shown);
                    self.review(1, &mut shown);
                }
            }
            Act::Hint => self.review(machine, &mut shown),
        }
        shown
    }

    fn subscribe(
        &mut self,
        machine: usize,
        lost: bool,
        change: impl FnOnce(Subscriptions) -> Subscriptions,
        shown: &mut Shown,
    ) {
        let live = self.is_live(machine);
        let Some(link) = &mut self.links[machine] else { return };
        let after = change(link.subscriptions);
        let before = std::mem::replace(&mut link.subscriptions, after);
        if link.stored && before != after {
            if !live {
                return self.close(machine, CloseReason::TakenOver, shown);
            }
            if lost {
                link.subscriptions = before;
                shown.answer = Some("Busy".to_owned());
                return;
            }
            self.subscriptions = after;
        }
        shown.answer = Some("receipt".to_owned());
        if !before.has(Interest::Messages) {
            self.stir(machine);
        }
    }

    fn report(
        &mut self,
        machine: usize,
        lost: bool,
        patch: &Value,
        version: Option<u64>,
        shown: &mut Shown,
    ) {
        if self.links[machine].is_none() {
            return;
        }
        if !self.is_live(machine) {
            return self.close(machine, CloseReason::TakenOver, shown);
        }
        if version.is_some_and(|version| version != self.reported_version) {
            shown.answer = Some("PreconditionFailed".to_owned());
            return;
        }
        if !members(patch).is_empty() {
            if lost {
                shown.answer = Some("Busy".to_owned());
                return;
            }
            merge(&mut self.reported, members(patch));
            self.reported_version += 1;
        }
        let told = self.listens(machine, Interest::TwinResponses);
        let version = self.reported_version;
        shown.answer = Some(if told { format!("v{version}") } else { "receipt".to_owned() });
    }

    fn write(
        &mut self,
        machine: usize,
        tags: Option<&Value>,
        desired: Option<&Value>,
        replace: bool,
        shown: &mut Shown,
    ) {
        if let Some(tags) = tags {
            if replace {
                self.tags.clear();
            }
            merge(&mut self.tags, members(tags));
        }
        if let Some(desired) = desired {
            let before = self.desired.clone();
            if replace {
                self.desired.clear();
            }
            merge(&mut self.desired, members(desired));
            self.desired_version += 1;
            let mut notice = members(desired).clone();
            if replace {
                // What vanished is named with null.
                notice = self.desired.clone();
                vanished(&before, &self.desired, &mut notice);
            }
            notice.insert("$version".to_owned(), self.desired_version.into());
            if self.listens(machine, Interest::DesiredProperties) {
                shown.notice = Some((self.desired_version, Value::Object(notice)));
            }
        }
    }

    /// The twin without its tags, as a device sees it.
    fn view(&self) -> Value {
        let section = |members: &Map<String, Value>, version: u64| {
            let mut members = members.clone();
            members.insert("$version".to_owned(), version.into());
            Value::Object(members)
        };
        json!({
            "desired": section(&self.desired, self.desired_version),
            "reported": section(&self.reported, self.reported_version),
        })
    }
}

fn vanished(before: &Map<String, Value>, after: &Map<String, Value>, out: &mut Map<String, Value>) {
    for (key, was) in before {
        match (was, after.get(key)) {
            (_, None) => {
                out.insert(key.clone(), Value::Null);
            }
            (Value::Object(was), Some(Value::Object(is))) => {
                if let Some(Value::Object(inner)) = out.get_mut(key) {
                    vanished(was, is, inner);
                }
            }
            _ => {}
        }
    }
}

struct Real {
    rig: Rig,
    last_link: u64,
}

fn error(kind: ErrorKind) -> String {
    format!("{kind:?}")
}

impl Real {
    fn new() -> Self {
        let rig = Rig::with(|limits| limits.conflict_rounds_max = ROUNDS);
        Self { rig, last_link: 0 }
    }

    fn act(&mut self, (act, machine, conflicts): &Step) -> Shown {
        let machine = *machine;
        let link = self.rig.machines[machine].link().map(|(link, _)| link);
        // A refused change of an operator, or of a link that leaves, is not what this is about.
        self.rig.conflicts = match act {
            Act::Status { .. } => 0,
            _ => *conflicts,
        };
        let mut shown = Shown::default();
        let frame = |inbound| link.map(|link| Input::Frame(link, inbound));
        let input = match act {
            Act::Connect { persistent } => {
                self.last_link += 1;
                let mode = if *persistent { SessionMode::Persistent } else { SessionMode::Clean };
                let arrival = self.rig.arrival(mode);
                Some(Input::Connect(CallId(CALL), LinkId(self.last_link), arrival))
            }
            Act::Leave => link.map(|link| Input::Leave(link, DisconnectCause::Clean)),
            Act::Subscribe(interest) => {
                let add = vec![(*interest, Guarantee::AtLeastOnce)];
                frame(Inbound::Subscribe(TAG, add))
            }
            Act::Unsubscribe(interest) => frame(Inbound::Unsubscribe(TAG, vec![*interest])),
            Act::Report { patch, version } => {
                frame(Inbound::Report(TAG, patch.to_string().into(), *version))
            }
            Act::GetTwin => frame(Inbound::GetTwin(TAG)),
            Act::Write { tags, desired, etag, replace } => {
                Some(self.write(tags.as_ref(), desired.as_ref(), *etag, *replace))
            }
            Act::Send => Some(Input::Ask(CallId(CALL), Request::Send(Message::new("x")))),
            Act::Status { enabled, heard } => {
                self.rig.register(if *enabled { Status::Enabled } else { Status::Disabled });
                for machine in 0..2 {
                    if *heard {
                        let said = self.rig.feed(machine, Input::Changed);
                        self.look(machine, said, &mut shown);
                    }
                }
                None
            }
            Act::Hint => Some(Input::Changed),
        };
        if let Some(input) = input {
            let said = self.rig.feed(machine, input);
            self.look(machine, said, &mut shown);
        }
        shown
    }

    fn write(
        &mut self,
        tags: Option<&Value>,
        desired: Option<&Value>,
        etag: Etag,
        replace: bool,
    ) -> Input {
        let mut text = Map::new();
        if let Some(tags) = tags {
            text.insert("tags".to_owned(), tags.clone());
        }
        if let Some(desired) = desired {
            text.insert("properties".to_owned(), json!({ "desired": desired }));
        }
        let text = Value::Object(text).to_string();
        let patch = ServicePatch::parse(text.as_bytes(), &self.rig.limits).unwrap();
        let etag = match etag {
            Etag::None => None,
            Etag::Current => Some(self.rig.twin().etag()),
            Etag::Stale => Some("AAAA".to_owned()),
        };
        let request = match replace {
            true => Request::ReplaceTwin(patch, etag),
            false => Request::PatchTwin(patch, etag),
        };
        Input::Ask(CallId(CALL), request)
    }

    /// What was said; all that was offered is completed.
    fn look(&mut self, machine: usize, mut said: Vec<Said>, shown: &mut Shown) {
        self.rig.conflicts = 0;
        loop {
            let links: Vec<u64> = (1..=self.last_link).collect();
            let offered: Vec<_> = links
                .iter()
                .flat_map(|link| offers(&said, *link).into_iter().map(|d| (*link, d.token)))
                .collect();
            self.see(&said, shown);
            if offered.is_empty() {
                return;
            }
            said = offered
                .into_iter()
                .flat_map(|(link, token)| {
                    let settle = Inbound::Settle(None, token, Disposition::Complete);
                    self.rig.feed(machine, Input::Frame(LinkId(link), settle))
                })
                .collect();
        }
    }

    fn see(&mut self, said: &[Said], shown: &mut Shown) {
        for said in said {
            if let Said::Close(link, reason) = said {
                shown.closed.push((link.0, *reason));
            }
        }
        for link in 1..=self.last_link {
            for outbound in told(said, link) {
                let answer = match outbound {
                    Outbound::Receipt(TAG) => "receipt".to_owned(),
                    Outbound::Reported(TAG, version) => format!("v{version}"),
                    Outbound::Refused(TAG, refused) => error(refused.kind()),
                    Outbound::Twin(TAG, text) => {
                        format!("{:?}", serde_json::from_slice::<Value>(text).unwrap())
                    }
                    Outbound::Desired(version, text) => {
                        let notice = serde_json::from_slice(text).unwrap();
                        assert_eq!(shown.notice.replace((*version, notice)), None);
                        continue;
                    }
                    Outbound::Offer(_) => continue,
                    other => panic!("{other:?}"),
                };
                assert_eq!(shown.answer.replace(answer), None);
            }
        }
        for answer in answers(said, CALL) {
            let answer = match answer {
                Answer::Welcome(welcome) => {
                    let (epoch, present) = (welcome.epoch.0, welcome.session_present);
                    format!("{epoch} {present} {:?}", welcome.subscriptions)
                }
                Answer::Refused(Refusal::Disabled(_)) => "disabled".to_owned(),
                Answer::Refused(Refusal::Unavailable(_)) => "unavailable".to_owned(),
                Answer::Sent(_) => "sent".to_owned(),
                Answer::Twin(twin) => {
                    let view: Value = serde_json::from_slice(&twin.device_view()).unwrap();
                    format!("{view:?}")
                }
                Answer::Failed(failed) => error(failed.kind()),
                other => panic!("{other:?}"),
            };
            assert_eq!(shown.call.replace(answer), None);
        }
    }

    fn check(&self, model: &Model) {
        let session = self.rig.session();
        let node = session.node.map(|node| usize::from(node.as_str() == "b"));
        assert_eq!(
            (session.epoch.0, node, session.stored, session.subscriptions),
            (model.epoch, model.node, model.stored, model.subscriptions)
        );
        let twin = self.rig.twin();
        let view: Value = serde_json::from_slice(&twin.device_view()).unwrap();
        assert_eq!(view, model.view());
        assert_eq!(twin.tags().to_value(), Value::Object(model.tags.clone()));
        for (machine, link) in self.rig.machines.iter().zip(&model.links) {
            let there = machine.link().map(|(link, epoch)| (link.0, epoch.0));
            assert_eq!(there, link.as_ref().map(|link| (link.id, link.epoch)));
            assert_eq!(machine.waiting(), 0);
        }
        let depth = self.rig.read(Ask::Depth(QueueId::mailbox(&self.rig.address)));
        assert_eq!(depth, Some(Record::Depth(model.messages)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn two_machines_and_a_store_are_one_plain_device(
        steps in prop::collection::vec(step(), 1..50)
    ) {
        let mut real = Real::new();
        let mut model = Model {
            enabled: true,
            desired_version: 1,
            reported_version: 1,
            ..Model::default()
        };
        for step in &steps {
            let (shown, right) = (real.act(step), model.act(step));
            assert_eq!(shown, right, "after {step:?}, {model:#?}");
            real.check(&model);
        }
    }
}
