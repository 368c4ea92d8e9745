//! What twins were. All of it is the hub's own: Azure keeps no history.

use http::StatusCode;
use hub_core::engine::Action;
use hub_core::security::Right;
use hub_core::time::Timestamp;
use hub_core::twin::Twin;
use serde_json::Value;

use crate::call::Call;
use crate::json::twin::{PastTwinJson, version_json};
use crate::problem::Problem;
use crate::respond;
use crate::route::{Answer, Content, Parameter, Route, Verb, query};

const LIST: &[Parameter] = &[
    query("after", "Only changes of versions above this one."),
    query("max", "How many at most; 100 if absent, never more than 1000."),
];
const AT: &[Parameter] = &[query("time", "An instant in ISO 8601.")];
const CHANGES: &[(u16, &str, Content)] =
    &[(200, "The changes, the oldest first.", Content::List("TwinVersion"))];
const PAST: &[(u16, &str, Content)] = &[(200, "The twin as it was.", Content::Json("PastTwin"))];

pub(crate) static ROUTES: &[Route] = &[
    Route::new(
        Verb::Get,
        "/twins/{deviceId}/history",
        "listTwinChanges",
        "Lists the changes of a device's twin that are kept.",
        |call| Box::pin(list(call)),
    )
    .service(Right::ServiceConnect)
    .own()
    .with(LIST)
    .gives(CHANGES),
    Route::new(
        Verb::Get,
        "/twins/{deviceId}/modules/{moduleId}/history",
        "listModuleTwinChanges",
        "Lists the changes of a module's twin that are kept.",
        |call| Box::pin(list(call)),
    )
    .service(Right::ServiceConnect)
    .own()
    .with(LIST)
    .gives(CHANGES),
    Route::new(
        Verb::Get,
        "/twins/{deviceId}/history/at",
        "getTwinAtTime",
        "Reads a device's twin as it was at a time.",
        |call| Box::pin(at_time(call)),
    )
    .service(Right::ServiceConnect)
    .own()
    .with(AT)
    .gives(PAST),
    Route::new(
        Verb::Get,
        "/twins/{deviceId}/modules/{moduleId}/history/at",
        "getModuleTwinAtTime",
        "Reads a module's twin as it was at a time.",
        |call| Box::pin(at_time(call)),
    )
    .service(Right::ServiceConnect)
    .own()
    .with(AT)
    .gives(PAST),
    Route::new(
        Verb::Get,
        "/twins/{deviceId}/history/{version}",
        "getTwinVersion",
        "Reads a device's twin as it was in a version.",
        |call| Box::pin(at_version(call)),
    )
    .service(Right::ServiceConnect)
    .own()
    .gives(PAST),
    Route::new(
        Verb::Get,
        "/twins/{deviceId}/modules/{moduleId}/history/{version}",
        "getModuleTwinVersion",
        "Reads a module's twin as it was in a version.",
        |call| Box::pin(at_version(call)),
    )
    .service(Right::ServiceConnect)
    .own()
    .gives(PAST),
];

/// How many changes a list has if nothing is said.
const LIST_DEFAULT: u64 = 100;

async fn list(call: Call) -> Answer {
    let address = call.address()?;
    let after = call.number("after")?;
    let max = call.number("max")?.unwrap_or(LIST_DEFAULT);
    let max = u32::try_from(max).unwrap_or(u32::MAX);
    call.allow(Action::ReadTwin(&address)).await?;
    let versions = call.hub().twin_history().versions(&address, after, max).await?;
    let documents: Vec<Value> = versions.iter().map(version_json).collect();
    Ok(respond::json(StatusCode::OK, &documents))
}

async fn at_time(call: Call) -> Answer {
    let address = call.address()?;
    let text = call.query().get("time");
    let time = text.as_deref().and_then(|text| Timestamp::parse(text.trim()));
    let time = time.ok_or_else(|| Problem::argument("time is not an instant in ISO 8601"))?;
    call.allow(Action::ReadTwin(&address)).await?;
    past(&call, &call.hub().twin_history().at(&address, time).await?)
}

async fn at_version(call: Call) -> Answer {
    let address = call.address()?;
    let version = call.value("version")?.parse();
    let version = version.map_err(|_| Problem::argument("the version is not a whole number"))?;
    call.allow(Action::ReadTwin(&address)).await?;
    past(&call, &call.hub().twin_history().at_version(&address, version).await?)
}

fn past(call: &Call, twin: &Twin) -> Answer {
    Ok(respond::json(StatusCode::OK, &PastTwinJson(&call.address()?, twin)))
}
