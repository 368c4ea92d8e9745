//! What an error of the server means for the hub.

use hub_core::store::StoreError;
use tokio_postgres::Error;
use tokio_postgres::error::Severity;

/// What became of a transaction whose statements ended with an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// A guard did not hold, or a row was there already: it was rolled back, and is to be judged.
    Refused,
    /// It lost a race that the next try will not lose again: rolled back.
    Again,
    /// Rolled back, or never begun; the server will do it another time.
    Unavailable,
    /// The answer is missing.
    Unknown,
    /// Rolled back, and no later try will do better.
    Fatal,
}

/// What the hub's own function says when a guard does not hold.
const HOLD: &str = "HB001";

/// What an error means. `committing` is whether the transaction's end had been asked for as well: then
/// a connection that ends leaves it open whether it happened.
pub(crate) fn judge(error: &Error, committing: bool) -> Failure {
    let lost = if committing { Failure::Unknown } else { Failure::Unavailable };
    let Some(db) = error.as_db_error() else {
        // What is no word of the server's is the connection's end, or a value that the driver could
        // not write or read. That one comes again and again.
        return if is_driver(error) { Failure::Fatal } else { lost };
    };
    let failure = of_state(db.code().code());
    match db.parsed_severity() {
        // The server ends the connection. Its last word need not be the transaction's.
        Some(Severity::Fatal | Severity::Panic) if failure != Failure::Fatal => lost,
        _ => failure,
    }
}

/// Whether the driver itself refused a value. It has no kinds, only texts.
fn is_driver(error: &Error) -> bool {
    let text = error.to_string();
    [
        "error serializing",
        "error deserializing",
        "query returned",
        "invalid column",
        "error encoding",
    ]
    .iter()
    .any(|known| text.starts_with(known))
}

/// By the server's code, for an error that has rolled its transaction back.
fn of_state(code: &str) -> Failure {
    match code {
        HOLD | "23505" => Failure::Refused,
        // Serialization, deadlock, a lock not to be had in time.
        "40001" | "40P01" | "55P03" => Failure::Again,
        // A plan that a migration has made void; the next one is made anew.
        "0A000" | "26000" => Failure::Again,
        // Not defined: the schema or its tables are gone, or were changed by hand.
        "3F000" | "42P01" | "42703" | "42883" | "42804" => Failure::Fatal,
        // Not allowed any more.
        "42501" => Failure::Fatal,
        // The tables are damaged.
        "XX001" | "XX002" => Failure::Fatal,
        _ => match code.get(..2) {
            // Connection, resources (disk, memory, connections), operator, system: another time.
            // A standby (25006) becomes a primary, or another server does. 57014: out of time.
            Some("08" | "53" | "57" | "58" | "25" | "28" | "3D" | "40" | "XX" | "F0") => {
                Failure::Unavailable
            }
            // Data that does not fit, constraints, syntax, limits of the program.
            _ => Failure::Fatal,
        },
    }
}

/// The error for the hub.
pub(crate) fn store_error(operation: &'static str, error: Error, committing: bool) -> StoreError {
    match judge(&error, committing) {
        Failure::Unknown => StoreError::unknown(operation, error),
        Failure::Fatal => StoreError::fatal(operation, error),
        Failure::Refused | Failure::Again | Failure::Unavailable => {
            StoreError::unavailable(operation, error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_has_a_meaning() {
        for (code, meaning) in [
            ("HB001", Failure::Refused),
            ("23505", Failure::Refused),
            ("40001", Failure::Again),
            ("40P01", Failure::Again),
            ("55P03", Failure::Again),
            ("0A000", Failure::Again),
            ("08006", Failure::Unavailable),
            ("25006", Failure::Unavailable),
            ("28P01", Failure::Unavailable),
            ("3D000", Failure::Unavailable),
            ("53100", Failure::Unavailable),
            ("53300", Failure::Unavailable),
            ("57014", Failure::Unavailable),
            ("57P01", Failure::Unavailable),
            ("57P03", Failure::Unavailable),
            ("58030", Failure::Unavailable),
            ("XX000", Failure::Unavailable),
            ("XX001", Failure::Fatal),
            ("3F000", Failure::Fatal),
            ("42P01", Failure::Fatal),
            ("42501", Failure::Fatal),
            ("42601", Failure::Fatal),
            ("22021", Failure::Fatal),
            ("23514", Failure::Fatal),
            ("54000", Failure::Fatal),
        ] {
            assert_eq!(of_state(code), meaning, "{code}");
        }
    }
}
