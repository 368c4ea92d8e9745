//! What the hub says, as messages.

mod answers;
mod device;
mod event;
mod service;

use hub_core::Timestamp;
use hub_core::engine::PartitionInfo;

pub use self::answers::{log_answer, management_refusal, partition_answer, token_answer};
pub use self::device::{desired, method, method_id, method_ref, offer, twin_answer, twin_refusal};
pub use self::event::EventWriter;
pub use self::service::{feedback, file_notification};
use crate::codec::Write as _;

fn millis(at: Timestamp) -> i64 {
    i64::try_from(at.as_millis()).unwrap_or(i64::MAX)
}

/// A number of the log as the type that clients expect.
fn long(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The bytes of a string, constructor included.
fn text_value(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 5);
    out.text(text);
    out
}

/// The first instant of .NET, which clients of the service know as "never".
const NEVER: i64 = -62_135_596_800_000;

/// The last event of a partition, in the words of clients.
struct Last {
    sequence: i64,
    offset: String,
    time: i64,
}

impl Last {
    fn of(info: &PartitionInfo) -> Self {
        let time = info.last_enqueued.map_or(NEVER, millis);
        match info.next.0.checked_sub(1).filter(|last| *last > 0) {
            Some(last) => Self { sequence: long(last), offset: last.to_string(), time },
            // Nothing was ever there.
            None => Self { sequence: -1, offset: "-1".to_owned(), time },
        }
    }
}
