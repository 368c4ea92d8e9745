//! Digital twins: the twin and the direct methods of a device, as IoT Plug and Play has them.

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use hub_core::engine::Action;
use hub_core::id::{Address, DeviceId};
use hub_core::registry::IfMatch;
use hub_core::security::Right;
use hub_core::twin::DigitalPatch;

use super::method::{self, Waits};
use crate::call::Call;
use crate::problem::Problem;
use crate::respond;
use crate::route::{Answer, Content, Parameter, Route, Verb, header, query};

/// The status that a device answers a command with.
const STATUS: &str = "x-ms-command-statuscode";

const WAITS: &[Parameter] = &[
    query("connectTimeoutInSeconds", "How long to wait for the device to come; 0 if absent."),
    query("responseTimeoutInSeconds", "How long to wait for its answer; 30 if absent."),
];

const ANSWERED: &[(u16, &str, Content)] = &[(
    200,
    "What the device answered. Its status is in the header `x-ms-command-statuscode`.",
    Content::Json("Anything"),
)];

pub(crate) static ROUTES: &[Route] = &[
    Route::new(
        Verb::Get,
        "/digitaltwins/{deviceId}",
        "getDigitalTwin",
        "Reads the digital twin of a device.",
        |call| Box::pin(get(call)),
    )
    .service(Right::ServiceConnect)
    .gives(&[(
        200,
        "The digital twin. Its etag is in a header.",
        Content::Json("DigitalTwin"),
    )]),
    Route::new(
        Verb::Patch,
        "/digitaltwins/{deviceId}",
        "patchDigitalTwin",
        "Adds, replaces and removes desired properties, as a JSON patch names them.",
        |call| Box::pin(patch(call)),
    )
    .service(Right::ServiceConnect)
    .with(&[header("If-Match", "The twin's etag or `*`, quoted or not. Absent: any.")])
    .takes(Content::List("DigitalTwinOperation"))
    .gives(&[(202, "It is written. The new etag is in a header.", Content::Nothing)]),
    Route::new(
        Verb::Post,
        "/digitaltwins/{deviceId}/commands/{commandName}",
        "invokeCommand",
        "Calls a command of a device and waits for its answer.",
        |call| Box::pin(invoke(call)),
    )
    .service(Right::ServiceConnect)
    .with(WAITS)
    .takes(Content::Json("Anything"))
    .gives(ANSWERED),
    Route::new(
        Verb::Post,
        "/digitaltwins/{deviceId}/components/{componentName}/commands/{commandName}",
        "invokeComponentCommand",
        "Calls a command of a component and waits for its answer. The device sees a direct method \
         `component*command`.",
        |call| Box::pin(invoke(call)),
    )
    .service(Right::ServiceConnect)
    .with(WAITS)
    .takes(Content::Json("Anything"))
    .gives(ANSWERED),
];

fn device(call: &Call) -> Result<Address, Problem> {
    let id = DeviceId::new(call.value("deviceId")?);
    id.map(Address::from).map_err(|error| Problem::argument(error.to_string()))
}

async fn get(call: Call) -> Answer {
    let address = device(&call)?;
    call.allow(Action::ReadTwin(&address)).await?;
    let found = call.hub().registry().twin(&address).await?;
    let model = found.registration.session.model.as_deref().unwrap_or("");
    let mut response = respond::json(StatusCode::OK, &found.twin.digital(&address, model));
    respond::set(response.headers_mut(), "etag", &format!("\"{}\"", found.twin.etag()));
    Ok(response)
}

async fn patch(mut call: Call) -> Answer {
    let address = device(&call)?;
    let bytes_max = call.limits().desired_bytes_max.saturating_mul(8);
    let body = call.read_body(bytes_max).await?;
    let patch = DigitalPatch::parse(&body).map_err(hub_core::HubError::from)?;
    let etag = match call.if_match()? {
        Some(IfMatch::Etag(etag)) => Some(etag),
        _ => None,
    };
    call.allow_bytes(Action::WriteTwin(&address), body.len()).await?;
    let twin = call.hub().patch_digital_twin(&address, patch, etag.as_deref()).await?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::ACCEPTED;
    respond::set(response.headers_mut(), "etag", &format!("\"{}\"", twin.etag()));
    let location = format!("/digitaltwins/{}", encoded(address.device_str()));
    respond::set(response.headers_mut(), "location", &location);
    Ok(response)
}

/// An id as a segment of a path.
fn encoded(id: &str) -> String {
    let mut out = String::with_capacity(id.len());
    for byte in id.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

async fn invoke(mut call: Call) -> Answer {
    let address = device(&call)?;
    let command = call.value("commandName")?;
    let name = match call.values.get("componentName") {
        None => command.to_owned(),
        Some(component) => format!("{component}*{command}"),
    };
    let waits = Waits::new(
        call.number("responseTimeoutInSeconds")?,
        call.number("connectTimeoutInSeconds")?,
        call.limits(),
    )
    .map_err(|problem| problem.nested(None))?;
    let body = call.read_body(call.limits().method_payload_bytes_max).await?;
    let payload = if body.is_empty() { "null".into() } else { body };
    let reply = method::invoke_within(&call, &address, &name, payload, &waits).await?;
    let mut response = respond::json_text(StatusCode::OK, reply.payload);
    respond::set(response.headers_mut(), STATUS, &reply.status.to_string());
    Ok(response)
}
