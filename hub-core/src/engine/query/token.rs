//! Continuations: where an answer goes on.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::order::Place;
use crate::error::HubError;
use crate::query::Query;

/// Raised when a reader of the old form would misread the new one.
const FORMAT: u8 = 1;

/// Longest continuation that is looked at.
const LENGTH_MAX: usize = 16 * 1024;

/// Where an answer goes on. Gives no rights: who makes one up reads another part of the answer to the
/// same query.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Token {
    #[serde(rename = "v")]
    format: u8,
    /// Names the query it belongs to.
    #[serde(rename = "q")]
    query: u64,
    /// After which row it goes on.
    #[serde(rename = "p")]
    pub(super) after: After,
    /// How many rows may still come, of a query that says how many it wants.
    #[serde(rename = "l", default, skip_serializing_if = "Option::is_none")]
    pub(super) left: Option<u64>,
}

/// After which row an answer goes on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum After {
    /// In the order of ids.
    #[serde(rename = "i")]
    Id(String),
    /// In another order.
    #[serde(rename = "p")]
    Place(Place),
}

impl Token {
    pub(super) fn new(query: &Query, after: After, left: Option<u64>) -> Self {
        Self { format: FORMAT, query: fingerprint(query), after, left }
    }

    pub(super) fn encode(&self) -> String {
        // Text and numbers can always be written.
        BASE64_URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    pub(super) fn decode(text: &str, query: &Query) -> Result<Self, HubError> {
        let refused = || HubError::argument("the continuation does not belong to this query");
        if text.len() > LENGTH_MAX {
            return Err(refused());
        }
        let json = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| refused())?;
        let token: Self = serde_json::from_slice(&json).map_err(|_| refused())?;
        let known = token.format == FORMAT && token.query == fingerprint(query);
        known.then_some(token).ok_or_else(refused)
    }
}

fn fingerprint(query: &Query) -> u64 {
    let digest = Sha256::digest(query.to_string());
    digest.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::query::order::Key;
    use crate::limits::Limits;
    use crate::query::Direction;

    #[test]
    fn it_comes_back_and_belongs_to_its_query() {
        let query = |text: &str| Query::parse(text, &Limits::default()).unwrap();
        let asked = query("SELECT * FROM devices");
        let keys = [(Key::Number(0.1), Direction::Descending), (Key::Absent, Direction::Ascending)];
        let place = After::Place(Place::new(keys, "d1".into()));
        for token in
            [Token::new(&asked, After::Id("d'1".into()), None), Token::new(&asked, place, Some(3))]
        {
            let text = token.encode();
            assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
            assert_eq!(Token::decode(&text, &query("select *  from devices")), Ok(token));
            assert!(Token::decode(&text, &query("SELECT * FROM devices.modules")).is_err());
            assert!(Token::decode(&text[1..], &asked).is_err());
        }
        for bad in ["", "!", "e30", "bnVsbA", &"A".repeat(20_000)] {
            assert!(Token::decode(bad, &asked).is_err(), "{bad}");
        }
    }
}
