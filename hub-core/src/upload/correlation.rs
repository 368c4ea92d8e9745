//! The name of an upload between a device and the hub.

use std::fmt;

use crate::id::SequenceNumber;
use crate::time::Timestamp;

/// Names one upload of a device, from asking for an address to the notification. Opaque to devices,
/// which carry its text.
///
/// It says itself when the upload expires, so that a device which comes late learns that it is late
/// also when nothing of its upload is known any more.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CorrelationId {
    /// The ticket's place in the device's queue.
    pub sequence: SequenceNumber,
    /// When the upload expires.
    pub expiry: Timestamp,
    /// What only the device and the ticket know.
    pub secret: [u8; 16],
}

/// 64 hex digits: safe in a URL and in JSON.
impl fmt::Display for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secret = u128::from_be_bytes(self.secret);
        write!(f, "{:016x}{:016x}{secret:032x}", self.sequence.0, self.expiry.as_millis())
    }
}

/// Does not print the secret (T7).
impl fmt::Debug for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CorrelationId")
            .field("sequence", &self.sequence)
            .field("expiry", &self.expiry)
            .finish_non_exhaustive()
    }
}

/// A text that is no correlation id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a correlation id")]
pub struct BadCorrelationId;

impl std::str::FromStr for CorrelationId {
    type Err = BadCorrelationId;

    fn from_str(text: &str) -> Result<Self, BadCorrelationId> {
        let part = |from: usize, to: usize| {
            // A sign would be taken by the parser of numbers.
            let digits = text
                .get(from..to)
                .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
            digits.and_then(|digits| u128::from_str_radix(digits, 16).ok()).ok_or(BadCorrelationId)
        };
        let small = |number: u128| u64::try_from(number).map_err(|_| BadCorrelationId);
        if text.len() != 64 {
            return Err(BadCorrelationId);
        }
        Ok(Self {
            sequence: SequenceNumber(small(part(0, 16)?)?),
            expiry: Timestamp::from_millis(small(part(16, 32)?)?),
            secret: part(32, 64)?.to_be_bytes(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_text_comes_back(sequence: u64, expiry: u64, secret: [u8; 16]) {
            let expiry = Timestamp::from_millis(expiry);
            let id = CorrelationId { sequence: SequenceNumber(sequence), expiry, secret };
            prop_assert_eq!(id.to_string().parse(), Ok(id));
        }

        #[test]
        fn other_texts_are_refused(text in "\\PC{0,80}") {
            prop_assume!(text.len() != 64 || text.bytes().any(|b| !b.is_ascii_hexdigit()));
            prop_assert_eq!(text.parse::<CorrelationId>(), Err(BadCorrelationId));
        }
    }

    #[test]
    fn a_sign_is_no_digit_and_the_secret_is_not_printed() {
        let text = format!("+{}", "0".repeat(63));
        assert_eq!(text.parse::<CorrelationId>(), Err(BadCorrelationId));
        let secret = [0xab; 16];
        let id = CorrelationId { sequence: SequenceNumber(7), expiry: Timestamp::ZERO, secret };
        assert!(!format!("{id:?}").contains("ab"), "{id:?}");
    }
}
