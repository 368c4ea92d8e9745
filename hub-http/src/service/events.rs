//! The event log: pages by position, a live stream, and where a consumer group stands. All of it is
//! the hub's own: Azure's log is read over AMQP only.

use std::time::Duration;

use axum::response::Response;
use bytes::{BufMut as _, BytesMut};
use http::StatusCode;
use http::header::ACCEPT;
use hub_core::engine::{Action, EventReader, Position, check_group};
use hub_core::envelope::Event;
use hub_core::error::{ErrorKind, HubError};
use hub_core::id::{Partition, SequenceNumber};
use hub_core::registry::IfMatch;
use hub_core::security::Right;
use hub_core::time::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::stream::{self, Framing};
use crate::call::{Call, Caller};
use crate::json::event::EventWriter;
use crate::problem::{Code, Problem};
use crate::respond;
use crate::route::{Answer, Content, Parameter, Route, Verb, header, query};

const READ: &[Parameter] = &[
    query(
        "from",
        "Where to begin: `earliest`, `latest`, `sequence:N`, `time:` and an instant in ISO 8601, or \
         `cursor`: where the group's cursor stands, or the oldest event if it never said. The \
         default is `cursor`.",
    ),
    query("max", "How many events at most in a page; 100 if not given."),
    query("wait", "How many seconds to wait for the first event of a page, at most 60."),
    header(
        "Accept",
        "`application/x-ndjson` or `text/event-stream` for a live stream instead of a page.",
    ),
    header("Last-Event-ID", "Of server-sent events: goes on behind this sequence number."),
];

const CURSOR_IF: &[Parameter] = &[header(
    "If-Match",
    "The position that the cursor must have, as in `ETag`; `*` or absent: any.",
)];

const CURSOR: &[(u16, &str, Content)] =
    &[(200, "Where the group stands; null if it never said.", Content::Json("Cursor"))];

pub(crate) static ROUTES: &[Route] = &[
    Route::new(
        Verb::Get,
        "/messages/events/partitions",
        "listPartitions",
        "Lists the partitions of the event log and what they hold.",
        |call| Box::pin(partitions(call)),
    )
    .service(Right::ServiceConnect)
    .own()
    .gives(&[(200, "The partitions.", Content::List("Partition"))]),
    Route::new(
        Verb::Get,
        "/messages/events/ConsumerGroups/{group}/Partitions/{partition}",
        "readEvents",
        "Reads events of one partition: a page, or a live stream.",
        |call| Box::pin(read(call)),
    )
    .service(Right::ServiceConnect)
    .own()
    .with(READ)
    .gives(&[(200, "The events.", Content::Events)]),
    Route::new(
        Verb::Get,
        "/messages/events/ConsumerGroups/{group}/Partitions/{partition}/cursor",
        "getCursor",
        "Reads where a consumer group stands in a partition.",
        |call| Box::pin(cursor(call)),
    )
    .service(Right::ServiceConnect)
    .own()
    .gives(CURSOR),
    Route::new(
        Verb::Put,
        "/messages/events/ConsumerGroups/{group}/Partitions/{partition}/cursor",
        "putCursor",
        "Keeps where a consumer group stands in a partition.",
        |call| Box::pin(move_cursor(call)),
    )
    .service(Right::ServiceConnect)
    .own()
    .takes(Content::Json("Cursor"))
    .with(CURSOR_IF)
    .gives(CURSOR),
];

async fn partitions(call: Call) -> Answer {
    call.allow(Action::ReadEvents).await?;
    let mut found: Vec<Value> = Vec::new();
    for number in 0..call.hub().partitions() {
        let info = call.hub().partition_info(Partition(number)).await?;
        found.push(json!({
            "partition": info.partition.to_string(),
            "first": info.first.0,
            "next": info.next.0,
            "lastEnqueuedTime": info.last_enqueued.map(|at| at.to_string()),
        }));
    }
    Ok(respond::json(StatusCode::OK, &found))
}

/// The group and the partition in the path.
fn place(call: &Call) -> Result<(&str, Partition), Problem> {
    let group = call.value("group")?;
    check_group(group)?;
    let text = call.value("partition")?;
    let partition = text.parse().map(Partition).map_err(|_| {
        HubError::new(ErrorKind::NoSuchPartition, format!("there is no partition {text}"))
    })?;
    Ok((group, partition))
}

/// Where reading begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    Position(Position),
    Cursor,
}

impl From {
    fn parse(text: &str) -> Option<Self> {
        let position = match text.split_once(':') {
            None => match text {
                "earliest" => Position::Earliest,
                "latest" => Position::Latest,
                "cursor" | "" => return Some(Self::Cursor),
                _ => return None,
            },
            Some(("sequence", number)) => Position::Sequence(SequenceNumber(number.parse().ok()?)),
            Some(("time", instant)) => Position::Time(Timestamp::parse(instant)?),
            Some(_) => return None,
        };
        Some(Self::Position(position))
    }
}

async fn reader(call: &Call) -> Result<EventReader, Problem> {
    let (group, partition) = place(call)?;
    let from = call.query().get("from").unwrap_or_default();
    let from = From::parse(&from).ok_or_else(|| {
        Problem::argument(
            "from is none of earliest, latest, cursor, sequence:N and time: with an instant",
        )
    })?;
    let last = call.header("last-event-id")?.and_then(|id| id.parse().ok());
    let position = match (last.map(SequenceNumber), from) {
        (Some(last), _) => Position::Sequence(last.next()),
        (None, From::Position(position)) => position,
        (None, From::Cursor) => call
            .hub()
            .cursor(group, partition)
            .await?
            .position()
            .map_or(Position::Earliest, Position::Sequence),
    };
    Ok(call.hub().reader(partition, position).await?)
}

async fn read(call: Call) -> Answer {
    let framing = framing(call.header(ACCEPT)?.unwrap_or(""));
    call.allow(Action::ReadEvents).await?;
    let reader = reader(&call).await?;
    match framing {
        None => page(&call, reader).await,
        Some(framing) => {
            let until = match &call.caller {
                Caller::Service(principal) => principal.expires().after(call.limits().token_grace),
                _ => Timestamp::MAX,
            };
            let shutdown = call.hub().shutdown_signal();
            Ok(stream::answer(call.hub().clone(), reader, framing, until, shutdown))
        }
    }
}

/// What kind of stream a client accepts, if it asks for one.
fn framing(accept: &str) -> Option<Framing> {
    accept.split(',').find_map(|kind| {
        let kind = kind.split(';').next().unwrap_or("").trim();
        if kind.eq_ignore_ascii_case("application/x-ndjson") {
            Some(Framing::Lines)
        } else if kind.eq_ignore_ascii_case("text/event-stream") {
            Some(Framing::Events)
        } else {
            None
        }
    })
}

const PAGE_DEFAULT: u64 = 100;

/// Bytes after which a page ends, whatever was asked for. Events are up to 256 KiB each, and a
/// page is put together in memory.
const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// How many events a page takes from the store at once.
const STEP: u32 = 128;

/// Longest wait for the first event of a page.
const WAIT_MAX: u64 = 60;

async fn page(call: &Call, mut reader: EventReader) -> Answer {
    let max = call.number("max")?.unwrap_or(PAGE_DEFAULT);
    let max = u32::try_from(max).unwrap_or(u32::MAX).min(call.limits().log_page_max);
    let wait = call.number("wait")?.unwrap_or(0).min(WAIT_MAX);
    let mut page = Page::new(reader.position());
    let first = reader.try_read(max.min(STEP)).await?;
    let mut events = if first.is_empty() && wait > 0 && max > 0 {
        let within = Duration::from_secs(wait);
        let waited = tokio::time::timeout(within, reader.read(max.min(STEP))).await;
        waited.unwrap_or(Ok(Vec::new()))?
    } else {
        first
    };
    while !events.is_empty() && page.add(&events) {
        let left = max.saturating_sub(page.count);
        events = reader.try_read(left.min(STEP)).await?;
    }
    Ok(page.finish())
}

/// `{"events":[…],"next":N}`, as it grows.
struct Page {
    out: BytesMut,
    writer: EventWriter,
    count: u32,
    next: SequenceNumber,
}

impl Page {
    fn new(next: SequenceNumber) -> Self {
        let mut out = BytesMut::with_capacity(4096);
        out.put_slice(b"{\"events\":[");
        Self { out, writer: EventWriter::new(), count: 0, next }
    }

    /// Whether there is room for more.
    fn add(&mut self, events: &[Event]) -> bool {
        for found in events {
            if self.out.len() > PAGE_BYTES {
                return false;
            }
            if self.count > 0 {
                self.out.put_u8(b',');
            }
            self.writer.write(&mut self.out, found);
            self.count += 1;
            self.next = found.sequence.next();
        }
        true
    }

    fn finish(mut self) -> Response {
        self.out.put_slice(format!("],\"next\":{}}}", self.next).as_bytes());
        respond::json_text(StatusCode::OK, self.out.freeze())
    }
}

async fn cursor(call: Call) -> Answer {
    let (group, partition) = place(&call)?;
    call.allow(Action::ReadEvents).await?;
    let position = call.hub().cursor(group, partition).await?.position();
    Ok(cursor_answer(position))
}

fn cursor_answer(position: Option<SequenceNumber>) -> Response {
    let next = position.map(|next| next.0);
    let mut response = respond::json(StatusCode::OK, &json!({ "next": next }));
    if let Some(next) = next {
        respond::set(response.headers_mut(), "etag", &format!("\"{next}\""));
    }
    response
}

#[derive(Deserialize)]
struct Move {
    next: u64,
}

/// Largest body of a move.
const MOVE_BYTES_MAX: usize = 1024;

async fn move_cursor(mut call: Call) -> Answer {
    let body = call.read_body(MOVE_BYTES_MAX).await?;
    let wanted: Move = serde_json::from_slice(&body).map_err(|error| Problem::json(&error))?;
    let condition = call.if_match()?;
    let (group, partition) = place(&call)?;
    call.allow(Action::ReadEvents).await?;
    let mut cursor = call.hub().cursor(group, partition).await?;
    if let Some(IfMatch::Etag(etag)) = condition {
        let position = cursor.position().map(|position| position.to_string());
        if position.as_deref() != Some(&etag) {
            let kind = ErrorKind::PreconditionFailed;
            return Err(Problem::new(Code::of(kind), "the cursor has another position"));
        }
    }
    cursor.advance(SequenceNumber(wanted.next)).await?;
    Ok(cursor_answer(cursor.position()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_read() {
        let at = |text| From::parse(text);
        assert_eq!(at("earliest"), Some(From::Position(Position::Earliest)));
        assert_eq!(at("latest"), Some(From::Position(Position::Latest)));
        assert_eq!(at("cursor"), Some(From::Cursor));
        assert_eq!(at(""), Some(From::Cursor));
        let seventh = Position::Sequence(SequenceNumber(7));
        assert_eq!(at("sequence:7"), Some(From::Position(seventh)));
        let time = Timestamp::parse("2026-01-01T02:00:00+02:00").unwrap();
        let found = at("time:2026-01-01T00:00:00Z");
        assert_eq!(found, Some(From::Position(Position::Time(time))));
        for bad in ["first", "sequence:", "sequence:-1", "time:now", "offset:1", "sequence"] {
            assert_eq!(at(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_stream_is_asked_for_by_accept() {
        assert_eq!(framing("application/json"), None);
        assert_eq!(framing("*/*"), None);
        assert_eq!(framing("text/html, application/X-NDJSON;q=0.9"), Some(Framing::Lines));
        assert_eq!(framing("text/event-stream"), Some(Framing::Events));
    }
}
