//! What devices, back ends and operators do, and the script of the second phase.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use hub_core::delivery::FeedbackRecord;
use hub_core::device::{Answer, Request};
use hub_core::envelope::{Ack, Message};
use hub_core::frame::{Disposition, Guarantee, Inbound, Interest, MethodRef};
use hub_core::id::Address;
use hub_core::inbox::Post;
use hub_core::limits::Limits;
use hub_core::method::MethodCall;
use hub_core::registry::{self, Context, Identity, IdentitySpec, IfMatch, Status};
use hub_core::session::Session;
use hub_core::store::{Change, Claim, DocumentRef, Key, QueueId, Scope};
use hub_core::time::Timestamp;
use hub_core::twin::{ServicePatch, Twin};

use crate::fact::{Call, Conn, Fact, Wish};
use crate::world::{Event, Faults, PARTITIONS, Phase, World};

/// A question of a back end.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) call: Call,
    pub(crate) request: Request,
    /// Sent in the second phase, where it must succeed.
    pub(crate) must: bool,
}

/// What the second phase expects of a call.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Must {
    pub(crate) what: String,
    pub(crate) answer: Option<Answer>,
}

/// The back ends together.
#[derive(Default)]
pub(crate) struct Service {
    pub(crate) last_call: Call,
    last_value: u64,
    pub(crate) connects: BTreeMap<Call, Conn>,
    /// Where each open question was put.
    asked: BTreeMap<Call, (usize, u64, Address)>,
    pub(crate) late_replies: BTreeMap<usize, Vec<(MethodRef, Bytes)>>,
    positions: BTreeMap<u16, u64>,
    pub(crate) musts: BTreeMap<Call, Must>,
    /// What waited for a device some time after the faults.
    early: Option<String>,
    calm_since: u64,
    /// Connections of the second phase that have subscribed.
    listening: BTreeSet<Conn>,
    /// The script of the second phase has ended.
    pub(crate) finished: bool,
}

impl Service {
    /// A number never used before, to recognise a write by.
    pub(crate) fn next_value(&mut self) -> u64 {
        self.last_value += 1;
        self.last_value
    }
}

/// How long after the faults the second phase does what.
const REPAIR_AT: u64 = 300;
const CONNECT_AT: u64 = 800;
const ACT_AT: u64 = 10_000;
const END_AT: u64 = 26_000;

impl World {
    fn up_node(&mut self) -> Option<usize> {
        let up: Vec<usize> = (0..self.nodes.len()).filter(|n| self.nodes[*n].up).collect();
        self.rng.pick(&up)
    }

    pub(crate) fn workload(&mut self) {
        if self.phase == Phase::Calm {
            return;
        }
        let next = self.rng.between(1, 60);
        self.after(next, Event::Workload);
        // The last client is the idle one: nobody connects with it.
        let client = self.rng.index(self.clients.len());
        let idle = client == self.clients.len() - 1;
        match self.rng.below(100) {
            0..45 if !idle => {
                let open = self.clients[client].open.clone();
                match self.rng.pick(&open) {
                    Some(conn) if self.connections[&conn].welcome => self.device_acts(conn),
                    _ => self.dial_somewhere(client),
                }
            }
            45..52 if !idle => self.dial_somewhere(client),
            0..88 => {
                let request = self.draw_request();
                let address = self.clients[client].address.clone();
                self.ask_somewhere(&address, request);
            }
            88..93 => self.operate(client),
            93..95 => {
                if self.rng.permille(self.faults.crashes)
                    && let Some(node) = self.up_node()
                {
                    self.after(0, Event::Crash { node });
                }
            }
            95 => {
                if self.rng.permille(self.faults.suspects) {
                    self.suspect();
                }
            }
            _ => {
                let open = self.clients[client].open.clone();
                if self.rng.permille(self.faults.cuts)
                    && let Some(conn) = self.rng.pick(&open)
                {
                    self.hang_up(conn);
                }
            }
        }
    }

    fn dial_somewhere(&mut self, client: usize) {
        let Some(node) = self.up_node() else { return };
        // Whatever was open before is left in the dark, or goes on.
        for old in self.clients[client].open.clone() {
            if self.rng.permille(500) {
                self.hang_up(old);
            }
        }
        self.dial(client, node);
    }

    fn draw_request(&mut self) -> Request {
        let value = self.service.next_value();
        match self.rng.below(100) {
            0..40 => {
                let ack = [Ack::None, Ack::Positive, Ack::Negative, Ack::Full];
                let mut message = Message::new(format!("c2d {value}"))
                    .with_message_id(&format!("m{value}"))
                    .with_ack(self.rng.pick(&ack).unwrap());
                if self.rng.permille(300) {
                    let life = self.rng.between(100, 6000);
                    message = message.with_expiry(Timestamp::from_millis(self.now + life));
                }
                Request::Send(message)
            }
            40..52 => Request::Receive(self.rng.between(500, 3000)),
            52..56 => Request::Purge,
            56..78 => {
                let wait = Duration::from_millis(self.rng.between(500, 3000));
                let call = MethodCall::new("act")
                    .with_payload(format!("{{\"value\":{value}}}"))
                    .with_response_timeout(wait);
                let patient = self.rng.permille(400);
                let wait = if patient { wait } else { Duration::ZERO };
                Request::Invoke(call.when_online_within(wait).checked(&self.limits).unwrap())
            }
            _ => {
                let key = self.rng.below(3);
                let tag = self.rng.permille(300);
                let text = match tag {
                    true => format!("{{\"tags\":{{\"k{key}\":{value}}}}}"),
                    false => format!("{{\"properties\":{{\"desired\":{{\"k{key}\":{value}}}}}}}"),
                };
                let patch = service_patch(&text, &self.limits);
                let etag = self.rng.permille(100).then(|| "AAAAAAAAAAE=".to_owned());
                if self.rng.permille(200) {
                    Request::ReplaceTwin(patch, etag)
                } else {
                    Request::PatchTwin(patch, etag)
                }
            }
        }
    }

    fn ask_somewhere(&mut self, address: &Address, request: Request) {
        if let Some(node) = self.up_node() {
            self.ask_at(node, address, request, None);
        }
    }

    pub(crate) fn ask_at(
        &mut self,
        node: usize,
        address: &Address,
        request: Request,
        must: Option<String>,
    ) {
        let call = self.next_call();
        let pending = Box::new(Pending { call, request, must: must.is_some() });
        if let Some(what) = must {
            self.service.musts.insert(call, Must { what, answer: None });
        }
        // Commands overtake each other on their way.
        let delay = self.rng.below(40);
        self.after(delay, Event::Asks { node, address: address.clone(), pending });
    }

    pub(crate) fn asks(&mut self, n: usize, address: &Address, pending: Pending) {
        let Pending { call, request, must } = pending;
        if !self.nodes[n].up || (self.nodes[n].is_full() && !must) {
            return;
        }
        let run = self.nodes[n].run;
        self.service.asked.insert(call, (n, run, address.clone()));
        let patience = u64::try_from(self.limits.call_timeout.as_millis()).unwrap();
        let impatient = self.phase == Phase::Faulty && self.rng.permille(100);
        let patience = if impatient { self.rng.below(400) } else { patience };
        self.after(patience, Event::GivesUp { call });
        if let Request::Invoke(method) = &request {
            self.device_comes_in_time(address, method.connect_timeout());
        }
        self.ask_machine(n, address, call, Wish::Request(request));
    }

    /// Now and then a device comes just when a caller has no patience for it any more: its connect
    /// takes some time, so that it listens a moment before that, then, or after.
    fn device_comes_in_time(&mut self, address: &Address, patience: Duration) {
        let client = self.clients.iter().position(|client| client.address == *address);
        // The last one is the idle one.
        let Some(client) = client.filter(|client| client + 1 < self.clients.len()) else { return };
        if self.phase == Phase::Faulty && !patience.is_zero() && self.rng.permille(400) {
            let patience = u64::try_from(patience.as_millis()).unwrap();
            let early = self.rng.below(150);
            self.after(patience.saturating_sub(early), Event::Comes { client });
        }
    }

    pub(crate) fn comes(&mut self, client: usize) {
        if self.phase == Phase::Faulty && self.clients[client].open.is_empty() {
            self.dial_somewhere(client);
        }
    }

    pub(crate) fn gives_up(&mut self, call: Call) {
        if let Some((n, run, address)) = self.service.asked.remove(&call)
            && self.nodes[n].up
            && self.nodes[n].run == run
        {
            self.cancel(n, &address, call);
        }
    }

    pub(crate) fn service_answered(&mut self, n: usize, call: Call, answer: Answer) {
        let Some((_, _, address)) = self.service.asked.remove(&call) else { return };
        if let Some(must) = self.service.musts.get_mut(&call) {
            must.answer = Some(answer.clone());
        }
        if let Answer::Received(Some(delivery)) = answer {
            let disposition = match self.rng.below(100) {
                0..50 => Disposition::Complete,
                50..70 => Disposition::Abandon,
                70..85 => Disposition::Reject,
                _ if self.phase == Phase::Calm => Disposition::Complete,
                _ => return,
            };
            // Settled where it was received, or anywhere else, and now and then twice.
            let request = Request::Settle(delivery.token, disposition);
            let twice = self.rng.permille(100);
            let node = if self.rng.permille(500) { Some(n) } else { self.up_node() };
            if let Some(node) = node {
                self.ask_at(node, &address, request.clone(), None);
                if twice {
                    self.ask_somewhere(&address, request);
                }
            }
        }
    }

    /// All identities, as they are before anything happens.
    pub(crate) fn register_all(&mut self) {
        for client in 0..self.clients.len() {
            let address = self.clients[client].address.clone();
            let change = self.create(&address);
            let batch = hub_core::store::Batch {
                id: hub_core::store::BatchId(u128::MAX / 2 + client as u128),
                changes: vec![change],
                nudges: Vec::new(),
            };
            let mut facts = Vec::new();
            self.store.commit(0, &batch, &mut facts);
            for fact in facts {
                self.see(fact);
            }
        }
    }

    fn create(&mut self, address: &Address) -> Change {
        let now = Timestamp::from_millis(self.now);
        let identity = self.decide(&IdentitySpec::new(address.clone()), None);
        Change::new()
            .create(Key::identity(address), identity.encode())
            .create(Key::twin(address), Twin::new(now).encode())
            .clear(QueueId::mailbox(address))
    }

    fn decide(&mut self, spec: &IdentitySpec, existing: Option<&Identity>) -> Identity {
        let mut random = [0; 64];
        for byte in &mut random {
            *byte = u8::try_from(self.rng.below(256)).unwrap();
        }
        let context = Context {
            now: Timestamp::from_millis(self.now),
            random: &random,
            limits: &self.limits,
            edges: &[],
            previous_generation: None,
        };
        registry::put(existing, spec, existing.map(|_| &IfMatch::Any), &context).unwrap()
    }

    /// An operator disables, enables, deletes or creates an identity.
    fn operate(&mut self, client: usize) {
        let address = self.clients[client].address.clone();
        let Some(node) = self.up_node() else { return };
        let change = match self.store.document(&Key::identity(&address)) {
            None => self.create(&address),
            Some((version, body)) => {
                let identity = Identity::decode(&body).unwrap();
                let enabled = identity.status() == Status::Enabled;
                if self.rng.permille(250) {
                    let change = self.delete(&address);
                    self.told_holder(node, &address, change, false)
                } else if address.is_module() || (enabled && self.rng.permille(500)) {
                    return;
                } else {
                    let mut spec = IdentitySpec::new(address.clone());
                    spec.status = Some(if enabled { Status::Disabled } else { Status::Enabled });
                    let updated = self.decide(&spec, Some(&identity));
                    let at = DocumentRef::new(Key::identity(&address), version);
                    let change = Change::new().replace(&at, updated.encode());
                    self.told_holder(node, &address, change, true)
                }
            }
        };
        self.commit_registry(node, &address, change);
    }

    /// As `engine/holder.rs` does: the node that holds the connection is told.
    fn told_holder(&self, n: usize, of: &Address, change: Change, guard: bool) -> Change {
        let key = Key::session(of);
        let Some((version, body)) = self.store.document(&key) else {
            return change.require_absent(key);
        };
        let session = Session::decode(&body).unwrap();
        let change = match guard {
            true => change.require(&DocumentRef::new(key, version)),
            false => change,
        };
        match session.elsewhere(&self.nodes[n].id) {
            None => change,
            Some(node) => {
                let post = Post::Changed(of.clone());
                change.push(post.push(node, self.local(n), &self.limits))
            }
        }
    }

    /// As `engine/registry.rs` does, for one identity: modules of a device stay.
    fn delete(&self, address: &Address) -> Change {
        let keys = [Key::identity(address), Key::twin(address), Key::session(address)];
        let mut change = Change::new();
        for key in keys {
            if let Some((version, _)) = self.store.document(&key) {
                change = change.remove(&DocumentRef::new(key, version));
            }
        }
        change = change.clear(QueueId::mailbox(address));
        if !address.is_module() {
            change = change.clear(QueueId::feedback_pending(&address.device_id()));
        }
        change
    }

    /// Readers of the log and of feedback, which no fault meets.
    pub(crate) fn readers(&mut self) {
        self.after(400, Event::Readers);
        for partition in 0..PARTITIONS {
            let from = self.service.positions.get(&partition).copied().unwrap_or(1);
            let entries = self.store.tail(partition, from);
            let entries: Vec<_> =
                entries.into_iter().map(|entry| (entry.sequence.0, entry.body)).collect();
            if let Some((last, _)) = entries.last() {
                self.service.positions.insert(partition, last + 1);
            }
            self.see(Fact::Tailed { partition, entries });
        }
        let now = Timestamp::from_millis(self.now);
        let claim = Claim {
            scope: Scope::Queue(QueueId::feedback()),
            limit: 3,
            hide_until: now.after(self.limits.feedback_lock),
        };
        let mut facts = Vec::new();
        let items = self.store.claim(now, &claim, &mut facts);
        for item in items {
            let records = FeedbackRecord::decode_batch(&item.body);
            facts.push(Fact::Feedback { records });
            // Some receivers die before they settle.
            if self.phase == Phase::Calm || self.rng.permille(800) {
                let id = hub_core::store::BatchId(u128::MAX / 4 + u128::from(item.at.version().0));
                let change = Change::new().settle(&item.at);
                let batch = hub_core::store::Batch { id, changes: vec![change], nudges: vec![] };
                self.store.commit(usize::MAX, &batch, &mut facts);
            }
        }
        for fact in facts {
            self.see(fact);
        }
    }

    /// The second phase: nothing goes wrong any more, and everything must settle.
    pub(crate) fn calm(&mut self, step: u32) {
        match step {
            0 => {
                self.phase = Phase::Calm;
                self.service.calm_since = self.now;
                self.faults = Faults::default();
                self.see(Fact::Calm);
                for client in 0..self.clients.len() {
                    for conn in self.clients[client].open.clone() {
                        self.hang_up(conn);
                    }
                }
                for node in 0..self.nodes.len() {
                    self.after(0, Event::Start { node });
                }
                self.after(REPAIR_AT, Event::Calm(1));
            }
            1 => {
                for client in 0..self.clients.len() {
                    self.repair(client);
                }
                self.after(CONNECT_AT - REPAIR_AT, Event::Calm(2));
            }
            2 => {
                // What still is on its way to the store may be in the way of the first tries.
                for client in 0..self.clients.len() - 1 {
                    self.listen(client);
                }
                let again = self.now < self.service.calm_since + ACT_AT - 1000;
                self.after(500, Event::Calm(if again { 2 } else { 4 }));
            }
            4 => {
                self.service.early = self.undelivered();
                self.act();
                self.after(1000, Event::Calm(5));
            }
            5 => {
                let late = self.undelivered().or_else(|| self.untold());
                self.service.early = self.service.early.take().or(late);
                for client in 0..self.clients.len() - 1 {
                    for conn in self.clients[client].open.clone() {
                        self.send_tagged(conn, "twin", Inbound::GetTwin);
                    }
                }
                self.after(END_AT - ACT_AT - 1000, Event::Calm(6));
            }
            _ => self.service.finished = true,
        }
    }

    /// A device connects, and then subscribes to everything.
    fn listen(&mut self, client: usize) {
        let [conn] = self.clients[client].open[..] else {
            self.repair(client);
            let node = self.rng.index(self.nodes.len());
            self.dial(client, node);
            return;
        };
        if self.connections[&conn].welcome && self.service.listening.insert(conn) {
            let all = Interest::ALL.map(|i| (i, Guarantee::AtLeastOnce)).to_vec();
            self.send_tagged(conn, "subscribe", |tag| Inbound::Subscribe(tag, all));
        }
    }

    /// Every identity is there and enabled.
    fn repair(&mut self, client: usize) {
        let address = self.clients[client].address.clone();
        let node = self.rng.index(self.nodes.len());
        let change = match self.store.document(&Key::identity(&address)) {
            None => self.create(&address),
            Some((version, body)) => {
                let identity = Identity::decode(&body).unwrap();
                if identity.status() == Status::Enabled {
                    return;
                }
                let mut spec = IdentitySpec::new(address.clone());
                spec.status = Some(Status::Enabled);
                let updated = self.decide(&spec, Some(&identity));
                let at = DocumentRef::new(Key::identity(&address), version);
                let change = Change::new().replace(&at, updated.encode());
                self.told_holder(node, &address, change, true)
            }
        };
        self.commit_registry(node, &address, change);
    }

    /// Everything once, at any node.
    fn act(&mut self) {
        for client in 0..self.clients.len() - 1 {
            let address = self.clients[client].address.clone();
            let value = self.service.next_value();
            let node = self.rng.index(self.nodes.len());
            let message = Message::new("last").with_message_id(&format!("m{value}"));
            let request = Request::Send(message.with_ack(Ack::Full));
            self.ask_at(node, &address, request, Some(format!("a message to {address}")));
            let text = format!("{{\"properties\":{{\"desired\":{{\"last\":{value}}}}}}}");
            let patch = service_patch(&text, &self.limits);
            let node = self.rng.index(self.nodes.len());
            let request = Request::PatchTwin(patch, None);
            self.ask_at(node, &address, request, Some(format!("a twin patch of {address}")));
            for conn in self.clients[client].open.clone() {
                self.send_telemetry(conn);
                self.send_report(conn);
                let node = self.rng.index(self.nodes.len());
                let call = MethodCall::new("last").with_payload(format!("{{\"value\":{value}}}"));
                let request = Request::Invoke(call.checked(&self.limits).unwrap());
                self.ask_at(node, &address, request, Some(format!("a call of {address}")));
            }
        }
    }

    /// A message that waits for a device that listens.
    fn undelivered(&self) -> Option<String> {
        self.clients[..self.clients.len() - 1].iter().find_map(|client| {
            let depth = self.store.depth(&QueueId::mailbox(&client.address));
            let address = &client.address;
            (depth > 0).then(|| format!("{depth} messages wait for {address}, which listens"))
        })
    }

    /// A device that was not told of its latest desired properties.
    fn untold(&self) -> Option<String> {
        self.clients[..self.clients.len() - 1].iter().find_map(|client| {
            let [conn] = client.open[..] else { return None };
            let (_, body) = self.store.document(&Key::twin(&client.address))?;
            let (is, told) = (Twin::decode(&body).unwrap(), self.connections[&conn].desired);
            let address = &client.address;
            (told != is.desired_version())
                .then(|| format!("{address} was told of {told}, and has {}", is.desired_version()))
        })
    }

    /// What is wrong with the end of a run, if anything is.
    pub(crate) fn unsettled(&self) -> Option<String> {
        // Whatever is said to a device later must not be needed to wake it.
        if let Some(wrong) = self.service.early.clone().or_else(|| self.undelivered()) {
            return Some(wrong);
        }
        for client in &self.clients[..self.clients.len() - 1] {
            let [conn] = client.open.as_slice() else {
                return Some(format!("{} has connections {:?}", client.address, client.open));
            };
            let connection = &self.connections[conn];
            if !connection.welcome {
                return Some(format!("{} was not welcomed", client.address));
            }
            if let Some((tag, what)) = connection.unanswered.first_key_value() {
                return Some(format!("{what} {tag:?} of connection {conn} has no answer"));
            }
            let (_, body) = self.store.document(&Key::twin(&client.address))?;
            let twin = Twin::decode(&body).unwrap().device_view();
            if connection.twins.last() != Some(&twin) {
                let seen = connection.twins.last();
                return Some(format!("{} sees its twin as {seen:?}, not {twin:?}", client.address));
            }
            let depth = self.store.depth(&QueueId::mailbox(&client.address));
            if depth > 0 {
                return Some(format!(
                    "{depth} messages wait for {}, which listens",
                    client.address
                ));
            }
        }
        for Must { what, answer } in self.service.musts.values() {
            match answer {
                None => return Some(format!("{what} has no answer")),
                Some(Answer::Failed(error)) => {
                    return Some(format!("{what} failed: {error:?}"));
                }
                Some(_) => {}
            }
        }
        let left = self.nodes.iter().find(|node| self.store.depth(&QueueId::inbox(&node.id)) > 0);
        if let Some(node) = left {
            return Some(format!("posts are left for node {}", node.index));
        }
        let busy = self.nodes.iter().find(|node| !node.is_quiet());
        busy.map(|node| format!("node {} still writes", node.index))
    }
}

fn service_patch(text: &str, limits: &Limits) -> ServicePatch {
    ServicePatch::parse(text.as_bytes(), limits).unwrap()
}

/// The sizes of a run must let the script end before the last lock and the last expiry do.
const _: () = assert!(REPAIR_AT < CONNECT_AT && CONNECT_AT < ACT_AT && ACT_AT < END_AT);
