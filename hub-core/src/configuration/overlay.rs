//! Settings laid one over the other, and the patch that makes a twin have them.

use serde_json::{Map, Value};

use super::content::{Setting, nested};
use crate::twin::Held;

/// Lays settings one over the other, the first at the bottom: members of objects merge, all else
/// replaces. What comes out is a patch of the desired properties.
pub(super) fn overlay<'s>(settings: impl IntoIterator<Item = &'s Setting>) -> Map<String, Value> {
    let mut whole = Map::new();
    for setting in settings {
        if let Value::Object(patch) = nested(&setting.path, setting.value.clone()) {
            lay(&mut whole, patch);
        }
    }
    whole
}

/// The patch of desired properties for the settings of one content.
pub(crate) fn desired_patch(settings: &[Setting]) -> Value {
    Value::Object(overlay(settings))
}

fn lay(under: &mut Map<String, Value>, over: Map<String, Value>) {
    for (name, value) in over {
        match (under.get_mut(&name), value) {
            (Some(Value::Object(below)), Value::Object(above)) => lay(below, above),
            (_, value) => {
                under.insert(name, value);
            }
        }
    }
}

/// The patch of desired properties that puts there what is wanted, and takes away what was held and
/// is not wanted any more. It names only what it changes. An object in which nothing is left goes,
/// too, unless an empty one is wanted.
pub(super) fn changes(
    held: &Held,
    wanted: Option<&Map<String, Value>>,
    actual: Option<&Map<String, Value>>,
) -> Map<String, Value> {
    let mut patch = Map::new();
    let there = |name: &str| actual.and_then(|actual| actual.get(name));
    for (name, value) in wanted.into_iter().flatten() {
        let change = match (value, there(name)) {
            (Value::Object(inner), now) if !inner.is_empty() => {
                inside(held.get(name), Some(inner), now)
            }
            (Value::Object(empty), Some(Value::Object(now))) => {
                let nothing = Held::default();
                let held = held.get(name).unwrap_or(&nothing);
                let patch = changes(held, Some(empty), Some(now));
                (!patch.is_empty()).then_some(Value::Object(patch))
            }
            (Value::Null, None) => None,
            (value, now) => (now != Some(value)).then(|| value.clone()),
        };
        patch.extend(change.map(|change| (name.clone(), change)));
    }
    let is_wanted = |name: &str| wanted.is_some_and(|wanted| wanted.contains_key(name));
    for (name, held) in held.members().filter(|(name, _)| !is_wanted(name)) {
        let change = match (held, there(name)) {
            (_, None) => None,
            (Held::Leaf, Some(_)) => Some(Value::Null),
            (held, now @ Some(Value::Object(_))) => inside(Some(held), None, now),
            // Somebody has put something else there.
            (Held::Members(_), Some(_)) => None,
        };
        patch.extend(change.map(|change| (name.to_owned(), change)));
    }
    patch
}

/// What becomes of a value where an object is wanted, or not wanted any more.
fn inside(
    held: Option<&Held>,
    wanted: Option<&Map<String, Value>>,
    now: Option<&Value>,
) -> Option<Value> {
    let nothing = Held::default();
    let members = now.and_then(Value::as_object);
    let patch = changes(held.unwrap_or(&nothing), wanted, members);
    let goes = |name: &String| patch.get(name).is_some_and(Value::is_null);
    let left = members.is_some_and(|members| !members.keys().all(goes));
    if !left && patch.values().all(Value::is_null) {
        // Nothing is there but what goes, and nothing comes.
        return now.map(|_| Value::Null);
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}
