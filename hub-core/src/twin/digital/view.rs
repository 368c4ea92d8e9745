//! Reading a twin as a digital twin.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::MARKER;
use crate::id::Address;
use crate::twin::document::Twin;
use crate::twin::section::{EMPTY, Node, Tree};

impl Twin {
    /// The digital twin of a device that announced this model; empty if it announced none.
    #[must_use]
    pub fn digital(&self, address: &Address, model: &str) -> Value {
        let (mut whole, mut metadata) =
            object(&self.desired.tree, &self.reported.tree, Level::Root);
        whole.insert("$dtId".to_owned(), json!(address.device_str()));
        metadata.insert("$model".to_owned(), json!(model));
        whole.insert("$metadata".to_owned(), Value::Object(metadata));
        Value::Object(whole)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Component,
}

/// The properties of the twin or of a component, and what is said about them.
fn object(
    desired: &Tree,
    reported: &Tree,
    level: Level,
) -> (Map<String, Value>, Map<String, Value>) {
    let (mut values, mut metadata) = (Map::new(), Map::new());
    let names: BTreeSet<&str> = desired.keys().chain(reported.keys()).map(|name| &**name).collect();
    for name in names {
        if name == MARKER {
            continue;
        }
        let (wanted, shown) = (desired.get(name), reported.get(name));
        let inside = |node: Option<&Node>| node.is_some_and(is_component);
        if level == Level::Root && (inside(wanted) || inside(shown)) {
            let (wanted, shown) = (wanted.and_then(Node::tree), shown.and_then(Node::tree));
            let (mut component, about) =
                object(wanted.unwrap_or(&EMPTY), shown.unwrap_or(&EMPTY), Level::Component);
            component.insert("$metadata".to_owned(), Value::Object(about));
            values.insert(name.to_owned(), Value::Object(component));
            continue;
        }
        if let Some(node) = shown {
            let acknowledged = acknowledgement(node).and_then(|_| node.get("value"));
            values.insert(name.to_owned(), acknowledged.unwrap_or(node).to_value());
        }
        metadata.insert(name.to_owned(), Value::Object(about(wanted, shown)));
    }
    (values, metadata)
}

pub(super) fn is_component(node: &Node) -> bool {
    node.get(MARKER).and_then(Node::as_leaf).is_some_and(|marker| marker == "c")
}

/// The node itself, if it is a device's answer to a desired value.
fn acknowledgement(node: &Node) -> Option<&Node> {
    let answers = node.get("value").is_some() && (node.get("ac").or(node.get("av")).is_some());
    answers.then_some(node)
}

fn about(wanted: Option<&Node>, shown: Option<&Node>) -> Map<String, Value> {
    let mut about = Map::new();
    if let Some(node) = wanted {
        about.insert("desiredValue".to_owned(), node.to_value());
        about.insert("desiredVersion".to_owned(), json!(node.stamp().version));
    }
    if let Some(node) = shown.and_then(acknowledgement) {
        for (member, name) in [("av", "ackVersion"), ("ac", "ackCode"), ("ad", "ackDescription")] {
            if let Some(value) = node.get(member) {
                about.insert(name.to_owned(), value.to_value());
            }
        }
    }
    if let Some(node) = shown.or(wanted) {
        about.insert("lastUpdateTime".to_owned(), json!(node.stamp().at.to_string()));
    }
    about
}
