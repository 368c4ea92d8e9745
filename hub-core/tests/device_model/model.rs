//! The device as one plain object: what everybody ought to be told.

use hub_core::error::CloseReason;
use hub_core::frame::{Guarantee, Interest, Subscriptions};
use serde_json::{Map, Value, json};

use crate::ROUNDS;
use crate::acts::{Act, Etag, Step};

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Link {
    pub(crate) id: u64,
    pub(crate) epoch: u64,
    pub(crate) stored: bool,
    pub(crate) subscriptions: Subscriptions,
}

#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) enabled: bool,
    pub(crate) links: [Option<Link>; 2],
    pub(crate) last_link: u64,
    // The session.
    pub(crate) epoch: u64,
    pub(crate) node: Option<usize>,
    pub(crate) stored: bool,
    pub(crate) subscriptions: Subscriptions,
    // The twin.
    pub(crate) tags: Map<String, Value>,
    pub(crate) desired: Map<String, Value>,
    pub(crate) reported: Map<String, Value>,
    pub(crate) desired_version: u64,
    pub(crate) reported_version: u64,
    /// Messages in the queue.
    pub(crate) messages: u32,
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
pub(crate) struct Shown {
    pub(crate) closed: Vec<(u64, CloseReason)>,
    /// What the link was told about its frame.
    pub(crate) answer: Option<String>,
    /// What the caller was told.
    pub(crate) call: Option<String>,
    pub(crate) notice: Option<(u64, Value)>,
}

impl Model {
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
        if self.links[machine].take().is_some() {
            self.node = None;
            if !self.stored {
                self.subscriptions = Subscriptions::NONE;
            }
        }
    }

    fn close(&mut self, machine: usize, reason: CloseReason, shown: &mut Shown) {
        shown.closed.push((self.links[machine].as_ref().unwrap().id, reason));
        self.leave(machine);
    }

    fn review(&mut self, machine: usize, shown: &mut Shown) {
        if self.links[machine].is_some() && !self.enabled {
            self.close(machine, CloseReason::IdentityDisabled, shown);
        }
        self.stir(machine);
    }

    pub(crate) fn act(&mut self, (act, machine, conflicts): &Step) -> Shown {
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
                if let Some(old) = self.links[1 - machine].take() {
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
                        self.write(tags, desired, *replace, &mut shown);
                        format!("{:?}", self.view())
                    }
                });
            }
            Act::Send if !self.enabled => shown.call = Some("DeviceNotFound".to_owned()),
            Act::Send if lost => shown.call = Some("Busy".to_owned()),
            Act::Send => {
                self.messages += 1;
                shown.call = Some("sent".to_owned());
                self.stir(0);
                self.stir(1);
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
        let Some(link) = &mut self.links[machine] else { return };
        let after = change(link.subscriptions);
        let before = std::mem::replace(&mut link.subscriptions, after);
        if link.stored && before != after {
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
            if (0..2).any(|machine| self.listens(machine, Interest::DesiredProperties)) {
                shown.notice = Some((self.desired_version, Value::Object(notice)));
            }
        }
    }

    /// The twin without its tags, as a device sees it.
    pub(crate) fn view(&self) -> Value {
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
