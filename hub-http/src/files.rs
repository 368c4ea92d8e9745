//! What devices do to upload files: ask for an address, and say when they are done. The file itself
//! does not come this way.

use http::StatusCode;
use hub_core::engine::{Action, UploadReport};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::call::Call;
use crate::path::decode;
use crate::problem::{Code, Problem};
use crate::respond;
use crate::route::{Answer, Content, Route, Verb};

const NOTIFIED: &[(u16, &str, Content)] =
    &[(204, "The upload is over, and back ends are told if it succeeded.", Content::Nothing)];

pub(crate) static ROUTES: &[Route] = &[
    Route::new(
        Verb::Post,
        "/devices/{deviceId}/files",
        "beginUpload",
        "Gives a device an address that lets it write a file for some time.",
        |call| Box::pin(begin(call)),
    )
    .device()
    .takes(Content::Json("UploadRequest"))
    .gives(&[(200, "Where to write the file to.", Content::Json("UploadAddress"))]),
    Route::new(
        Verb::Post,
        "/devices/{deviceId}/files/notifications",
        "finishUpload",
        "Says how an upload ended.",
        |call| Box::pin(finish(call)),
    )
    .device()
    .takes(Content::Json("UploadNotification"))
    .gives(NOTIFIED),
    Route::new(
        Verb::Post,
        "/devices/{deviceId}/files/notifications/{correlationId}",
        "finishNamedUpload",
        "Says how the upload that the path names ended.",
        |call| Box::pin(finish(call)),
    )
    .device()
    .takes(Content::Json("UploadNotification"))
    .gives(NOTIFIED),
];

/// Largest body of these requests.
const BODY_MAX: usize = 16 * 1024;

#[derive(Deserialize)]
struct Wanted {
    #[serde(rename = "blobName")]
    blob_name: Option<String>,
}

async fn begin(mut call: Call) -> Answer {
    let body = call.read_body(BODY_MAX).await?;
    let wanted: Wanted = serde_json::from_slice(&body).map_err(|error| Problem::json(&error))?;
    let name = wanted
        .blob_name
        .filter(|name| !name.is_empty())
        .ok_or_else(|| Problem::new(Code::ARGUMENT_NULL, "blobName is missing"))?;
    let (device, _) = call.device()?;
    call.allow(Action::BeginUpload(&name)).await?;
    let ticket = call.hub().begin_upload(&device.device_id(), &name).await?;
    let address = &ticket.address;
    // Clients put the address together of these, and escape the name themselves.
    let document = json!({
        "correlationId": ticket.correlation.to_string(),
        "hostName": address.host(),
        "containerName": address.container(),
        "blobName": decode(address.encoded_name()),
        "sasToken": address.query(),
    });
    Ok(respond::json(StatusCode::OK, &document))
}

async fn finish(mut call: Call) -> Answer {
    let body = call.read_body(BODY_MAX).await?;
    let said: Value = serde_json::from_slice(&body).map_err(|error| Problem::json(&error))?;
    let named = call.values.get("correlationId");
    let correlation = named
        .or_else(|| said.get("correlationId").and_then(Value::as_str))
        .ok_or_else(|| Problem::new(Code::ARGUMENT_NULL, "correlationId is missing"))?;
    let report = report(&said).ok_or_else(|| {
        let message = "isSuccess is not true or false, or statusCode is not a number";
        Problem::new(Code::UPLOAD_STATUS, message)
    })?;
    let (device, _) = call.device()?;
    call.allow(Action::FinishUpload).await?;
    call.hub().finish_upload(&device.device_id(), correlation, report).await?;
    Ok(respond::no_content())
}

/// What the device says. A status may be missing: it tells nothing that the hub needs.
fn report(said: &Value) -> Option<UploadReport> {
    let success = said.get("isSuccess")?.as_bool()?;
    let status = match said.get("statusCode") {
        None | Some(Value::Null) => 0,
        Some(status) => status.as_i64()?,
    };
    Some(if success { UploadReport::success() } else { UploadReport::failure(status) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_whether_it_went_well() {
        let good = json!({"isSuccess": true, "statusCode": 200, "statusDescription": "OK"});
        assert_eq!(report(&good), Some(UploadReport::success()));
        let bad = json!({"isSuccess": false, "statusCode": -1});
        assert_eq!(report(&bad), Some(UploadReport::failure(-1)));
        assert_eq!(report(&json!({"isSuccess": false})), Some(UploadReport::failure(0)));
        for none in [
            json!({}),
            json!([]),
            json!({"isSuccess": "true", "statusCode": 200}),
            json!({"isSuccess": true, "statusCode": "200"}),
            json!({"isSuccess": true, "statusCode": 2.5}),
            json!({"statusCode": 200}),
        ] {
            assert_eq!(report(&none), None, "{none}");
        }
    }
}
