//! From JSON text to the members of a section: one walk that checks every limit on its way.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};

use super::error::{Path, TwinError};
use super::patch::{Member, Members};
use crate::limits::Limits;

/// The deepest nesting below a section's root that is read, whatever
/// [`Limits::twin_depth_max`] says: walks over a twin recurse, and the stack has an end.
pub const DEPTH_CEILING: usize = 50;

/// What a value has to keep to.
#[derive(Clone, Copy)]
pub(super) struct Rules {
    name_bytes_max: usize,
    string_bytes_max: usize,
    depth_max: usize,
    integer_min: i64,
    integer_max: i64,
}

impl Rules {
    pub(super) fn of(limits: &Limits) -> Self {
        Self {
            name_bytes_max: limits.twin_key_bytes_max,
            string_bytes_max: limits.twin_string_bytes_max,
            depth_max: limits.twin_depth_max.min(DEPTH_CEILING),
            integer_min: limits.twin_integer_min,
            integer_max: limits.twin_integer_max,
        }
    }

    /// For what was accepted before: a limit that was lowered since must not make it unreadable.
    pub(super) const STORED: Self = Self {
        name_bytes_max: usize::MAX,
        string_bytes_max: usize::MAX,
        depth_max: DEPTH_CEILING,
        integer_min: i64::MIN,
        integer_max: i64::MAX,
    };
}

/// Checks that the text is JSON and finds its end. Later steps look at pieces of it.
pub(super) fn document(text: &[u8]) -> Result<&RawValue, TwinError> {
    serde_json::from_slice(text).map_err(|error| TwinError::json(&error))
}

/// The members of an object as they stand in the text, duplicates included.
pub(super) fn entries<'t>(raw: &'t RawValue, path: &Path<'_>) -> Result<Entries<'t>, TwinError> {
    if !raw.get().starts_with('{') {
        return Err(TwinError::NotAnObject { path: path.to_string() });
    }
    serde_json::from_str(raw.get()).map_err(|error| TwinError::json(&error))
}

/// The members of a section. `$version` and `$metadata` at its root are ignored: clients send back
/// what they have read.
pub(super) fn section(
    raw: &RawValue,
    rules: &Rules,
    path: &Path<'_>,
) -> Result<Members, TwinError> {
    let mut entries = entries(raw, path)?;
    entries.0.retain(|(name, _)| !matches!(&**name, "$version" | "$metadata"));
    members(entries, rules, path, 0)
}

/// `level` counts the objects and arrays around these members, without the section's root.
fn members(
    entries: Entries<'_>,
    rules: &Rules,
    path: &Path<'_>,
    level: usize,
) -> Result<Members, TwinError> {
    let mut found = Vec::with_capacity(entries.0.len());
    for (name, raw) in entries.0 {
        let path = &Path::Name(path, &name);
        check_name(&name, rules, path)?;
        let member = match first_byte(raw) {
            b'n' => Member::Null,
            b'{' => {
                let level = deeper(level, rules, path)?;
                Member::Object(members(self::entries(raw, path)?, rules, path, level)?)
            }
            _ => Member::Leaf(value(raw, rules, path, level)?),
        };
        found.push((name, member));
    }
    Ok(Members::new(found))
}

/// A scalar, an array, or anything inside an array; there, and only there, null is refused.
fn value(raw: &RawValue, rules: &Rules, path: &Path<'_>, level: usize) -> Result<Value, TwinError> {
    match first_byte(raw) {
        b'n' => Err(TwinError::NullInArray { path: path.to_string() }),
        b't' => Ok(Value::Bool(true)),
        b'f' => Ok(Value::Bool(false)),
        b'"' => string(raw, rules, path).map(Value::String),
        b'[' => {
            let level = deeper(level, rules, path)?;
            let elements: Vec<&RawValue> =
                serde_json::from_str(raw.get()).map_err(|error| TwinError::json(&error))?;
            let elements = elements.into_iter().enumerate();
            elements.map(|(i, raw)| value(raw, rules, &Path::Index(path, i), level)).collect()
        }
        b'{' => {
            let level = deeper(level, rules, path)?;
            let mut map = Map::new();
            for (name, raw) in entries(raw, path)?.0 {
                let path = &Path::Name(path, &name);
                check_name(&name, rules, path)?;
                let value = value(raw, rules, path, level)?;
                map.insert(name.into(), value);
            }
            Ok(Value::Object(map))
        }
        _ => number(raw.get(), rules, path).map(Value::Number),
    }
}

/// Any value of a stored twin, a whole section included.
pub(super) fn stored_value(text: &str) -> Result<Value, TwinError> {
    let raw = serde_json::from_str(text).map_err(|error| TwinError::json(&error))?;
    // A section's root is a level of its own here.
    let rules = Rules { depth_max: DEPTH_CEILING + 1, ..Rules::STORED };
    value(raw, &rules, &Path::Root, 0)
}

/// Tells the kind of a value. Raw values never begin with a blank and are never empty.
fn first_byte(raw: &RawValue) -> u8 {
    raw.get().bytes().next().unwrap_or(b'n')
}

fn deeper(level: usize, rules: &Rules, path: &Path<'_>) -> Result<usize, TwinError> {
    if level >= rules.depth_max {
        return Err(TwinError::TooDeep { path: path.to_string(), limit: rules.depth_max });
    }
    Ok(level + 1)
}

fn check_name(name: &str, rules: &Rules, path: &Path<'_>) -> Result<(), TwinError> {
    if name.len() > rules.name_bytes_max {
        let (bytes, limit) = (name.len(), rules.name_bytes_max);
        return Err(TwinError::NameTooLong { path: path.to_string(), bytes, limit });
    }
    let refused = |c: char| matches!(c, '$' | '.') || c.is_whitespace() || c.is_control();
    match name.chars().find(|c| refused(*c)) {
        None => Ok(()),
        Some(character) => Err(TwinError::NameInvalid { path: path.to_string(), character }),
    }
}

fn string(raw: &RawValue, rules: &Rules, path: &Path<'_>) -> Result<String, TwinError> {
    let text: String = serde_json::from_str(raw.get()).map_err(|error| TwinError::json(&error))?;
    if text.len() > rules.string_bytes_max {
        let (bytes, limit) = (text.len(), rules.string_bytes_max);
        return Err(TwinError::StringTooLong { path: path.to_string(), bytes, limit });
    }
    Ok(text)
}

/// Reads a number from its own text. A general parser turns integers of more than 64 bits into
/// floating-point numbers without a word, which would step around the limit, and may be off in
/// the last bit of a fraction, so that a stored twin would not read back as it was.
fn number(text: &str, rules: &Rules, path: &Path<'_>) -> Result<Number, TwinError> {
    if text.contains(['.', 'e', 'E']) {
        let float = text.parse().ok().and_then(Number::from_f64);
        return float.ok_or_else(|| TwinError::NumberOutOfRange { path: path.to_string() });
    }
    let (min, max) = (rules.integer_min, rules.integer_max);
    match text.parse::<i64>() {
        Ok(integer) if (min..=max).contains(&integer) => Ok(integer.into()),
        _ => Err(TwinError::IntegerOutOfRange { path: path.to_string(), min, max }),
    }
}

/// The members of a JSON object, their values not looked at yet.
///
/// Keeping values raw costs a scan per level, and levels are few. It buys errors with their type
/// and path, which do not survive a parser's own error type, and numbers as they were written.
pub(super) struct Entries<'t>(pub(super) Vec<(Box<str>, &'t RawValue)>);

impl<'t> Entries<'t> {
    /// The last member with this name.
    pub(super) fn get(&self, wanted: &str) -> Option<&'t RawValue> {
        self.0.iter().rev().find(|(name, _)| &**name == wanted).map(|(_, raw)| *raw)
    }
}

impl<'t> Deserialize<'t> for Entries<'t> {
    fn deserialize<D: Deserializer<'t>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;

        impl<'t> Visitor<'t> for Collect {
            type Value = Entries<'t>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'t>>(self, mut map: A) -> Result<Entries<'t>, A::Error> {
                let mut found = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    found.push(entry);
                }
                Ok(Entries(found))
            }
        }

        deserializer.deserialize_map(Collect)
    }
}
