//! Single values out of a stored twin, without reading the whole of it.
//!
//! A query looks at a few values of many twins. Reading a twin makes a tree with a stamp at each
//! property; here one walk over the text picks what is wanted, and ends when it has all of it.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::Value as Json;
use serde_json::value::RawValue;

use super::codec::FORMAT;
use super::error::DecodeError;
use super::read;
use crate::query::{Case, Path, Step, walk};

/// The slot of the form's number, which is wanted of every twin.
const FORMAT_SLOT: usize = 0;

/// Which values of stored twins are wanted. Made once, used for many twins.
#[derive(Debug, Clone)]
pub struct TwinPaths {
    /// In order: the path, the slot of what is picked for it, and how many of its steps lead there.
    paths: Vec<(Path, usize, usize)>,
    root: Branch,
    slots: usize,
}

/// The values of one twin at the paths of a [`TwinPaths`].
#[derive(Debug, Clone, PartialEq)]
pub struct TwinValues(Vec<Option<Json>>);

/// What is wanted of an object.
#[derive(Debug, Clone, Default)]
struct Branch {
    /// Where the object as a whole goes, if it is wanted. Nothing below is picked by itself then.
    slot: Option<usize>,
    members: BTreeMap<Box<str>, Branch>,
}

impl TwinPaths {
    /// The paths of values that stand in the text of a stored twin as back ends read them: in `tags`,
    /// `properties.desired` and `properties.reported`, their `$version`, and `version`. None if one
    /// of the paths leads elsewhere, to metadata or whole properties: [`Twin::decode`] reads those.
    ///
    /// [`Twin::decode`]: super::Twin::decode
    #[must_use]
    pub fn new<'p>(paths: impl IntoIterator<Item = &'p Path>) -> Option<Self> {
        let mut wanted = Vec::new();
        for path in paths {
            if !stands_in_text(path) {
                return None;
            }
            // An array is picked as a whole.
            let names = path.steps().split(|step| matches!(step, Step::Index(_))).next();
            wanted.push((names.unwrap_or_default(), path));
        }
        // Names come right before those that they are the beginning of.
        wanted.sort_unstable();
        wanted.dedup();
        let mut found = Self { paths: Vec::new(), root: Branch::default(), slots: 1 };
        found.root.members.insert("format".into(), Branch::at(FORMAT_SLOT));
        let mut last: Option<(&[Step], usize)> = None;
        for (names, path) in wanted {
            let (names, slot) = match last {
                Some((above, slot)) if names.starts_with(above) => (above, slot),
                _ => {
                    let slot = found.slots;
                    found.slots += 1;
                    found.root.put(names, slot);
                    (names, slot)
                }
            };
            found.paths.push((path.clone(), slot, names.len()));
            last = Some((names, slot));
        }
        found.paths.sort_unstable();
        Some(found)
    }

    /// Picks the values out of what [`Twin::encode`](super::Twin::encode) wrote. What comes in the
    /// text after the last of them is not looked at.
    ///
    /// # Errors
    ///
    /// The text is not a twin as far as it was read, or has a format that this version does not know.
    pub fn pick(&self, text: &[u8]) -> Result<TwinValues, DecodeError> {
        let unreadable = |reason: String| DecodeError { reason };
        let mut raw: Vec<Option<&RawValue>> = vec![None; self.slots];
        let mut left = self.slots;
        let walk = Walk { branch: &self.root, found: &mut raw, left: &mut left };
        let walked = walk.deserialize(&mut serde_json::Deserializer::from_slice(text));
        if let (Err(error), 1..) = (walked, left) {
            return Err(unreadable(error.to_string()));
        }
        let format = raw.get(FORMAT_SLOT).copied().flatten().map_or("missing", RawValue::get);
        if format.parse() != Ok(FORMAT) {
            return Err(unreadable(format!("format {format}")));
        }
        let value = |raw: Option<&RawValue>| raw.map(read::stored_value).transpose();
        let values = raw.into_iter().map(value).collect::<Result<_, _>>();
        values.map(TwinValues).map_err(|error| unreadable(error.to_string()))
    }

    /// The value at one of the paths. Nothing where the twin has none, and for other paths.
    #[must_use]
    pub fn get<'v>(&self, values: &'v TwinValues, path: &Path) -> Option<&'v Json> {
        let at = self.paths.binary_search_by(|(known, ..)| known.cmp(path)).ok()?;
        let (_, slot, steps) = self.paths.get(at)?;
        let picked = values.0.get(*slot)?.as_ref()?;
        walk(picked, path.steps().get(*steps..)?, Case::Exact)
    }
}

/// Whether what back ends read at a path is what stands there in the text.
fn stands_in_text(path: &Path) -> bool {
    match path.split_first() {
        Some(("tags" | "version", _)) => true,
        Some(("properties", [Step::Member(section), Step::Member(name), ..])) => {
            matches!(&**section, "desired" | "reported") && &**name != "$metadata"
        }
        _ => false,
    }
}

impl Branch {
    fn at(slot: usize) -> Self {
        Self { slot: Some(slot), members: BTreeMap::new() }
    }

    /// Wants what is at these names. Nothing above or below it is wanted.
    fn put(&mut self, names: &[Step], slot: usize) {
        match names.split_first() {
            Some((Step::Member(name), rest)) => {
                self.members.entry(name.clone()).or_default().put(rest, slot);
            }
            _ => self.slot = Some(slot),
        }
    }
}

/// A walk over the text of an object.
struct Walk<'w, 't> {
    branch: &'w Branch,
    found: &'w mut [Option<&'t RawValue>],
    /// How many are wanted and not found.
    left: &'w mut usize,
}

impl<'t> DeserializeSeed<'t> for Walk<'_, 't> {
    type Value = ();

    fn deserialize<D: Deserializer<'t>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'t> Visitor<'t> for Walk<'_, 't> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of a twin")
    }

    fn visit_map<A: MapAccess<'t>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(wanted) = map.next_key_seed(Name(self.branch))? {
            let Some(branch) = wanted else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            if let Some(slot) = branch.slot {
                let raw = map.next_value()?;
                if let Some(place) = self.found.get_mut(slot)
                    && place.replace(raw).is_none()
                {
                    *self.left = self.left.saturating_sub(1);
                }
            } else {
                map.next_value_seed(Walk { branch, found: self.found, left: self.left })?;
            }
            if *self.left == 0 {
                // Nothing more is wanted. A parser cannot be told so in another way.
                return Err(A::Error::custom("enough"));
            }
        }
        Ok(())
    }

    // What is no object has no members: nothing is found in it.
    fn visit_seq<A: SeqAccess<'t>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// Reads a member's name, and gives what is wanted of the member.
struct Name<'b>(&'b Branch);

impl<'b, 't> DeserializeSeed<'t> for Name<'b> {
    type Value = Option<&'b Branch>;

    fn deserialize<D: Deserializer<'t>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'b> Visitor<'_> for Name<'b> {
    type Value = Option<&'b Branch>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a member")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.members.get(name))
    }
}
