//! Twins of devices and modules.

use http::StatusCode;
use hub_core::engine::Action;
use hub_core::registry::IfMatch;
use hub_core::security::Right;
use hub_core::twin::ServicePatch;

use crate::call::Call;
use crate::json::twin::TwinJson;
use crate::respond;
use crate::route::{Answer, Content, Parameter, Route, Verb, header};

const TWIN: &[(u16, &str, Content)] = &[(200, "The whole twin.", Content::Json("Twin"))];

const IF_MATCH: &[Parameter] =
    &[header("If-Match", "The twin's etag or `*`, quoted or not. Absent: any.")];

pub(crate) static ROUTES: &[Route] = &[
    Route::new(Verb::Get, "/twins/{deviceId}", "getTwin", "Reads a device's twin.", |call| {
        Box::pin(get(call))
    })
    .service(Right::ServiceConnect)
    .gives(TWIN),
    Route::new(
        Verb::Get,
        "/twins/{deviceId}/modules/{moduleId}",
        "getModuleTwin",
        "Reads a module's twin.",
        |call| Box::pin(get(call)),
    )
    .service(Right::ServiceConnect)
    .gives(TWIN),
    Route::new(
        Verb::Patch,
        "/twins/{deviceId}",
        "patchTwin",
        "Merges into tags and desired properties of a device's twin; null removes.",
        |call| Box::pin(write(call, Mode::Patch)),
    )
    .service(Right::ServiceConnect)
    .takes(Content::Json("TwinPatch"))
    .with(IF_MATCH)
    .gives(TWIN),
    Route::new(
        Verb::Patch,
        "/twins/{deviceId}/modules/{moduleId}",
        "patchModuleTwin",
        "Merges into tags and desired properties of a module's twin; null removes.",
        |call| Box::pin(write(call, Mode::Patch)),
    )
    .service(Right::ServiceConnect)
    .takes(Content::Json("TwinPatch"))
    .with(IF_MATCH)
    .gives(TWIN),
    Route::new(
        Verb::Put,
        "/twins/{deviceId}",
        "replaceTwin",
        "Replaces tags and desired properties of a device's twin.",
        |call| Box::pin(write(call, Mode::Replace)),
    )
    .service(Right::ServiceConnect)
    .takes(Content::Json("TwinPatch"))
    .with(IF_MATCH)
    .gives(TWIN),
    Route::new(
        Verb::Put,
        "/twins/{deviceId}/modules/{moduleId}",
        "replaceModuleTwin",
        "Replaces tags and desired properties of a module's twin.",
        |call| Box::pin(write(call, Mode::Replace)),
    )
    .service(Right::ServiceConnect)
    .takes(Content::Json("TwinPatch"))
    .with(IF_MATCH)
    .gives(TWIN),
];

async fn get(call: Call) -> Answer {
    let address = call.address()?;
    call.allow(Action::ReadTwin(&address)).await?;
    let found = call.hub().registry().twin(&address).await?;
    Ok(respond::json(StatusCode::OK, &TwinJson(&found.registration, &found.twin)))
}

enum Mode {
    Patch,
    Replace,
}

async fn write(mut call: Call, mode: Mode) -> Answer {
    let address = call.address()?;
    let limits = call.limits();
    // A client may send all of a twin back: both sections of properties with their metadata,
    // several times the size of the values.
    let sections = limits.tags_bytes_max + limits.desired_bytes_max + limits.reported_bytes_max;
    let bytes_max = sections.saturating_mul(8);
    let body = call.read_body(bytes_max).await?;
    let content = ServicePatch::parse(&body, call.limits())?;
    let etag = match call.if_match()? {
        Some(IfMatch::Etag(etag)) => Some(etag),
        _ => None,
    };
    call.allow_bytes(Action::WriteTwin(&address), body.len()).await?;
    let twin = match mode {
        Mode::Patch => call.hub().patch_twin(&address, content, etag.as_deref()).await?,
        Mode::Replace => call.hub().replace_twin(&address, content, etag.as_deref()).await?,
    };
    let registration = call.hub().registry().get(&address).await?;
    Ok(respond::json(StatusCode::OK, &TwinJson(&registration, &twin)))
}
