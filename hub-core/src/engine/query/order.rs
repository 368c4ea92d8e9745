//! The order of rows.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::query::{Direction, Value};

/// Longest text that counts for the order, in bytes. Places in an order travel in continuations,
/// which travel in headers. Ids are not longer.
const TEXT_MAX: usize = 128;

/// What a row is ordered by: kinds in this order, values of one kind among themselves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Key {
    /// There is nothing.
    #[serde(rename = "-")]
    Absent,
    #[serde(rename = "0")]
    Null,
    #[serde(rename = "b")]
    Bool(bool),
    #[serde(rename = "n")]
    Number(f64),
    /// Cut where it is longer than what counts.
    #[serde(rename = "t")]
    Text(String),
    /// An array or an object.
    #[serde(rename = "o")]
    Other,
}

impl Key {
    pub(super) fn of(value: &Value<'_>) -> Self {
        match value {
            Value::Null | Value::Bare => Self::Null,
            Value::Bool(value) => Self::Bool(*value),
            Value::Number(value) => Self::Number(*value),
            Value::Text(text) => {
                let end = text.floor_char_boundary(TEXT_MAX);
                Self::Text(text.get(..end).unwrap_or("").to_owned())
            }
            Value::Array | Value::Object => Self::Other,
            _ => Self::Absent,
        }
    }

    pub(super) fn of_json(value: Option<&Json>) -> Self {
        Self::of(&Value::of_json(value))
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Absent => 0,
            Self::Null => 1,
            Self::Bool(_) => 2,
            Self::Number(_) => 3,
            Self::Text(_) => 4,
            Self::Other => 5,
        }
    }
}

impl Eq for Key {}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Text by its bytes: an order that is the same in every store.
impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => a.cmp(b),
            (Self::Number(a), Self::Number(b)) => a.total_cmp(b),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

/// The place of a row in an answer: its keys, and what tells it from all others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    #[serde(rename = "k")]
    keys: Vec<(Key, Turn)>,
    #[serde(rename = "i")]
    id: String,
}

/// Which way a key counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Turn {
    #[serde(rename = "a")]
    Ascending,
    #[serde(rename = "d")]
    Descending,
}

impl Place {
    pub(super) fn new(keys: impl IntoIterator<Item = (Key, Direction)>, id: String) -> Self {
        let keys = keys.into_iter().map(|(key, direction)| match direction {
            Direction::Ascending => (key, Turn::Ascending),
            Direction::Descending => (key, Turn::Descending),
        });
        Self { keys: keys.collect(), id }
    }
}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Place {
    fn cmp(&self, other: &Self) -> Ordering {
        let keys = self.keys.iter().zip(&other.keys).map(|((a, turn), (b, _))| match turn {
            Turn::Ascending => a.cmp(b),
            Turn::Descending => b.cmp(a),
        });
        keys.fold(Ordering::Equal, Ordering::then).then_with(|| self.id.cmp(&other.id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_ordered_and_values_within_them() {
        let text = |text: &str| Key::Text(text.to_owned());
        let right = [
            Key::Absent,
            Key::Null,
            Key::Bool(false),
            Key::Bool(true),
            Key::Number(f64::NEG_INFINITY),
            Key::Number(-1.0),
            Key::Number(2.0),
            text(""),
            text("B"),
            text("a"),
            Key::Other,
        ];
        for (i, a) in right.iter().enumerate() {
            for (j, b) in right.iter().enumerate() {
                assert_eq!(a.cmp(b), i.cmp(&j), "{a:?} {b:?}");
            }
        }
        let back = right.iter().map(|key| serde_json::to_string(key).unwrap());
        // Infinity cannot be said in JSON, and no twin has it.
        let back: Vec<Key> = back.filter_map(|text| serde_json::from_str(&text).ok()).collect();
        assert_eq!(back.len(), right.len() - 1);
        assert!(back.is_sorted());
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        let Key::Text(cut) = Key::of(&Value::Text("ä".repeat(100).into())) else { panic!() };
        assert_eq!(cut.len(), 128);
        let Key::Text(cut) = Key::of(&Value::Text(format!("a{}", "ä".repeat(100)).into())) else {
            panic!()
        };
        assert_eq!(cut.len(), 127);
    }

    #[test]
    fn what_counts_first_decides_and_ids_decide_last() {
        let place = |a: f64, b: f64, id: &str| {
            let keys =
                [(Key::Number(a), Direction::Descending), (Key::Number(b), Direction::Ascending)];
            Place::new(keys, id.to_owned())
        };
        let right = [
            place(2.0, 1.0, "z"),
            place(1.0, 1.0, "a"),
            place(1.0, 1.0, "b"),
            place(1.0, 2.0, "a"),
        ];
        assert!(right.is_sorted());
    }
}
