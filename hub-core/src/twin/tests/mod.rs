//! What a twin does, case by case.

mod counters;
mod history;
mod limits;
mod merge;
mod metadata;
mod picked;
mod replace;
mod stored;
mod views;

use serde_json::{Value, json};

use super::{Patch, SectionName, SectionWrite, ServicePatch, Twin, TwinChange, TwinError};
use crate::limits::Limits;
use crate::time::Timestamp;

const SECTIONS: [SectionName; 3] = [SectionName::Tags, SectionName::Desired, SectionName::Reported];

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

/// A twin whose sections are all like this, and everything that was written so far at 1.
fn twin_of(section: &Value) -> Twin {
    let mut twin = Twin::new(at(0));
    for name in SECTIONS {
        patch_section(&mut twin, name, &section.to_string(), at(1)).expect("a valid twin");
    }
    twin
}

/// The body of a service write of one section.
fn body(name: SectionName, content: &str) -> String {
    match name {
        SectionName::Tags => format!(r#"{{"tags":{content}}}"#),
        _ => format!(r#"{{"properties":{{"desired":{content}}}}}"#),
    }
}

fn patch_section(
    twin: &mut Twin,
    name: SectionName,
    patch: &str,
    now: Timestamp,
) -> Result<TwinChange, TwinError> {
    let limits = Limits::default();
    if name == SectionName::Reported {
        return twin.report(&Patch::parse(patch.as_bytes(), &limits)?, None, now, &limits);
    }
    let write = ServicePatch::parse(body(name, patch).as_bytes(), &limits)?;
    twin.patch(&write, None, now, &limits)
}

fn replace_section(
    twin: &mut Twin,
    name: SectionName,
    content: &str,
    now: Timestamp,
) -> TwinChange {
    let limits = Limits::default();
    let write = ServicePatch::parse(body(name, content).as_bytes(), &limits).expect("valid");
    twin.replace(&write, None, now, &limits).expect("accepted")
}

fn values(twin: &Twin, name: SectionName) -> Value {
    match name {
        SectionName::Tags => twin.tags().to_value(),
        SectionName::Desired => twin.desired().to_value(),
        SectionName::Reported => twin.reported().to_value(),
    }
}

fn json_of(text: &[u8]) -> Value {
    serde_json::from_slice(text).expect("JSON")
}

/// `[version, etag counter, desired, reported]`.
fn counters(twin: &Twin) -> [u64; 4] {
    [twin.version, twin.etag, twin.desired_version, twin.reported_version]
}
