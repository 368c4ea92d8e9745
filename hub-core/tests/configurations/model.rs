//! Many devices, two nodes, random configurations and tags: in the end every twin is what a simple
//! model says.

use std::collections::BTreeMap;
use std::time::Duration;

use hub_core::registry::IfMatch;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::world::{World, create, desired, eventually, id, make, spec, statuses, tag};

const DEVICES: u8 = 5;

#[derive(Debug, Clone)]
enum Step {
    /// Makes a configuration, or updates the one of this name.
    Put {
        name: u8,
        priority: u32,
        site: Option<u8>,
        settings: BTreeMap<String, i32>,
    },
    Delete(u8),
    Tag(u8, u8),
    Register(u8),
    /// A node stops at once, and another one begins.
    Crash(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let settings = prop::collection::btree_map("p[0-3]", 0..100, 1..4);
    prop_oneof![
        4 => (0_u8..4, 0_u32..3, prop::option::of(0_u8..3), settings)
            .prop_map(|(name, priority, site, settings)| Step::Put { name, priority, site, settings }),
        1 => (0_u8..4).prop_map(Step::Delete),
        4 => (0..DEVICES, 0_u8..3).prop_map(|(device, site)| Step::Tag(device, site)),
        2 => (0..DEVICES).prop_map(Step::Register),
        1 => (0_usize..2).prop_map(Step::Crash),
    ]
}

#[derive(Debug)]
struct Known {
    made: usize,
    priority: u32,
    site: Option<u8>,
    settings: BTreeMap<String, i32>,
}

/// For each path the value of the configuration of the highest rank.
fn expected(known: &BTreeMap<u8, Known>, site: Option<u8>) -> (Value, usize) {
    let mut all: Vec<&Known> =
        known.values().filter(|k| k.site.is_none() || k.site == site).collect();
    all.sort_by_key(|k| (k.priority, k.made));
    let mut merged = BTreeMap::new();
    all.iter().for_each(|k| merged.extend(k.settings.clone()));
    (json!(merged), all.len())
}

async fn run(steps: Vec<Step>) {
    let world = World::with(|limits| limits.configuration_page_max = 2);
    let begin =
        |name: String| world.set_up(|builder| builder.node(hub_core::NodeId::new(&name).unwrap()));
    let mut nodes = [begin("a".to_owned()), begin("b".to_owned())];
    let (mut known, mut sites) = (BTreeMap::new(), BTreeMap::new());
    for (number, step) in steps.into_iter().enumerate() {
        let hub = nodes[number % 2].clone();
        let hub = &hub;
        match step {
            Step::Put { name, priority, site, settings } => {
                let target = site.map_or("*".to_owned(), |site| format!("tags.site = {site}"));
                let asked = spec(&format!("c{name}"), &target, json!(settings)).priority(priority);
                match known.get_mut(&name) {
                    None => {
                        make(hub, asked).await;
                        known.insert(name, Known { made: number, priority, site, settings });
                    }
                    Some(Known { priority: p, site: s, .. }) => {
                        let mut update = asked;
                        update.content = None;
                        let all = hub.configurations();
                        all.put(&update, Some(&IfMatch::Any)).await.unwrap();
                        (*p, *s) = (priority, site);
                    }
                }
            }
            Step::Crash(node) => nodes[node] = begin(format!("n{number}")),
            Step::Delete(name) => {
                if known.remove(&name).is_some() {
                    hub.configurations().delete(&id(&format!("c{name}")), None).await.unwrap();
                }
            }
            Step::Tag(device, site) => {
                if let Some(now) = sites.get_mut(&device) {
                    tag(hub, &format!("d{device}"), json!({"site": site})).await;
                    *now = Some(site);
                }
            }
            Step::Register(device) => {
                if let std::collections::btree_map::Entry::Vacant(slot) = sites.entry(device) {
                    create(hub, &format!("d{device}")).await;
                    slot.insert(None);
                }
            }
        }
    }
    for (device, site) in sites {
        let (name, (want, count)) = (format!("d{device}"), expected(&known, site));
        eventually(|| async {
            // Time passes, so that what one node did not hear of is found by a sweep.
            world.clock.advance(Duration::from_secs(1));
            let marks = statuses(&nodes[0], &name).await;
            desired(&nodes[0], &name).await == want
                && marks.as_object().is_some_and(|marks| marks.len() == count)
        })
        .await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn every_twin_becomes_what_the_configurations_say(
        steps in prop::collection::vec(step(), 1..30)
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(run(steps));
    }
}
