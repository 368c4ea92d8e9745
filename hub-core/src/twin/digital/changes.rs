//! What a write of a twin did to its digital twin.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

/// What stands beside the properties of the twin and of each component.
const METADATA: &str = "$metadata";

/// The JSON patch that makes of one digital twin another: an array, empty if they are equal.
///
/// Properties, and what is said of each of them, are replaced whole.
#[must_use]
pub fn digital_changes(before: &Value, after: &Value) -> Value {
    let mut operations = Vec::new();
    if let (Value::Object(before), Value::Object(after)) = (before, after) {
        compare("", before, after, &mut operations);
    }
    Value::Array(operations)
}

fn compare(
    path: &str,
    before: &Map<String, Value>,
    after: &Map<String, Value>,
    operations: &mut Vec<Value>,
) {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for name in names {
        let path = format!("{path}/{}", name.replace('~', "~0").replace('/', "~1"));
        match (before.get(name), after.get(name)) {
            (None, Some(value)) => {
                operations.push(json!({ "op": "add", "path": path, "value": value }));
            }
            (Some(_), None) => operations.push(json!({ "op": "remove", "path": path })),
            (Some(old), Some(new)) if old != new => match (old, new) {
                (Value::Object(old), Value::Object(new))
                    if name == METADATA
                        || old.contains_key(METADATA) && new.contains_key(METADATA) =>
                {
                    compare(&path, old, new, operations);
                }
                _ => operations.push(json!({ "op": "replace", "path": path, "value": new })),
            },
            _ => {}
        }
    }
}
