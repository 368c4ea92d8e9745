//! A device against its twin: whatever is written, lost, acknowledged, cut off, taken over or crashed in
//! whatever order, a device that listens and has got all that it was told has its desired properties.
//!
//! The device is a JSON object and the merge law. It knows nothing of versions, and never asks.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use std::collections::VecDeque;

use hub_core::device::{Answer, Input, Request, Said};
use hub_core::error::DisconnectCause;
use hub_core::frame::{Guarantee, Inbound, Interest, Outbound};
use hub_core::hello::SessionMode;
use hub_core::id::{CallId, LinkId, NodeId, SequenceNumber, Tag};
use hub_core::inbox::Post;
use hub_core::store::{Ask, Change, Outcome, QueueId, Record};
use hub_core::twin::ServicePatch;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use rig::{Rig, answers, machine, told};

#[path = "regress/rig.rs"]
#[expect(dead_code, reason = "shared with tests that need more of it")]
mod rig;

/// What happens.
#[derive(Debug, Clone)]
enum Act {
    /// A back end writes at a node.
    Write { node: usize, content: Value, replace: bool },
    /// The device connects to a node, whatever it had before, and listens.
    Connect { node: usize, persistent: bool },
    /// It stops listening.
    Deaf,
    /// It listens, again or still.
    Again,
    /// It reads its twin.
    Read,
    /// It says goodbye, or the connection is lost: what was under way is.
    Leave,
    /// The node of the connection dies and comes back with nothing but the store.
    Crash,
    /// So many of the messages under way arrive, and so many of the acknowledgements of those.
    Arrive { messages: usize, acknowledgements: usize },
    /// So many changes meet a conflict.
    Conflicts(u32),
    /// All arrives. The device must be where its twin is, if it listens.
    Settle,
}

fn content() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        3 => Just(Value::Null),
        3 => (0..9_i64).prop_map(Value::from),
        1 => Just(json!([1])),
    ];
    let value = leaf.prop_recursive(2, 8, 3, |inner| {
        prop::collection::btree_map("[abc]", inner, 0..3)
            .prop_map(|map| Value::Object(map.into_iter().collect()))
    });
    prop::collection::btree_map("[abcde]", value, 0..4)
        .prop_map(|map| Value::Object(map.into_iter().collect()))
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        8 => (0..2_usize, content(), prop::bool::weighted(0.2))
            .prop_map(|(node, content, replace)| Act::Write { node, content, replace }),
        3 => (0..2_usize, any::<bool>())
            .prop_map(|(node, persistent)| Act::Connect { node, persistent }),
        2 => Just(Act::Deaf),
        2 => Just(Act::Again),
        1 => Just(Act::Read),
        2 => Just(Act::Leave),
        1 => Just(Act::Crash),
        4 => (0..4_usize, 0..4_usize)
            .prop_map(|(messages, acknowledgements)| Act::Arrive { messages, acknowledgements }),
        1 => (1..3_u32).prop_map(Act::Conflicts),
        3 => Just(Act::Settle),
    ]
}

/// The merge law, as an SDK's user would write it.
fn merge(into: &mut Map<String, Value>, patch: &Map<String, Value>) {
    for (name, value) in patch.iter().filter(|(name, _)| *name != "$version") {
        match value {
            Value::Null => drop(into.remove(name)),
            Value::Object(patch) => {
                let inner = into.entry(name.clone()).or_insert_with(|| json!({}));
                if !inner.is_object() {
                    *inner = json!({});
                }
                merge(inner.as_object_mut().unwrap(), patch);
            }
            value => drop(into.insert(name.clone(), value.clone())),
        }
    }
}

enum Message {
    Patch(u64, Value),
    Whole(Value),
}

struct World {
    rig: Rig,
    calls: u64,
    links: u64,
    /// The node and the link of the connection.
    connection: Option<(usize, u64)>,
    listens: bool,
    /// What the hub has said on it and the device has not got.
    under_way: VecDeque<Message>,
    /// What the device has got and not acknowledged.
    unacknowledged: VecDeque<u64>,
    state: Map<String, Value>,
    version: u64,
    /// How many patches the hub has said.
    patches: u64,
}

const NODES: [&str; 2] = ["a", "b"];

impl World {
    fn new(names_bytes_max: usize) -> Self {
        let rig = Rig::with(|limits| {
            limits.desired_catch_up = true;
            limits.desired_names_bytes_max = names_bytes_max;
        });
        Self {
            rig,
            calls: 0,
            links: 0,
            connection: None,
            listens: false,
            under_way: VecDeque::new(),
            unacknowledged: VecDeque::new(),
            state: Map::new(),
            version: 0,
            patches: 0,
        }
    }

    fn feed(&mut self, node: usize, input: Input) {
        let said = self.rig.feed(node, input);
        self.hear(&said);
        self.pass_posts();
    }

    /// What nodes tell each other.
    fn pass_posts(&mut self) {
        loop {
            let mut found = Vec::new();
            for (node, name) in NODES.iter().enumerate() {
                let queue = QueueId::inbox(&NodeId::new(name).unwrap());
                let ask = Ask::Items(queue, SequenceNumber(0), 100);
                let Some(Record::Items(items)) = self.rig.read(ask) else { panic!("no inbox") };
                for item in items {
                    let settled = self.rig.commit(Change::new().settle(&item.at));
                    assert!(matches!(settled, Outcome::Committed(_)));
                    found.push((node, Post::decode(&item.body).unwrap()));
                }
            }
            if found.is_empty() {
                return;
            }
            for (node, post) in found {
                let Ok((_, input)) = Input::of_post(post) else { panic!("a call") };
                let said = self.rig.feed(node, input);
                self.hear(&said);
            }
        }
    }

    fn hear(&mut self, said: &[Said]) {
        for one in said {
            if let (Said::Close(link, _), Some((_, current))) = (one, self.connection)
                && *link == LinkId(current)
            {
                self.cut();
            }
        }
        let Some((_, link)) = self.connection else { return };
        for outbound in told(said, link) {
            match outbound {
                Outbound::Desired(version, patch) => {
                    let patch = serde_json::from_slice(patch).unwrap();
                    self.under_way.push_back(Message::Patch(*version, patch));
                    self.patches += 1;
                }
                Outbound::Twin(_, text) => {
                    let twin: Value = serde_json::from_slice(text).unwrap();
                    self.under_way.push_back(Message::Whole(twin["desired"].clone()));
                }
                _ => {}
            }
        }
    }

    fn cut(&mut self) {
        self.connection = None;
        self.under_way.clear();
        self.unacknowledged.clear();
    }

    fn frame(&mut self, frame: Inbound) {
        if let Some((node, link)) = self.connection {
            self.feed(node, Input::Frame(LinkId(link), frame));
        }
    }

    fn listen(&mut self) {
        self.listens = true;
        let interests = [Interest::DesiredProperties, Interest::TwinResponses];
        let add = interests.map(|interest| (interest, Guarantee::AtLeastOnce)).to_vec();
        self.frame(Inbound::Subscribe(Tag(1), add));
    }

    fn arrive(&mut self, messages: usize, acknowledgements: usize) {
        for _ in 0..messages {
            match self.under_way.pop_front() {
                Some(Message::Patch(version, patch)) => {
                    merge(&mut self.state, patch.as_object().unwrap());
                    assert!(version >= self.version, "{version} after {}", self.version);
                    assert_eq!(patch["$version"], version);
                    self.version = version;
                    self.unacknowledged.push_back(version);
                }
                Some(Message::Whole(desired)) => {
                    self.version = self.version.max(desired["$version"].as_u64().unwrap());
                    self.state = desired.as_object().unwrap().clone();
                    self.state.remove("$version");
                }
                None => {}
            }
        }
        for _ in 0..acknowledgements {
            let Some(version) = self.unacknowledged.pop_front() else { return };
            self.frame(Inbound::Heard(version));
        }
    }

    fn act(&mut self, act: &Act) {
        match act {
            Act::Write { node, content, replace } => {
                self.calls += 1;
                let write = json!({ "properties": { "desired": content } });
                let write = ServicePatch::from_value(&write, &self.rig.limits).unwrap();
                let request = match replace {
                    true => Request::ReplaceTwin(write, None),
                    false => Request::PatchTwin(write, None),
                };
                let said = self.rig.feed(*node, Input::Ask(CallId(self.calls), request));
                let [Answer::Twin(_)] = answers(&said, self.calls)[..] else { panic!("{said:?}") };
                self.hear(&said);
                self.pass_posts();
            }
            Act::Connect { node, persistent } => {
                self.cut();
                self.links += 1;
                self.connection = Some((*node, self.links));
                let mode = if *persistent { SessionMode::Persistent } else { SessionMode::Clean };
                let arrival = self.rig.arrival(mode);
                let (call, link) = (CallId(100_000 + self.links), LinkId(self.links));
                self.feed(*node, Input::Connect(call, link, arrival));
                self.listen();
            }
            Act::Deaf => {
                self.listens = false;
                self.frame(Inbound::Unsubscribe(Tag(2), vec![Interest::DesiredProperties]));
            }
            Act::Again => self.listen(),
            Act::Read => self.frame(Inbound::GetTwin(Tag(3))),
            Act::Leave => {
                if let Some((node, link)) = self.connection {
                    self.cut();
                    self.feed(node, Input::Leave(LinkId(link), DisconnectCause::Clean));
                }
            }
            Act::Crash => {
                if let Some((node, _)) = self.connection {
                    self.cut();
                    let rig = &mut self.rig;
                    rig.machines[node] = machine(NODES[node], &rig.limits, &rig.address);
                }
            }
            Act::Arrive { messages, acknowledgements } => self.arrive(*messages, *acknowledgements),
            Act::Conflicts(conflicts) => self.rig.conflicts = *conflicts,
            Act::Settle => {
                self.rig.conflicts = 0;
                // Notices that wait for one before them do not wait for ever.
                self.rig.later(self.rig.limits.notice_gap_max);
                for node in 0..NODES.len() {
                    self.feed(node, Input::Tick);
                }
                self.arrive(self.under_way.len(), usize::MAX);
            }
        }
    }

    fn check(&self) {
        if self.connection.is_some() && self.listens {
            let desired = self.rig.twin().desired().to_value();
            assert_eq!(Value::Object(self.state.clone()), desired);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn a_device_that_listens_has_its_desired_properties(
        acts in prop::collection::vec(act(), 1..50),
    ) {
        let mut world = World::new(1 << 20);
        for act in &acts {
            world.act(act);
            if matches!(act, Act::Settle) {
                world.check();
            }
        }
        world.act(&Act::Connect { node: 0, persistent: true });
        world.act(&Act::Settle);
        world.check();
    }

    /// Of a device that acknowledges what it gets no more is remembered than it has, however many names
    /// come and go; so a small bound is enough.
    #[test]
    fn names_that_are_gone_are_forgotten(rounds in 5..40_u64) {
        let mut world = World::new(64);
        world.act(&Act::Connect { node: 0, persistent: true });
        for round in 0..rounds {
            for content in [json!({ format!("job-{round}"): { "x": 1 } }), json!({ format!("job-{round}"): null })] {
                world.act(&Act::Write { node: 0, content, replace: false });
                world.act(&Act::Settle);
                world.check();
            }
        }
        world.act(&Act::Leave);
        world.act(&Act::Write { node: 1, content: json!({ "last": 1 }), replace: false });
        world.act(&Act::Connect { node: 1, persistent: true });
        world.act(&Act::Settle);
        world.check();
    }
}

/// Who has acknowledged all is told only what was written since.
#[test]
fn what_is_known_to_be_there_is_not_told_again() {
    let mut world = World::new(1 << 20);
    world.act(&Act::Connect { node: 0, persistent: true });
    let content = json!({ "large": "x".repeat(1000), "gone": { "soon": 1 } });
    world.act(&Act::Write { node: 0, content, replace: false });
    world.act(&Act::Settle);
    world.act(&Act::Leave);
    world.act(&Act::Connect { node: 1, persistent: false });
    world.act(&Act::Settle);
    assert_eq!(world.patches, 1, "it had missed nothing");
    world.act(&Act::Leave);
    let content = json!({ "small": 1, "gone": null });
    world.act(&Act::Write { node: 0, content: content.clone(), replace: false });
    world.act(&Act::Write { node: 1, content: json!({ "small": 2 }), replace: false });
    world.act(&Act::Connect { node: 0, persistent: true });
    let [Message::Patch(4, patch)] = world.under_way.make_contiguous() else { panic!("one patch") };
    assert_eq!(*patch, json!({ "small": 2, "gone": null, "$version": 4 }));
    world.act(&Act::Settle);
    world.check();
}

/// One patch may stand for several versions: without it the device has none of them.
#[test]
fn a_patch_that_is_lost_is_lost_with_all_that_it_stood_for() {
    let mut world = World::new(1 << 20);
    world.act(&Act::Connect { node: 0, persistent: true });
    world.act(&Act::Write { node: 0, content: json!({ "a": 1 }), replace: false });
    world.act(&Act::Settle);
    world.act(&Act::Deaf);
    for name in ["b", "c", "d"] {
        world.act(&Act::Write { node: 0, content: json!({ name: 1 }), replace: false });
    }
    world.act(&Act::Again);
    assert_eq!(world.under_way.len(), 1);
    world.act(&Act::Leave);
    world.act(&Act::Connect { node: 0, persistent: true });
    world.act(&Act::Settle);
    world.check();
}
