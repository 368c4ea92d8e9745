//! Many identities in one request.
//!
//! There is no transaction around the items: each is done or refused by itself, and the answer names
//! those that were refused. What each asks for is in [`hub_core::bulk`].

use std::pin::pin;

use futures::StreamExt as _;
use futures::future::join_all;
use futures::stream;
use http::StatusCode;
use hub_core::bulk::{DeviceRecord, ImportMode};
use hub_core::engine::{Action, ImportResult, Imported};
use hub_core::security::Right;
use serde_json::{Map, Value, json};

use crate::call::Call;
use crate::json::identity::Object;
use crate::problem::{Code, Problem};
use crate::respond;
use crate::route::{Answer, Content, Route, Verb};

pub(crate) static ROUTES: &[Route] = &[Route::new(
    Verb::Post,
    "/devices",
    "changeDevices",
    "Creates, updates and deletes up to 100 identities. 400 when any of them was refused.",
    |call| Box::pin(change(call)),
)
.service(Right::RegistryWrite)
.takes(Content::List("BulkItem"))
.gives(&[
    (200, "All was done.", Content::Json("BulkResult")),
    (400, "Some was refused, or nothing could be read.", Content::Json("BulkResult")),
])];

async fn change(mut call: Call) -> Answer {
    let limits = call.limits();
    let (most, twin) = (limits.bulk_max, limits.tags_bytes_max + limits.desired_bytes_max);
    let body = call.read_body(most.saturating_mul(twin)).await?;
    let items: Vec<Map<String, Value>> =
        serde_json::from_slice(&body).map_err(|error| Problem::json(&error))?;
    if items.len() > most {
        return Err(Problem::argument(format!("a request has at most {most} identities")));
    }
    let twice = defined_twice(&items);
    if !twice.is_empty() {
        let code = Code::DUPLICATE_DEVICE;
        let errors = twice.into_iter().map(|item| {
            let problem = Problem::new(code, "the identity is there more than once");
            Refused { item, mode: None, problem: &problem }.to_json()
        });
        return Ok(answer(errors.collect(), Vec::new()));
    }
    let (mut errors, mut warnings) = (vec![None; items.len()], Vec::new());
    let mut wanted: Vec<(usize, DeviceRecord)> = Vec::with_capacity(items.len());
    // All at once: with quotas each takes its place in the line when the request comes.
    let records = join_all(items.iter().map(|item| record(&call, Object(item)))).await;
    for (((at, item), error), record) in items.iter().enumerate().zip(&mut errors).zip(records) {
        match record {
            Ok(record) => wanted.push((at, record)),
            Err(problem) => {
                // What is no mode at all was not being done.
                let mode = ImportMode::of(Object(item)).ok();
                *error = Some(Refused { item, mode, problem: &problem }.to_json());
            }
        }
    }
    let (places, records): (Vec<usize>, Vec<DeviceRecord>) = wanted.into_iter().unzip();
    let mut done = pin!(call.hub().registry().import(stream::iter(records)));
    let mut places = places.into_iter();
    while let Some(ImportResult { result, .. }) = done.next().await {
        let Some(item) = places.next().and_then(|at| Some((at, items.get(at)?))) else { break };
        let (at, item) = item;
        match result {
            Ok(Imported { without_twin: Some(error), .. }) => warnings.push(json!({
                "deviceId": subject(item).0,
                "warningCode": "DeviceRegisteredWithoutTwin",
                "warningStatus": error.message(),
            })),
            Ok(_) => {}
            Err(error) => {
                let problem = Problem::from(error);
                let mode = ImportMode::of(Object(item)).ok();
                let error = Refused { item, mode, problem: &problem }.to_json();
                errors.get_mut(at).map(|slot| slot.replace(error));
            }
        }
    }
    Ok(answer(errors.into_iter().flatten().collect(), warnings))
}

/// The record of an item, if the caller may do what it asks for.
async fn record(call: &Call, item: Object<'_>) -> Result<DeviceRecord, Problem> {
    let record = DeviceRecord::read(item)?;
    let action = match record.mode {
        ImportMode::UpdateTwin | ImportMode::UpdateTwinIfMatch => {
            Action::WriteTwin(record.address())
        }
        _ => Action::WriteRegistry(record.address()),
    };
    call.allow(action).await?;
    Ok(record)
}

fn answer(errors: Vec<Value>, warnings: Vec<Value>) -> axum::response::Response {
    let successful = errors.is_empty();
    let status = if successful { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    let document = json!({ "isSuccessful": successful, "errors": errors, "warnings": warnings });
    respond::json(status, &document)
}

type Item = Map<String, Value>;

/// The name of an item's device and module, as far as it has any.
fn subject(item: &Item) -> (&str, &str) {
    let text = |name| Object(item).get(name).and_then(Value::as_str).unwrap_or("");
    (text("id"), text("moduleId"))
}

/// Items whose identity stands there before.
fn defined_twice(items: &[Item]) -> Vec<&Item> {
    let mut seen = std::collections::HashSet::new();
    items.iter().filter(|item| !seen.insert(subject(item))).collect()
}

/// A refused item.
struct Refused<'a> {
    item: &'a Item,
    mode: Option<ImportMode>,
    problem: &'a Problem,
}

impl Refused<'_> {
    fn to_json(&self) -> Value {
        let (device, module) = subject(self.item);
        json!({
            "deviceId": device,
            "moduleId": Some(module).filter(|module| !module.is_empty()),
            "errorCode": self.problem.code().1,
            "errorStatus": self.problem.message(),
            "operation": self.mode.map(ImportMode::operation),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hub_core::error::{ErrorKind, HubError};

    fn items(json: Value) -> Vec<Item> {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn an_identity_may_stand_there_once() {
        let items = items(json!([{"id": "a"}, {"ID": "a"}, {"id": "a", "moduleId": "m"}, {}, {}]));
        assert_eq!(defined_twice(&items).len(), 2);
    }

    #[test]
    fn an_error_names_its_item() {
        let item = items(json!([{"id": "a", "moduleId": "m"}])).remove(0);
        let problem = Problem::from(HubError::new(ErrorKind::DeviceAlreadyExists, "a"));
        let want = json!({
            "deviceId": "a", "moduleId": "m", "errorCode": "DeviceAlreadyExists",
            "errorStatus": "a", "operation": "Create",
        });
        let mode = Some(ImportMode::Create);
        let refused = Refused { item: &item, mode, problem: &problem };
        assert_eq!(refused.to_json(), want);
    }
}
