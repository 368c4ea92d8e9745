//! A JSON patch of a digital twin, and the patch of desired properties that it means.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::MARKER;
use super::view::is_component;
use crate::error::{ErrorKind, HubError};
use crate::limits::Limits;
use crate::twin::document::Twin;
use crate::twin::patch::ServicePatch;

/// Longest name of a property or component.
const NAME_MAX: usize = 64;
/// Deepest nesting of a value: of objects, the outermost included.
const DEPTH_MAX: usize = 5;
/// Most operations of a patch.
const OPERATIONS_MAX: usize = 1000;

/// Why a patch of a digital twin is refused. The twin is as it was before.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DigitalPatchError {
    /// It is no JSON patch, or has operations that digital twins do not have.
    #[error("{0}")]
    Patch(String),
    /// A path leads to nothing that could be there, or is there.
    #[error("{path:?}: {reason}")]
    Path {
        /// The path.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A value cannot be there.
    #[error("{path:?}: {reason}")]
    Value {
        /// Where.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl From<DigitalPatchError> for HubError {
    fn from(error: DigitalPatchError) -> Self {
        let kind = match error {
            DigitalPatchError::Patch(_) => ErrorKind::DigitalTwinPatchInvalid,
            DigitalPatchError::Path { .. } => ErrorKind::DigitalTwinPathInvalid,
            DigitalPatchError::Value { .. } => ErrorKind::DigitalTwinValueInvalid,
        };
        Self::new(kind, error.to_string())
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Action {
    Add(Value),
    Replace(Value),
    Remove,
}

/// Where an operation acts: a property or component of the twin, or a property of a component.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    first: Box<str>,
    second: Option<Box<str>>,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "/{}", self.first)?;
        self.second.as_ref().map_or(Ok(()), |second| write!(f, "/{second}"))
    }
}

/// A JSON patch of a digital twin: parsed and checked, as far as that can be without the twin.
#[derive(Debug, Clone, PartialEq)]
pub struct DigitalPatch {
    operations: Vec<(Place, Action)>,
}

#[derive(Deserialize)]
struct Operation {
    op: String,
    path: String,
    /// Absent, and not null, where there is none.
    #[serde(default, deserialize_with = "present")]
    value: Option<Value>,
}

fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

impl DigitalPatch {
    /// Reads a JSON patch with the operations `add`, `replace` and `remove`, at paths `/property`,
    /// `/component` and `/component/property`. A value for a component is an object with
    /// `"$metadata":{}` in it.
    ///
    /// # Errors
    /// [`DigitalPatchError`]: another operation; a name that no model has; a value with arrays or
    /// nulls in it, or nested deeper than five levels.
    pub fn parse(text: &[u8]) -> Result<Self, DigitalPatchError> {
        let operations: Vec<Operation> = serde_json::from_slice(text)
            .map_err(|error| DigitalPatchError::Patch(format!("no JSON patch: {error}")))?;
        if operations.len() > OPERATIONS_MAX {
            let message = format!("a patch may have {OPERATIONS_MAX} operations");
            return Err(DigitalPatchError::Patch(message));
        }
        let operations = operations.into_iter().map(parse).collect::<Result<_, _>>()?;
        Ok(Self { operations })
    }

    /// The patch of desired properties that this means for a twin as it is.
    ///
    /// What is set replaces what was there, also where both are objects.
    ///
    /// # Errors
    /// [`DigitalPatchError`]: replacing or removing what is not there; a property where there is a
    /// component, or the other way round. What no twin could have, as
    /// [`ServicePatch::parse`].
    pub fn resolve(&self, twin: &Twin, limits: &Limits) -> Result<ServicePatch, HubError> {
        let Value::Object(before) = twin.desired.to_value() else {
            return Ok(ServicePatch::default());
        };
        let mut after = before.clone();
        for (place, action) in &self.operations {
            apply(&mut after, twin, place, action)?;
        }
        let mut desired = Map::new();
        let places: BTreeSet<&Place> = self.operations.iter().map(|(place, _)| place).collect();
        for place in places {
            name_change(&mut desired, &before, &after, place);
        }
        let mut properties = Map::new();
        properties.insert("desired".to_owned(), Value::Object(desired));
        let mut write = Map::new();
        write.insert("properties".to_owned(), Value::Object(properties));
        Ok(ServicePatch::from_value(&Value::Object(write), limits)?)
    }
}

fn parse(operation: Operation) -> Result<(Place, Action), DigitalPatchError> {
    let Operation { op, path, value } = operation;
    let wrong = |reason| DigitalPatchError::Path { path: shown(&path), reason };
    let mut names = path.split('/');
    if names.next() != Some("") {
        return Err(wrong("a path begins with a slash"));
    }
    let (first, second, third) = (names.next().unwrap_or(""), names.next(), names.next());
    if third.is_some() {
        return Err(wrong("a path leads to a property, a component or a property of one"));
    }
    if !is_name(first) || second.is_some_and(|name| !is_name(name)) {
        return Err(wrong("this is no name of a property or component"));
    }
    let value =
        |op: &str| value.ok_or_else(|| DigitalPatchError::Patch(format!("{op} needs a value")));
    let place = Place { first: first.into(), second: second.map(Into::into) };
    let action = match op.as_str() {
        "add" => Action::Add(checked(&place, value("add")?)?),
        "replace" => Action::Replace(checked(&place, value("replace")?)?),
        "remove" => Action::Remove,
        other => {
            let message = format!("{:?}: only add, replace and remove are known", shown(other));
            return Err(DigitalPatchError::Patch(message));
        }
    };
    Ok((place, action))
}

/// A piece of what a client sent, for an error.
fn shown(text: &str) -> String {
    text.chars().take(2 * NAME_MAX + 2).collect()
}

/// As DTDL has names: letters, digits and underscores, a letter first and no underscore last.
fn is_name(name: &str) -> bool {
    name.len() <= NAME_MAX
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.ends_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// A value as desired properties have it: a component with its marker and without its metadata.
fn checked(place: &Place, value: Value) -> Result<Value, DigitalPatchError> {
    let wrong = |reason: &str| DigitalPatchError::Value {
        path: place.to_string(),
        reason: reason.to_owned(),
    };
    let value = match value {
        Value::Object(mut members) if members.contains_key("$metadata") => {
            if place.second.is_some() {
                return Err(wrong("a component has no components"));
            }
            if members.remove("$metadata") != Some(Value::Object(Map::new())) {
                return Err(wrong("$metadata of a component must be {}"));
            }
            if let Some(name) = members.keys().find(|name| !is_name(name)) {
                return Err(wrong(&format!("{:?} is no name of a property", shown(name))));
            }
            members.insert(MARKER.to_owned(), Value::from("c"));
            Value::Object(members)
        }
        value => value,
    };
    check_depth(&value, DEPTH_MAX).map_err(wrong)?;
    Ok(value)
}

fn check_depth(value: &Value, depth: usize) -> Result<(), &'static str> {
    match value {
        Value::Null => Err("null is no value; remove removes"),
        Value::Array(_) => Err("arrays are not allowed"),
        Value::Object(_) if depth == 0 => Err("nested deeper than 5 levels"),
        Value::Object(members) => members.values().try_for_each(|v| check_depth(v, depth - 1)),
        _ => Ok(()),
    }
}

fn is_component_value(value: &Value) -> bool {
    value.get(MARKER).is_some_and(|marker| marker == "c")
}

/// Does one operation to the desired properties.
fn apply(
    desired: &mut Map<String, Value>,
    twin: &Twin,
    place: &Place,
    action: &Action,
) -> Result<(), DigitalPatchError> {
    let wrong = |reason| DigitalPatchError::Path { path: place.to_string(), reason };
    let reported = twin.reported.get(&place.first);
    let there = desired.get(&*place.first);
    let is_component = there.is_some_and(is_component_value) || reported.is_some_and(is_component);
    let exists = there.is_some() || reported.is_some();
    let Some(second) = &place.second else {
        match action {
            Action::Remove if there.is_none() => return Err(wrong("nothing is desired there")),
            Action::Remove => {
                desired.remove(&*place.first);
            }
            Action::Replace(_) if !exists => return Err(wrong("there is nothing to replace")),
            Action::Add(value) | Action::Replace(value) => {
                match (is_component_value(value), is_component) {
                    (false, true) => return Err(wrong("there is a component")),
                    (true, false) if exists => return Err(wrong("there is a property")),
                    _ => {}
                }
                desired.insert(place.first.to_string(), value.clone());
            }
        }
        return Ok(());
    };
    if exists && !is_component {
        return Err(wrong("there is a property, not a component"));
    }
    let inside = there.and_then(|there| there.get(&**second)).is_some();
    let shown = reported.and_then(|node| node.get(second)).is_some();
    match action {
        Action::Remove if !inside => return Err(wrong("nothing is desired there")),
        Action::Replace(_) if !inside && !shown => {
            return Err(wrong("there is nothing to replace"));
        }
        _ => {}
    }
    let component = desired
        .entry(place.first.to_string())
        .or_insert_with(|| Value::Object(Map::new()))
        .as_object_mut()
        .ok_or_else(|| wrong("there is a property, not a component"))?;
    component.insert(MARKER.to_owned(), Value::from("c"));
    match action {
        Action::Remove => {
            component.remove(&**second);
        }
        Action::Add(value) | Action::Replace(value) => {
            component.insert(second.to_string(), value.clone());
        }
    }
    Ok(())
}

/// Names in a patch what has become of a place.
fn name_change(
    patch: &mut Map<String, Value>,
    before: &Map<String, Value>,
    after: &Map<String, Value>,
    place: &Place,
) {
    let (first, old, new) =
        (place.first.to_string(), before.get(&*place.first), after.get(&*place.first));
    let Some(new) = new else {
        patch.insert(first, Value::Null);
        return;
    };
    let Some(second) = &place.second else {
        patch.insert(first, replacing(old, new));
        return;
    };
    let inner = |whole: Option<&'_ Value>| whole.and_then(|whole| whole.get(&**second)).cloned();
    let change = match inner(Some(new)) {
        Some(new) => replacing(inner(old).as_ref(), &new),
        None => Value::Null,
    };
    let component = patch.entry(first).or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(component) = component {
        component.insert(MARKER.to_owned(), Value::from("c"));
        component.insert(second.to_string(), change);
    }
}

/// The patch that makes of one value another: with a null for each member that goes.
fn replacing(old: Option<&Value>, new: &Value) -> Value {
    let (Some(Value::Object(old)), Value::Object(new)) = (old, new) else { return new.clone() };
    let mut patch: Map<String, Value> =
        new.iter().map(|(name, new)| (name.clone(), replacing(old.get(name), new))).collect();
    for name in old.keys().filter(|name| !new.contains_key(*name)) {
        patch.insert(name.clone(), Value::Null);
    }
    Value::Object(patch)
}
