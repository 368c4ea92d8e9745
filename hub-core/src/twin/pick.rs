//! Single values out of a stored twin, without reading the whole of it.
//!
//! A query looks at a few values of many twins. Reading a twin makes a tree with a stamp at each
//! property; here one walk over the text picks what is wanted, and ends when it has all of it.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::codec::FORMAT;
use super::cursor::{Cursor, NotJson};
use super::error::DecodeError;
use super::read;
use crate::query::{Case, Path, Step, walk};

/// The slot of the form's number, which is wanted of every twin.
const FORMAT_SLOT: usize = 0;

/// Most names of a path: more than a twin has in one another. The walk is as deep as the paths.
const NAMES_MAX: usize = read::DEPTH_CEILING + 8;

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
    /// `properties.desired` and `properties.reported`, their `$version`, `version` and `configurations`. None if one
    /// of the paths leads elsewhere (to metadata, or whole properties) or is deeper than twins are:
    /// [`Twin::decode`] is for those.
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
            let names = names.unwrap_or_default();
            if names.len() > NAMES_MAX {
                return None;
            }
            wanted.push((names, path));
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
        let text = str::from_utf8(text).map_err(|error| unreadable(error.to_string()))?;
        let mut found: Vec<Option<&str>> = vec![None; self.slots];
        let mut walk = Walk { cursor: Cursor::new(text), found: &mut found, left: self.slots };
        walk.look(&self.root).map_err(|error| unreadable(error.to_string()))?;
        let format = found.get(FORMAT_SLOT).copied().flatten().unwrap_or("missing");
        if format.parse() != Ok(FORMAT) {
            return Err(unreadable(format!("format {format}")));
        }
        let value = |raw: Option<&str>| raw.map(read::stored_value).transpose();
        let values = found.into_iter().map(value).collect::<Result<_, _>>();
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
        Some(("tags" | "version" | "configurations", _)) => true,
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

/// A walk over the text as far as something is wanted of it.
struct Walk<'w, 't> {
    cursor: Cursor<'t>,
    found: &'w mut [Option<&'t str>],
    /// How many are wanted and not found.
    left: usize,
}

impl Walk<'_, '_> {
    /// Looks through the value that the cursor is at for what is wanted of it. What is no object has
    /// no members: nothing is found in it.
    fn look(&mut self, branch: &Branch) -> Result<(), NotJson> {
        if !self.cursor.takes(b'{') {
            return self.cursor.value().map(drop);
        }
        while !self.cursor.takes(b'}') {
            let name = self.cursor.name()?;
            match branch.members.get(&*name) {
                Some(Branch { slot: Some(slot), .. }) => {
                    let value = self.cursor.value()?;
                    if let Some(place) = self.found.get_mut(*slot)
                        && place.replace(value).is_none()
                    {
                        self.left = self.left.saturating_sub(1);
                    }
                }
                Some(inner) => self.look(inner)?,
                None => self.cursor.value().map(drop)?,
            }
            if self.left == 0 {
                return Ok(());
            }
            self.cursor.takes(b',');
        }
        Ok(())
    }
}
