//! Where a reader of the event log begins: the selector in the filters of its source.

use hub_core::engine::Position;
use hub_core::id::SequenceNumber;
use hub_core::time::Timestamp;

use crate::codec::{Items, Value};
use crate::problem::{AmqpError, condition};

const SELECTOR: &str = "apache.org:selector-filter:string";
const ANNOTATION: &str = "amqp.annotation.x-opt-";

/// Reads the filters of a source. Without any, reading begins at the oldest event.
///
/// Sequence number and offset are the same number here, and both are opaque to clients.
///
/// # Errors
/// `amqp:not-implemented` for another filter, `com.microsoft:argument-error` for a selector that is
/// not one of the positions.
pub fn position(mut filters: Items<'_>) -> Result<Position, AmqpError> {
    let mut found = Position::Earliest;
    while let Some((name, value)) = filters.take_pair()? {
        // The descriptor says the same as the name, by name or by number.
        if name.as_text() != Some(SELECTOR) {
            return Err(AmqpError::new(condition::NOT_IMPLEMENTED, "an unknown filter"));
        }
        let value = match value {
            Value::Described(described) => described.value()?,
            value => value,
        };
        let text = value.as_text().ok_or_else(malformed)?;
        found = selector(text).ok_or_else(malformed)?;
    }
    Ok(found)
}

fn malformed() -> AmqpError {
    AmqpError::new(condition::ARGUMENT, "the selector is not a position in the event log")
}

/// `amqp.annotation.x-opt-{what} > '{value}'`, or `>=`.
fn selector(text: &str) -> Option<Position> {
    let rest = text.trim().strip_prefix(ANNOTATION)?;
    let (what, value) = rest.split_once('>')?;
    let (inclusive, value) = match value.strip_prefix('=') {
        Some(value) => (true, value),
        None => (false, value),
    };
    let value = value.trim().strip_prefix('\'')?.strip_suffix('\'')?;
    // The first that is wanted: the number itself, or the one behind it.
    let from = |number: i64| {
        let first = if inclusive { number } else { number.checked_add(1)? };
        Some(u64::try_from(first).unwrap_or(0))
    };
    let number = value.parse::<i64>();
    match what.trim() {
        "offset" if value.eq_ignore_ascii_case("@latest") => Some(Position::Latest),
        "offset" | "sequence-number" => match number.ok()? {
            // Before all events, whatever the comparison.
            ..=-1 => Some(Position::Earliest),
            number => from(number).map(|first| Position::Sequence(SequenceNumber(first))),
        },
        "enqueued-time" | "enqueuedtimeutc" => {
            from(number.ok()?).map(|first| Position::Time(Timestamp::from_millis(first)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(expression: &str) -> Option<Position> {
        selector(&format!("amqp.annotation.x-opt-{expression}"))
    }

    #[test]
    fn every_position_of_the_sdks() {
        let sequence = |number| Some(Position::Sequence(SequenceNumber(number)));
        let time = |millis| Some(Position::Time(Timestamp::from_millis(millis)));
        assert_eq!(at("offset > '-1'"), Some(Position::Earliest));
        assert_eq!(at("offset > '@latest'"), Some(Position::Latest));
        assert_eq!(at("offset > '41'"), sequence(42));
        assert_eq!(at("offset >= '41'"), sequence(41));
        assert_eq!(at("sequence-number > '41'"), sequence(42));
        assert_eq!(at("sequence-number >= '41'"), sequence(41));
        assert_eq!(at("sequence-number > '-1'"), Some(Position::Earliest));
        assert_eq!(at("enqueued-time > '1700000000000'"), time(1_700_000_000_001));
        assert_eq!(at("enqueued-time >= '1700000000000'"), time(1_700_000_000_000));
        assert_eq!(at("enqueued-time >='5'"), time(5));
    }

    #[test]
    fn anything_else_is_no_position() {
        for text in [
            "offset > 41",
            "offset < '41'",
            "offset > ''",
            "offset > '4' OR 1=1",
            "sequence-number > '@latest'",
            "sequence-number > '99999999999999999999'",
            "partition-key > '1'",
            "",
        ] {
            assert_eq!(at(text), None, "{text}");
        }
        assert_eq!(selector("x > '1'"), None);
        assert_eq!(at(&format!("offset > '{}'", i64::MAX)), None);
    }
}
