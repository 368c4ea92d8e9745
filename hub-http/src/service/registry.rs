//! The identity registry: devices, modules, statistics.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::StatusCode;
use hub_core::engine::Action;
use hub_core::id::{Address, DeviceId};
use hub_core::security::Right;
use serde_json::{Value, json};

use crate::call::Call;
use crate::json::identity::{IdentityJson, Object, check_subject, spec};
use crate::problem::Problem;
use crate::respond;
use crate::route::{Answer, Content, Parameter, Route, Verb, header, query};

/// The header by which a listing goes on.
const CONTINUATION: &str = "x-ms-continuation";

const IF_MATCH: &[Parameter] =
    &[header("If-Match", "Absent: create. An etag or `*`, quoted or not: update.")];

const IF_MATCH_DELETE: &[Parameter] = &[header("If-Match", "An etag or `*`, quoted or not.")];

const PAGE: &[Parameter] = &[
    query("top", "How many at most: 1 to 1000, which is also the default."),
    header(CONTINUATION, "Where to go on: what this header of the page before said. Ours."),
];

const DEVICE: &[(u16, &str, Content)] = &[(200, "The device.", Content::Json("Device"))];
const MODULE: &[(u16, &str, Content)] = &[(200, "The module.", Content::Json("Module"))];
const GONE: &[(u16, &str, Content)] = &[(204, "Deleted.", Content::Nothing)];

pub(crate) static ROUTES: &[Route] = &[
    Route::new(
        Verb::Get,
        "/devices",
        "listDevices",
        "Lists devices in the order of their ids. The header `x-ms-continuation` is there when \
         there are more.",
        |call| Box::pin(list(call)),
    )
    .service(Right::RegistryRead)
    .with(PAGE)
    .gives(&[(200, "The devices.", Content::List("Device"))]),
    Route::new(Verb::Get, "/devices/{deviceId}", "getDevice", "Reads a device identity.", |call| {
        Box::pin(get(call))
    })
    .service(Right::RegistryRead)
    .gives(DEVICE),
    Route::new(
        Verb::Put,
        "/devices/{deviceId}",
        "putDevice",
        "Creates or updates a device identity.",
        |call| Box::pin(put(call)),
    )
    .service(Right::RegistryWrite)
    .takes(Content::Json("Device"))
    .with(IF_MATCH)
    .gives(DEVICE),
    Route::new(
        Verb::Delete,
        "/devices/{deviceId}",
        "deleteDevice",
        "Deletes a device identity with its modules, twin and queue.",
        |call| Box::pin(delete(call)),
    )
    .service(Right::RegistryWrite)
    .with(IF_MATCH_DELETE)
    .gives(GONE),
    Route::new(
        Verb::Get,
        "/devices/{deviceId}/modules",
        "listModules",
        "Lists the modules of a device.",
        |call| Box::pin(modules(call)),
    )
    .service(Right::RegistryRead)
    .gives(&[(200, "The modules.", Content::List("Module"))]),
    Route::new(
        Verb::Get,
        "/devices/{deviceId}/modules/{moduleId}",
        "getModule",
        "Reads a module identity.",
        |call| Box::pin(get(call)),
    )
    .service(Right::RegistryRead)
    .gives(MODULE),
    Route::new(
        Verb::Put,
        "/devices/{deviceId}/modules/{moduleId}",
        "putModule",
        "Creates or updates a module identity.",
        |call| Box::pin(put(call)),
    )
    .service(Right::RegistryWrite)
    .takes(Content::Json("Module"))
    .with(IF_MATCH)
    .gives(MODULE),
    Route::new(
        Verb::Delete,
        "/devices/{deviceId}/modules/{moduleId}",
        "deleteModule",
        "Deletes a module identity with its twin and queue.",
        |call| Box::pin(delete(call)),
    )
    .service(Right::RegistryWrite)
    .with(IF_MATCH_DELETE)
    .gives(GONE),
    Route::new(
        Verb::Get,
        "/statistics/devices",
        "getDeviceStatistics",
        "Counts devices. Reads all of the registry.",
        |call| Box::pin(device_statistics(call)),
    )
    .service(Right::RegistryRead)
    .gives(&[(200, "The counts.", Content::Json("DeviceStatistics"))]),
    Route::new(
        Verb::Get,
        "/statistics/service",
        "getServiceStatistics",
        "Counts connections.",
        |call| Box::pin(service_statistics(call)),
    )
    .service(Right::ServiceConnect)
    .gives(&[(200, "The count.", Content::Json("ServiceStatistics"))]),
];

/// Largest document of an identity. Its texts have bounds of their own.
const IDENTITY_BYTES_MAX: usize = 64 * 1024;

async fn get(call: Call) -> Answer {
    let address = call.address()?;
    call.allow(Action::ReadRegistry).await?;
    let found = call.hub().registry().get(&address).await?;
    Ok(respond::json(StatusCode::OK, &IdentityJson(&found)))
}

async fn put(mut call: Call) -> Answer {
    let address = call.address()?;
    let body = call.read_body(IDENTITY_BYTES_MAX).await?;
    let document: Value = serde_json::from_slice(&body).map_err(|error| Problem::json(&error))?;
    let document = Object::of(&document, "the body")?;
    check_subject(&address, document)?;
    let spec = spec(address, document)?;
    let if_match = call.if_match()?;
    call.allow(Action::WriteRegistry(&spec.address)).await?;
    let registry = call.hub().registry();
    registry.put(&spec, if_match.as_ref()).await?;
    // Read back for what the identity is besides registered: its connection and its queue.
    let found = registry.get(&spec.address).await?;
    Ok(respond::json(StatusCode::OK, &IdentityJson(&found)))
}

async fn delete(call: Call) -> Answer {
    let address = call.address()?;
    let if_match = call.if_match()?;
    call.allow(Action::WriteRegistry(&address)).await?;
    call.hub().registry().delete(&address, if_match.as_ref()).await?;
    Ok(respond::no_content())
}

async fn list(call: Call) -> Answer {
    let limit = u64::from(call.limits().list_page_max);
    // Out of range means the largest page, as with the service.
    let top = call.number("top")?.filter(|top| (1..=limit).contains(top)).unwrap_or(limit);
    let top = u32::try_from(top).unwrap_or(u32::MAX);
    let after = match call.header(CONTINUATION)? {
        None | Some("") => None,
        Some(text) => Some(decode(text)?),
    };
    call.allow(Action::ReadRegistry).await?;
    let registry = call.hub().registry();
    let found = registry.devices(after.as_ref(), top).await?;
    let documents: Vec<_> = found.iter().map(IdentityJson).collect();
    let mut response = respond::json(StatusCode::OK, &documents);
    if let Some(last) = found.last().filter(|_| found.len() >= usize::try_from(top).unwrap_or(0)) {
        let last = last.identity.address().device_id();
        // Said only when it is true: a client may count on another page then.
        if !registry.devices(Some(&last), 1).await?.is_empty() {
            respond::set(response.headers_mut(), CONTINUATION, &encode(&last));
        }
    }
    Ok(response)
}

fn encode(last: &DeviceId) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(last.as_str())
}

fn decode(text: &str) -> Result<DeviceId, Problem> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok();
    bytes
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .and_then(|id| DeviceId::new(&id).ok())
        .ok_or_else(|| Problem::argument("the continuation is none of this hub's"))
}

async fn modules(call: Call) -> Answer {
    let device = call.address()?;
    call.allow(Action::ReadRegistry).await?;
    let registry = call.hub().registry();
    registry.get(&device).await?;
    let addresses: Vec<Address> =
        registry.modules(&device).await?.iter().map(|module| module.address().clone()).collect();
    let found = registry.get_all(&addresses).await?;
    let documents: Vec<_> = found.iter().map(IdentityJson).collect();
    Ok(respond::json(StatusCode::OK, &documents))
}

async fn device_statistics(call: Call) -> Answer {
    call.allow(Action::ReadRegistry).await?;
    let statistics = call.hub().registry().statistics().await?;
    let document = json!({
        "totalDeviceCount": statistics.devices,
        "enabledDeviceCount": statistics.enabled,
        "disabledDeviceCount": statistics.devices.saturating_sub(statistics.enabled),
    });
    Ok(respond::json(StatusCode::OK, &document))
}

async fn service_statistics(call: Call) -> Answer {
    call.allow(Action::ReadRegistry).await?;
    let document = json!({ "connectedDeviceCount": call.hub().connections_of_all_nodes() });
    Ok(respond::json(StatusCode::OK, &document))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_continuation_is_opaque_and_comes_back() {
        let id = DeviceId::new("a b".replace(' ', "#").as_str()).unwrap();
        assert_eq!(decode(&encode(&id)).unwrap(), id);
        for bad in ["!", "YSBi", "/w", ""] {
            assert!(decode(bad).is_err(), "{bad}");
        }
    }
}
