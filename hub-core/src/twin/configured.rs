//! What configurations have to do with a twin: which ones target it, and what they have put into its
//! desired properties.

use std::collections::BTreeMap;

use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A configuration that targets a twin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Its id.
    pub id: Box<str>,
    /// Tells it from every other of that id.
    pub instance: u64,
    /// Whether its settings are in the desired properties, be it some of them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub applied: bool,
}

impl Mark {
    /// The status, as back ends read it.
    #[must_use]
    pub const fn status(&self) -> &'static str {
        if self.applied { "Applied" } else { "Targeted" }
    }
}

/// Which names in the desired properties configurations have put there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    /// A value.
    Leaf,
    /// Something in an object, or an empty one.
    Members(BTreeMap<Box<str>, Held>),
}

impl Default for Held {
    fn default() -> Self {
        Self::Members(BTreeMap::new())
    }
}

impl Held {
    /// What a patch puts there: its values, and not its nulls.
    #[must_use]
    pub fn of(patch: &Map<String, Value>) -> Self {
        let held = patch.iter().filter_map(|(name, value)| match value {
            Value::Null => None,
            Value::Object(inner) => Some((name.as_str().into(), Self::of(inner))),
            _ => Some((name.as_str().into(), Self::Leaf)),
        });
        Self::Members(held.collect())
    }

    /// The names in an object. None of a value.
    pub fn members(&self) -> impl Iterator<Item = (&str, &Self)> {
        let members = match self {
            Self::Leaf => None,
            Self::Members(members) => Some(members),
        };
        members.into_iter().flatten().map(|(name, held)| (&**name, held))
    }

    /// What is held under a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Leaf => None,
            Self::Members(members) => members.get(name),
        }
    }

    fn is_empty(&self) -> bool {
        matches!(self, Self::Members(members) if members.is_empty())
    }
}

/// As it is stored: `{"fan":{"speed":1}}`.
impl Serialize for Held {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Leaf => serializer.serialize_u8(1),
            Self::Members(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                for (name, held) in members {
                    map.serialize_entry(name, held)?;
                }
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Held {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Stored {
            Members(BTreeMap<Box<str>, Held>),
            Leaf(u8),
        }
        Ok(match Stored::deserialize(deserializer)? {
            Stored::Members(members) => Self::Members(members),
            Stored::Leaf(1) => Self::Leaf,
            Stored::Leaf(_) => return Err(serde::de::Error::custom("no such leaf")),
        })
    }
}

/// What configurations have to do with a twin.
///
/// Part of the twin's document, so that it and the desired properties change together. It is no part
/// of what the twin's versions and etag count.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Configured {
    /// The revision of the configurations it was decided by. Whoever knows only an earlier one
    /// decides nothing.
    pub revision: u64,
    /// The configurations that target the twin, the lowest rank first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub marks: Vec<Mark>,
    /// What configurations have put into the desired properties.
    #[serde(default, skip_serializing_if = "Held::is_empty")]
    pub held: Held,
    /// Whether the desired properties are still to be made what the marks say.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pending: bool,
}

impl Configured {
    /// The mark of a configuration that targets the twin.
    #[must_use]
    pub fn mark(&self, id: &str) -> Option<&Mark> {
        self.marks.iter().find(|mark| &*mark.id == id)
    }

    /// The configurations as back ends read them in a twin: `{"c1":{"status":"Applied"}}`. Serialise
    /// it into text, or into a value.
    #[must_use]
    pub fn statuses(&self) -> Statuses<'_> {
        Statuses(self)
    }
}

/// See [`Configured::statuses`].
#[derive(Debug, Clone, Copy)]
pub struct Statuses<'t>(&'t Configured);

impl Serialize for Statuses<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Status {
            status: &'static str,
        }
        let mut map = serializer.serialize_map(Some(self.0.marks.len()))?;
        for mark in &self.0.marks {
            map.serialize_entry(&mark.id, &Status { status: mark.status() })?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_held_is_stored_and_read_back() {
        let patch = json!({"fan": {"speed": 1, "old": null}, "list": [1], "none": {}, "x": null});
        let held = Held::of(patch.as_object().unwrap());
        let stored = serde_json::to_value(&held).unwrap();
        assert_eq!(stored, json!({"fan": {"speed": 1}, "list": 1, "none": {}}));
        assert_eq!(serde_json::from_value::<Held>(stored).unwrap(), held);
    }

    #[test]
    fn statuses_are_shown_by_id() {
        let mark = |id: &str, applied| Mark { id: id.into(), instance: 1, applied };
        let configured = Configured {
            marks: vec![mark("low", false), mark("high", true)],
            ..Configured::default()
        };
        let shown = serde_json::to_value(configured.statuses()).unwrap();
        let want = json!({"low": {"status": "Targeted"}, "high": {"status": "Applied"}});
        assert_eq!(shown, want);
        let stored = serde_json::to_value(&configured).unwrap();
        assert_eq!(serde_json::from_value::<Configured>(stored).unwrap(), configured);
    }
}
