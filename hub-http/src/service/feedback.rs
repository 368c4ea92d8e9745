//! Feedback on cloud-to-device messages.
//!
//! Azure's SDKs know these routes; how Azure lays the answer out is not documented. Here it is as
//! when a device receives a message: the lock token in `ETag`, the records in the body.

use std::time::Duration;

use http::StatusCode;
use hub_core::delivery::FeedbackRecord;
use hub_core::engine::Action;
use hub_core::frame::Disposition;
use hub_core::security::Right;
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::call::Call;
use crate::device::lock_token;
use crate::json::identity::Text;
use crate::respond;
use crate::route::{Answer, Content, Parameter, Route, Verb, query};

const WAIT: &[Parameter] =
    &[query("maxWaitSeconds", "How long to wait for feedback, at most 300; 0 if not given. Ours.")];

const REJECT: &[Parameter] = &[query("reject", "Changes nothing: either way the batch is gone.")];

const DONE: &[(u16, &str, Content)] = &[(204, "Done, and durable.", Content::Nothing)];

pub(crate) static ROUTES: &[Route] = &[
    Route::new(
        Verb::Get,
        "/messages/serviceBound/feedback",
        "receiveFeedback",
        "Receives and locks a batch of feedback. The lock token is in `ETag`.",
        |call| Box::pin(receive(call)),
    )
    .service(Right::ServiceConnect)
    .own()
    .with(WAIT)
    .gives(&[
        (200, "A batch.", Content::List("FeedbackRecord")),
        (204, "There is none.", Content::Nothing),
    ]),
    Route::new(
        Verb::Delete,
        "/messages/serviceBound/feedback/{lockToken}",
        "completeFeedback",
        "Removes a batch of feedback that was received.",
        |call| Box::pin(settle(call, Disposition::Complete)),
    )
    .service(Right::ServiceConnect)
    .own()
    .with(REJECT)
    .gives(DONE),
    Route::new(
        Verb::Post,
        "/messages/serviceBound/feedback/{lockToken}/abandon",
        "abandonFeedback",
        "Gives a batch of feedback back.",
        |call| Box::pin(settle(call, Disposition::Abandon)),
    )
    .service(Right::ServiceConnect)
    .own()
    .gives(DONE),
];

/// Longest wait for feedback.
const WAIT_MAX: u64 = 300;

async fn receive(call: Call) -> Answer {
    let wait = call.number("maxWaitSeconds")?.unwrap_or(0).min(WAIT_MAX);
    call.allow(Action::ReceiveFeedback).await?;
    let receiver = call.hub().feedback();
    let batch = match receiver.try_receive().await? {
        None if wait > 0 => {
            let within = Duration::from_secs(wait);
            tokio::time::timeout(within, receiver.receive()).await.ok().transpose()?
        }
        found => found,
    };
    let Some(batch) = batch else { return Ok(respond::no_content()) };
    let records: Vec<_> = batch.records.iter().map(RecordJson).collect();
    let mut response = respond::json(StatusCode::OK, &records);
    let headers = response.headers_mut();
    respond::set(headers, "etag", &format!("\"{}\"", batch.token));
    respond::set(headers, "iothub-messagelocktoken", &batch.token.to_string());
    let before = batch.deliveries.saturating_sub(1).to_string();
    respond::set(headers, "iothub-deliverycount", &before);
    Ok(response)
}

async fn settle(call: Call, disposition: Disposition) -> Answer {
    let token = lock_token(&call)?;
    call.allow(Action::ReceiveFeedback).await?;
    call.hub().feedback().settle(token, disposition).await?;
    Ok(respond::no_content())
}

/// A record, with the members that SDKs know.
struct RecordJson<'a>(&'a FeedbackRecord);

impl Serialize for RecordJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let record = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("originalMessageId", &record.message_id)?;
        map.serialize_entry("enqueuedTimeUtc", &Text(record.at))?;
        map.serialize_entry("statusCode", record.status.name())?;
        map.serialize_entry("description", record.status.name())?;
        map.serialize_entry("deviceId", record.target.device_str())?;
        if let Some(module) = record.target.module_str() {
            map.serialize_entry("moduleId", module)?;
        }
        map.serialize_entry("deviceGenerationId", &Text(record.generation))?;
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hub_core::delivery::FeedbackStatus;
    use hub_core::id::Address;
    use hub_core::time::Timestamp;

    #[test]
    fn a_record_has_the_members_that_sdks_know() {
        let record = FeedbackRecord {
            message_id: "m-17".into(),
            status: FeedbackStatus::Rejected,
            at: Timestamp::from_millis(1_700_000_000_123),
            target: Address::parse("d1").unwrap(),
            generation: 637_048_513_528_304_448,
        };
        let want = serde_json::json!({
            "originalMessageId": "m-17",
            "enqueuedTimeUtc": "2023-11-14T22:13:20.1230000Z",
            "statusCode": "Rejected",
            "description": "Rejected",
            "deviceId": "d1",
            "deviceGenerationId": "637048513528304448",
        });
        assert_eq!(serde_json::json!(RecordJson(&record)), want);
    }
}
