//! Files that devices have uploaded: notifications, and addresses to read them by.
//!
//! Azure has the notifications over AMQP only. Here they are received as feedback is: the lock token
//! in `ETag`, the notification in the body.

use std::time::Duration;

use http::StatusCode;
use hub_core::blob::BlobName;
use hub_core::engine::Action;
use hub_core::error::{ErrorKind, HubError};
use hub_core::frame::Disposition;
use hub_core::security::Right;
use hub_core::upload::FileNotification;
use serde_json::{Value, json};

use crate::call::Call;
use crate::device::lock_token;
use crate::problem::{Code, Problem};
use crate::respond;
use crate::route::{Answer, Content, Parameter, Route, Verb, query};

const WAIT: &[Parameter] =
    &[query("maxWaitSeconds", "How long to wait for a notification, at most 300; 0 if not given.")];

const DONE: &[(u16, &str, Content)] = &[(204, "Done, and durable.", Content::Nothing)];

pub(crate) static ROUTES: &[Route] = &[
    Route::new(
        Verb::Get,
        "/messages/serviceBound/fileNotifications",
        "receiveFileNotification",
        "Receives and locks a file notification. The lock token is in `ETag`.",
        |call| Box::pin(receive(call)),
    )
    .service(Right::ServiceConnect)
    .own()
    .with(WAIT)
    .gives(&[
        (200, "A notification.", Content::Json("FileNotification")),
        (204, "There is none.", Content::Nothing),
    ]),
    Route::new(
        Verb::Delete,
        "/messages/serviceBound/fileNotifications/{lockToken}",
        "completeFileNotification",
        "Removes a file notification that was received.",
        |call| Box::pin(settle(call, Disposition::Complete)),
    )
    .service(Right::ServiceConnect)
    .own()
    .gives(DONE),
    Route::new(
        Verb::Post,
        "/messages/serviceBound/fileNotifications/{lockToken}/abandon",
        "abandonFileNotification",
        "Gives a file notification back.",
        |call| Box::pin(settle(call, Disposition::Abandon)),
    )
    .service(Right::ServiceConnect)
    .own()
    .gives(DONE),
    Route::new(
        Verb::Get,
        "/files/address",
        "getFileAddress",
        "Gives an address that lets its holder read a file for some time.",
        |call| Box::pin(address(call)),
    )
    .service(Right::ServiceConnect)
    .own()
    .with(&[query("blobName", "The file's name, with its device's id before it.")])
    .gives(&[(200, "The address.", Content::Json("FileAddress"))]),
];

/// Longest wait for a notification.
const WAIT_MAX: u64 = 300;

async fn receive(call: Call) -> Answer {
    let wait = call.number("maxWaitSeconds")?.unwrap_or(0).min(WAIT_MAX);
    call.allow(Action::ReceiveFileNotifications).await?;
    let receiver = call.hub().file_notifications();
    let received = match receiver.try_receive().await? {
        None if wait > 0 => {
            let within = Duration::from_secs(wait);
            tokio::time::timeout(within, receiver.receive()).await.ok().transpose()?
        }
        found => found,
    };
    let Some(received) = received else { return Ok(respond::no_content()) };
    let mut response = respond::json(StatusCode::OK, &document(&received.notification));
    let headers = response.headers_mut();
    respond::set(headers, "etag", &format!("\"{}\"", received.token));
    respond::set(headers, "iothub-messagelocktoken", &received.token.to_string());
    let before = received.deliveries.saturating_sub(1).to_string();
    respond::set(headers, "iothub-deliverycount", &before);
    Ok(response)
}

async fn settle(call: Call, disposition: Disposition) -> Answer {
    let token = lock_token(&call)?;
    call.allow(Action::ReceiveFileNotifications).await?;
    call.hub().file_notifications().settle(token, disposition).await?;
    Ok(respond::no_content())
}

async fn address(call: Call) -> Answer {
    let Some(name) = call.query().form("blobName") else {
        return Err(Problem::new(Code::ARGUMENT_NULL, "blobName is missing"));
    };
    let blob = BlobName::parse(&name).map_err(|error| Problem::argument(error.to_string()))?;
    // What back ends keep there may have keys in it.
    if blob.is_of_service() {
        return Err(Problem::argument("the file is none of a device"));
    }
    call.allow(Action::ReadFile(&blob)).await?;
    let missing = |error: HubError| match error.kind() {
        // A device that says it has uploaded what is not there is wrong; who asks is not.
        ErrorKind::BlobNotFound => Problem::new(Code::NOT_FOUND, error.message().to_owned()),
        _ => error.into(),
    };
    let (address, expiry) = call.hub().file_address(&blob).await.map_err(missing)?;
    let document = json!({ "uri": address.as_str(), "expiryTimeUtc": expiry.to_string() });
    Ok(respond::json(StatusCode::OK, &document))
}

/// A notification, with the members that SDKs know.
fn document(notification: &FileNotification) -> Value {
    json!({
        "deviceId": notification.device_str(),
        "blobUri": notification.url,
        "blobName": notification.blob.as_str(),
        "lastUpdatedTime": notification.modified.to_string(),
        "blobSizeInBytes": notification.size,
        "enqueuedTimeUtc": notification.enqueued.to_string(),
    })
}
