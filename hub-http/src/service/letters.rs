//! Dead letters: reading them, sending them again, removing them. All of it is the hub's own: Azure
//! keeps none.

use http::StatusCode;
use hub_core::delivery::{DeadLetter, FeedbackStatus};
use hub_core::engine::Action;
use hub_core::id::{Address, SequenceNumber};
use hub_core::security::Right;
use hub_core::time::Timestamp;
use serde_json::{Value, json};

use super::c2d::contents;
use crate::call::Call;
use crate::problem::Problem;
use crate::respond;
use crate::route::{Answer, Content, Parameter, Route, Verb, query};

/// Where a list goes on.
const CONTINUATION: &str = "x-ms-continuation";

const LIST: &[Parameter] = &[
    query("after", "Where to go on: what the header `x-ms-continuation` of the page before said."),
    query("max", "How many at most; 100 if absent, never more than 1000."),
];
const REPLAY: &[Parameter] = &[query(
    "expiry",
    "An instant in ISO 8601, after which the new message is not delivered. Absent: the default.",
)];

const LETTERS: &[(u16, &str, Content)] = &[(
    200,
    "The letters of the page. The header `x-ms-continuation` is there when there may be more.",
    Content::List("DeadLetter"),
)];
const LETTER: &[(u16, &str, Content)] = &[(200, "The letter.", Content::Json("DeadLetter"))];
const SENT: &[(u16, &str, Content)] =
    &[(201, "The message is in the queue, and the letter gone.", Content::Json("SentMessage"))];
const GONE: &[(u16, &str, Content)] = &[(204, "It is gone.", Content::Nothing)];
const PURGED: &[(u16, &str, Content)] =
    &[(200, "How many are gone.", Content::Json("DeadLetterPurgeResult"))];

pub(crate) static ROUTES: &[Route] = &[
    Route::new(
        Verb::Get,
        "/messages/deadLetters",
        "listDeadLetters",
        "Lists the dead letters of all devices and modules, page by page.",
        |call| Box::pin(list_all(call)),
    )
    .service(Right::ServiceConnect)
    .own()
    .with(LIST)
    .gives(LETTERS),
    Route::new(
        Verb::Delete,
        "/messages/deadLetters",
        "purgeDeadLetters",
        "Removes the dead letters of all devices and modules.",
        |call| Box::pin(purge_all(call)),
    )
    .service(Right::ServiceConnect)
    .own()
    .gives(PURGED),
    Route::new(
        Verb::Get,
        "/devices/{deviceId}/messages/deadLetters",
        "listDeviceDeadLetters",
        "Lists the dead letters of a device, the oldest first.",
        |call| Box::pin(list(call)),
    )
    .service(Right::ServiceConnect)
    .own()
    .with(LIST)
    .gives(LETTERS),
    Route::new(
        Verb::Get,
        "/devices/{deviceId}/modules/{moduleId}/messages/deadLetters",
        "listModuleDeadLetters",
        "Lists the dead letters of a module, the oldest first.",
        |call| Box::pin(list(call)),
    )
    .service(Right::ServiceConnect)
    .own()
    .with(LIST)
    .gives(LETTERS),
    Route::new(
        Verb::Delete,
        "/devices/{deviceId}/messages/deadLetters",
        "purgeDeviceDeadLetters",
        "Removes the dead letters of a device.",
        |call| Box::pin(purge(call)),
    )
    .service(Right::ServiceConnect)
    .own()
    .gives(PURGED),
    Route::new(
        Verb::Delete,
        "/devices/{deviceId}/modules/{moduleId}/messages/deadLetters",
        "purgeModuleDeadLetters",
        "Removes the dead letters of a module.",
        |call| Box::pin(purge(call)),
    )
    .service(Right::ServiceConnect)
    .own()
    .gives(PURGED),
    Route::new(
        Verb::Get,
        "/devices/{deviceId}/messages/deadLetters/{number}",
        "getDeviceDeadLetter",
        "Reads a dead letter of a device.",
        |call| Box::pin(get(call)),
    )
    .service(Right::ServiceConnect)
    .own()
    .gives(LETTER),
    Route::new(
        Verb::Get,
        "/devices/{deviceId}/modules/{moduleId}/messages/deadLetters/{number}",
        "getModuleDeadLetter",
        "Reads a dead letter of a module.",
        |call| Box::pin(get(call)),
    )
    .service(Right::ServiceConnect)
    .own()
    .gives(LETTER),
    Route::new(
        Verb::Delete,
        "/devices/{deviceId}/messages/deadLetters/{number}",
        "deleteDeviceDeadLetter",
        "Removes a dead letter of a device.",
        |call| Box::pin(remove(call)),
    )
    .service(Right::ServiceConnect)
    .own()
    .gives(GONE),
    Route::new(
        Verb::Delete,
        "/devices/{deviceId}/modules/{moduleId}/messages/deadLetters/{number}",
        "deleteModuleDeadLetter",
        "Removes a dead letter of a module.",
        |call| Box::pin(remove(call)),
    )
    .service(Right::ServiceConnect)
    .own()
    .gives(GONE),
    Route::new(
        Verb::Post,
        "/devices/{deviceId}/messages/deadLetters/{number}/replay",
        "replayDeviceDeadLetter",
        "Sends the message of a dead letter to its device again, and removes the letter.",
        |call| Box::pin(replay(call)),
    )
    .service(Right::ServiceConnect)
    .own()
    .with(REPLAY)
    .gives(SENT),
    Route::new(
        Verb::Post,
        "/devices/{deviceId}/modules/{moduleId}/messages/deadLetters/{number}/replay",
        "replayModuleDeadLetter",
        "Sends the message of a dead letter to its module again, and removes the letter.",
        |call| Box::pin(replay(call)),
    )
    .service(Right::ServiceConnect)
    .own()
    .with(REPLAY)
    .gives(SENT),
];

/// How many letters a page has if nothing is said.
const PAGE_DEFAULT: u64 = 100;

fn size(call: &Call) -> Result<u32, Problem> {
    let size = call.number("max")?.unwrap_or(PAGE_DEFAULT);
    Ok(u32::try_from(size).unwrap_or(u32::MAX).min(call.limits().list_page_max))
}

/// A page, and where the list goes on if it is full.
fn page(letters: &[DeadLetter], size: u32, place: impl Fn(&DeadLetter) -> String) -> Answer {
    let documents: Vec<Value> = letters.iter().map(document).collect();
    let mut answer = respond::json(StatusCode::OK, &documents);
    let full = u32::try_from(letters.len()).is_ok_and(|count| count >= size);
    if let Some(last) = letters.last().filter(|_| full) {
        respond::set(answer.headers_mut(), CONTINUATION, &place(last));
    }
    Ok(answer)
}

async fn list(call: Call) -> Answer {
    let address = call.address()?;
    let (after, size) = (call.number("after")?.map(SequenceNumber), size(&call)?);
    call.allow(Action::SendMessage(&address)).await?;
    // Letters of nobody would be none, which is not the same.
    call.hub().registry().get(&address).await?;
    let letters = call.hub().dead_letters().of(&address, after, size).await?;
    page(&letters, size, |letter| letter.number.0.to_string())
}

async fn list_all(call: Call) -> Answer {
    let size = size(&call)?;
    let after = call.query().get("after");
    let after = after.as_deref().map(place).transpose()?;
    call.allow(Action::DeadLetters).await?;
    let after = after.as_ref().map(|(address, number)| (address, *number));
    let letters = call.hub().dead_letters().all(after, size).await?;
    page(&letters, size, |letter| format!("{}:{}", letter.number.0, letter.of))
}

/// The place of a letter among those of all: `number:address`.
fn place(text: &str) -> Result<(Address, SequenceNumber), Problem> {
    let parts = text.split_once(':').and_then(|(number, address)| {
        Some((Address::parse(address).ok()?, SequenceNumber(number.parse().ok()?)))
    });
    parts.ok_or_else(|| Problem::argument("after is not what a page before said"))
}

fn number(call: &Call) -> Result<SequenceNumber, Problem> {
    let number = call.value("number")?.parse();
    number.map(SequenceNumber).map_err(|_| Problem::argument("the number is not a whole number"))
}

async fn get(call: Call) -> Answer {
    let (address, number) = (call.address()?, number(&call)?);
    call.allow(Action::SendMessage(&address)).await?;
    let letter = call.hub().dead_letters().get(&address, number).await?;
    Ok(respond::json(StatusCode::OK, &document(&letter)))
}

async fn remove(call: Call) -> Answer {
    let (address, number) = (call.address()?, number(&call)?);
    call.allow(Action::SendMessage(&address)).await?;
    call.hub().dead_letters().remove(&address, number).await?;
    Ok(respond::no_content())
}

async fn replay(call: Call) -> Answer {
    let (address, number) = (call.address()?, number(&call)?);
    let expiry = match call.query().get("expiry") {
        None => None,
        Some(text) => Some(
            Timestamp::parse(text.trim())
                .ok_or_else(|| Problem::argument("expiry is not an instant in ISO 8601"))?,
        ),
    };
    call.allow(Action::SendMessage(&address)).await?;
    let letter = call.hub().dead_letters().get(&address, number).await?;
    let sent = call.hub().dead_letters().replay(&address, number, expiry).await?;
    // The message is sent; what cannot be said about its queue is left open.
    let depth = call.hub().queue_depth(&address).await.ok();
    let message = hub_core::envelope::SystemProperty::MessageId;
    let document = json!({
        "messageId": letter.message.properties.system(message).unwrap_or(""),
        "sequenceNumber": sent.sequence.0,
        "expiryTimeUtc": sent.expiry.to_string(),
        "depth": depth,
        "depthMax": call.limits().c2d_depth_max,
    });
    Ok(respond::json(StatusCode::CREATED, &document))
}

async fn purge(call: Call) -> Answer {
    let address = call.address()?;
    call.allow(Action::SendMessage(&address)).await?;
    let purged = call.hub().dead_letters().purge(&address).await?;
    Ok(respond::json(StatusCode::OK, &json!({ "totalLettersPurged": purged })))
}

async fn purge_all(call: Call) -> Answer {
    call.allow(Action::DeadLetters).await?;
    let purged = call.hub().dead_letters().purge_all().await?;
    Ok(respond::json(StatusCode::OK, &json!({ "totalLettersPurged": purged })))
}

fn document(letter: &DeadLetter) -> Value {
    let mut document = contents(&letter.of, &letter.message);
    let own = [
        ("number", letter.number.0.into()),
        ("deviceId", letter.of.device_str().into()),
        ("moduleId", letter.of.module_str().into()),
        ("cause", FeedbackStatus::from(letter.cause).name().into()),
        ("deadTimeUtc", letter.at.to_string().into()),
        ("keptUntilUtc", letter.kept_until.to_string().into()),
        ("deliveryCount", letter.delivery_count.into()),
        ("sequenceNumber", letter.sequence.0.into()),
        ("expiryTimeUtc", letter.expiry.to_string().into()),
    ];
    document.extend(own.map(|(name, value): (&str, Value)| (name.to_owned(), value)));
    Value::Object(document)
}
