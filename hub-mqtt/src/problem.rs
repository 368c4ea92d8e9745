//! Error bodies: what a device is told when a twin request is refused.

use std::fmt::Write as _;

use hub_core::error::{ErrorKind, HubError};
use hub_core::time::Timestamp;

/// The service's number for a kind of refusal. Its first three digits are a status as of HTTP.
///
/// The mapping is total: what no device-facing path can meet has a number too, so that a kind
/// that reaches a device one day is not told as success.
#[must_use]
pub fn error_code(kind: ErrorKind) -> u32 {
    match kind {
        // A section over its size is a 400 in the service's documents, not a 413.
        ErrorKind::ArgumentInvalid | ErrorKind::TwinTooLarge => 400_004,
        ErrorKind::Unauthorized => 401_002,
        ErrorKind::Forbidden => 403_000,
        ErrorKind::QuotaExceeded => 403_002,
        ErrorKind::QueueFull => 403_004,
        ErrorKind::InvalidExpiry => 403_009,
        ErrorKind::DeviceDisabled => 403_012,
        ErrorKind::TooManyMethods => 403_800,
        ErrorKind::NoSuchPartition => 404_000,
        ErrorKind::DeviceNotFound => 404_001,
        ErrorKind::ModuleNotFound => 404_010,
        ErrorKind::DeviceNotOnline | ErrorKind::DeviceDisconnected => 404_103,
        ErrorKind::DeviceAlreadyExists => 409_001,
        ErrorKind::ModuleAlreadyExists => 409_301,
        ErrorKind::PreconditionFailed => 412_001,
        ErrorKind::MessageLockLost => 412_002,
        ErrorKind::TooLarge => 413_001,
        ErrorKind::TooManyModules => 413_003,
        ErrorKind::Throttled => 429_001,
        ErrorKind::BadDeviceResponse => 502_000,
        ErrorKind::Unavailable => 503_001,
        ErrorKind::Busy => 503_005,
        ErrorKind::MethodTimeout => 504_101,
        // `Internal`, and kinds that are younger than this table.
        _ => 500_001,
    }
}

/// The status of a refusal: always three digits, never below 400.
#[must_use]
pub fn status(kind: ErrorKind) -> u32 {
    error_code(kind) / 1000
}

/// Appends the JSON body of a refusal. `tracking` names this one refusal among all of the hub's.
///
/// The Node SDK sees an error only by `errorCode`, and shows `message`.
pub fn write_body(error: &HubError, tracking: (u64, u64), now: Timestamp, out: &mut String) {
    let stamp = now.to_string();
    // `2024-01-02T03:04:05.…` to `01/02/2024 03:04:05`, as the service writes it here.
    let part = |from: usize, to: usize| stamp.get(from..to).unwrap_or("");
    let _ = write!(
        out,
        r#"{{"errorCode":{},"trackingId":"{:016x}{:016x}-G:0-TimeStamp:{}/{}/{} {}","message":""#,
        error_code(error.kind()),
        tracking.0,
        tracking.1,
        part(5, 7),
        part(8, 10),
        part(0, 4),
        part(11, 19),
    );
    write_json_text(error.message(), out);
    let _ = write!(out, r#"","timestampUtc":"{stamp}"}}"#);
}

fn write_json_text(text: &str, out: &mut String) {
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [ErrorKind; 26] = [
        ErrorKind::ArgumentInvalid,
        ErrorKind::DeviceNotFound,
        ErrorKind::ModuleNotFound,
        ErrorKind::DeviceAlreadyExists,
        ErrorKind::ModuleAlreadyExists,
        ErrorKind::DeviceDisabled,
        ErrorKind::PreconditionFailed,
        ErrorKind::MessageLockLost,
        ErrorKind::QueueFull,
        ErrorKind::InvalidExpiry,
        ErrorKind::TooLarge,
        ErrorKind::TooManyModules,
        ErrorKind::TwinTooLarge,
        ErrorKind::DeviceNotOnline,
        ErrorKind::MethodTimeout,
        ErrorKind::DeviceDisconnected,
        ErrorKind::BadDeviceResponse,
        ErrorKind::TooManyMethods,
        ErrorKind::NoSuchPartition,
        ErrorKind::Unauthorized,
        ErrorKind::Forbidden,
        ErrorKind::Busy,
        ErrorKind::Throttled,
        ErrorKind::QuotaExceeded,
        ErrorKind::Unavailable,
        ErrorKind::Internal,
    ];

    #[test]
    fn every_refusal_has_a_number_that_reads_as_an_error() {
        for kind in KINDS {
            assert!((400..600).contains(&status(kind)), "{kind:?}");
        }
        assert_eq!(status(ErrorKind::PreconditionFailed), 412);
        assert_eq!(status(ErrorKind::ArgumentInvalid), 400);
        assert_eq!(status(ErrorKind::Throttled), 429);
        assert_eq!(status(ErrorKind::QuotaExceeded), 403);
    }

    #[test]
    fn a_body_is_json_with_a_code_and_a_message() {
        let mut body = String::new();
        let error = HubError::argument("bad \"key\" \\ \n at 'a'");
        let now = Timestamp::parse("2024-01-02T03:04:05.123Z").unwrap();
        write_body(&error, (1, 0xab), now, &mut body);
        assert_eq!(
            body,
            "{\"errorCode\":400004,\"trackingId\":\"000000000000000100000000000000ab-G:0-\
             TimeStamp:01/02/2024 03:04:05\",\"message\":\"bad \\\"key\\\" \\\\ \\u000a at 'a'\",\
             \"timestampUtc\":\"2024-01-02T03:04:05.1230000Z\"}"
        );
    }
}
