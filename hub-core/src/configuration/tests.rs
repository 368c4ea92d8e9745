//! The rules of configurations, and what becomes of a twin against a naive model.

mod model;
mod rules;

use serde_json::{Value, json};

use super::*;
use crate::id::Address;
use crate::limits::Limits;
use crate::registry::IfMatch;
use crate::time::Timestamp;
use crate::twin::{ServicePatch, Twin};

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

fn limits() -> Limits {
    Limits::default()
}

fn id(text: &str) -> ConfigurationId {
    ConfigurationId::new(text).unwrap()
}

fn device() -> Address {
    Address::parse("d1").unwrap()
}

fn on_devices(settings: &Value) -> Value {
    let settings = settings.as_object().unwrap().iter();
    let paths = settings.map(|(path, value)| (format!("properties.desired.{path}"), value.clone()));
    json!({ "deviceContent": paths.collect::<serde_json::Map<_, _>>() })
}

/// A configuration that was made as the `revision`-th change.
fn made(name: &str, revision: u64, priority: u32, target: &str, settings: &Value) -> Configuration {
    let spec = ConfigurationSpec::new(id(name))
        .content(on_devices(settings))
        .target(target)
        .priority(priority);
    put(None, &spec, None, revision, NOW, &limits()).unwrap()
}

fn deployed(revision: u64, configurations: &[Configuration]) -> Deployed {
    let (deployed, refused) = Deployed::new(revision, configurations, &limits());
    assert_eq!(refused, []);
    deployed
}

fn write(twin: &mut Twin, patch: &Value) {
    let patch = ServicePatch::from_value(patch, &limits()).unwrap();
    twin.patch(&patch, None, NOW, &limits()).unwrap();
}

/// Does what a plan says, as the machine does. Whether there was anything to do.
fn carry_out(deployed: &Deployed, twin: &mut Twin) -> bool {
    match deployed.plan(&device(), twin, &limits()) {
        Plan::Outdated => panic!("outdated"),
        Plan::Nothing => false,
        Plan::Write { patch, then, refused } => {
            let written = patch.map(|patch| twin.patch(&patch, None, NOW, &limits())).transpose();
            twin.set_configured(if written.is_ok() { then } else { refused });
            written.is_ok()
        }
    }
}

fn statuses(twin: &Twin) -> Value {
    serde_json::to_value(twin.configured().statuses()).unwrap()
}

fn desired(twin: &Twin) -> Value {
    twin.desired().to_value()
}
