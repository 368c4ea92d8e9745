//! The log of what an import refused: a line of JSON for each.

use serde_json::{Map, Value, json};

use crate::error::ErrorKind;

/// Longest message of a refusal, in bytes.
const MESSAGE_MAX: usize = 1024;

/// The number of a refusal in the service's list of errors, for what can happen to a record.
#[must_use]
pub fn number_of(kind: ErrorKind) -> u32 {
    match kind {
        ErrorKind::ArgumentInvalid => 400_004,
        ErrorKind::DeviceNotFound => 404_001,
        ErrorKind::ModuleNotFound => 404_010,
        ErrorKind::DeviceAlreadyExists => 409_001,
        ErrorKind::ModuleAlreadyExists => 409_301,
        ErrorKind::PreconditionFailed => 412_001,
        ErrorKind::TwinTooLarge => 413_001,
        ErrorKind::TooManyModules => 413_003,
        ErrorKind::Forbidden => 403_000,
        ErrorKind::Busy => 503_005,
        ErrorKind::Throttled => 429_001,
        ErrorKind::Unavailable => 503_001,
        _ => 500_001,
    }
}

/// A line for a record that was refused. What is not known of it is null.
#[must_use]
pub fn refused_line(device: Option<&str>, module: Option<&str>, number: u32, why: &str) -> String {
    let mut line = subject(device, module);
    line.insert("errorCode".to_owned(), json!(number));
    line.insert("errorStatus".to_owned(), json!(shortened(why)));
    Value::Object(line).to_string()
}

/// A line for an identity whose twin could not be written.
#[must_use]
pub fn warning_line(device: Option<&str>, module: Option<&str>, why: &str) -> String {
    let mut line = subject(device, module);
    line.insert("warningCode".to_owned(), json!("DeviceRegisteredWithoutTwin"));
    line.insert("warningStatus".to_owned(), json!(shortened(why)));
    Value::Object(line).to_string()
}

fn subject(device: Option<&str>, module: Option<&str>) -> Map<String, Value> {
    let mut line = Map::new();
    line.insert("deviceId".to_owned(), json!(device));
    if let Some(module) = module {
        line.insert("moduleId".to_owned(), json!(module));
    }
    line
}

fn shortened(why: &str) -> &str {
    why.get(..why.floor_char_boundary(MESSAGE_MAX)).unwrap_or_default()
}
