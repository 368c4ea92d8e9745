//! What a configuration sets: paths in the desired properties, and values.

use serde_json::{Map, Value};

use crate::error::{ErrorKind, HubError};
use crate::limits::Limits;
use crate::twin::Patch;

/// Whose twins a content is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Devices: `deviceContent`.
    Device,
    /// Modules: `moduleContent`.
    Module,
}

impl Kind {
    /// The member of the content that has the settings.
    #[must_use]
    pub const fn member(self) -> &'static str {
        match self {
            Self::Device => "deviceContent",
            Self::Module => "moduleContent",
        }
    }
}

/// A path in the desired properties, and what is put there.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// The names below `properties.desired`; none for all of it.
    pub path: Box<[Box<str>]>,
    /// The value: an object is merged into what is there, null removes.
    pub value: Value,
}

/// What a configuration sets.
#[derive(Debug, Clone, PartialEq)]
pub struct Content {
    /// Whose twins it is for.
    pub kind: Kind,
    /// The settings, in byte order of their paths. No path leads into another.
    pub settings: Vec<Setting>,
}

/// What every path begins with.
const ROOT: &str = "properties.desired";

/// The member of a content for the modules of an edge device.
const EDGE: &str = "modulesContent";

impl Content {
    /// Reads `{"deviceContent":{"properties.desired.a.b":1}}`, or `moduleContent`: exactly one of
    /// the two. Members that are null count as absent.
    ///
    /// # Errors
    /// `ConfigurationContentInvalid`: no content, or of both kinds, or for the modules of edge
    /// devices, which configurations do not set; a path outside of the desired properties; paths of
    /// which one leads into another; names or values that no twin could have.
    pub fn parse(content: &Value, limits: &Limits) -> Result<Self, HubError> {
        let members = content.as_object().ok_or_else(|| invalid("the content is no object"))?;
        let given = |name: &str| members.get(name).filter(|value| !value.is_null());
        if given(EDGE).is_some() {
            let message = "modulesContent: deployments to the modules of edge devices are not \
                           evaluated by this hub; apply the content to each device";
            return Err(invalid(message));
        }
        let (kind, settings) = match (given("deviceContent"), given("moduleContent")) {
            (Some(settings), None) => (Kind::Device, settings),
            (None, Some(settings)) => (Kind::Module, settings),
            _ => return Err(invalid("there must be one of deviceContent and moduleContent")),
        };
        let known = ["deviceContent", "moduleContent", EDGE];
        if let Some(other) = members.keys().find(|name| !known.contains(&name.as_str())) {
            return Err(invalid(format!("{other:?} is no member of a content")));
        }
        let settings = settings
            .as_object()
            .ok_or_else(|| invalid(format!("{} is no object", kind.member())))?;
        Ok(Self { kind, settings: parse_settings(settings, limits)? })
    }
}

/// Reads settings: paths that begin with `properties.desired`, and values.
///
/// # Errors
/// `ConfigurationContentInvalid`, as [`Content::parse`].
pub(crate) fn parse_settings(
    settings: &Map<String, Value>,
    limits: &Limits,
) -> Result<Vec<Setting>, HubError> {
    let mut parsed = Vec::with_capacity(settings.len());
    for (path, value) in settings {
        parsed.push(setting(path, value, limits)?);
    }
    // Names in byte order bring a path next to those that lead into it.
    parsed.sort_by(|a: &Setting, b| a.path.cmp(&b.path));
    let into = |pair: &[Setting]| match pair {
        [a, b] => b.path.starts_with(&a.path).then(|| (a.path.join("."), b.path.join("."))),
        _ => None,
    };
    if let Some((outer, inner)) = parsed.windows(2).find_map(into) {
        let message = format!("the path {inner:?} leads into the path {outer:?}");
        return Err(invalid(message));
    }
    Ok(parsed)
}

fn setting(path: &str, value: &Value, limits: &Limits) -> Result<Setting, HubError> {
    let outside = || invalid(format!("{path:?}: a path must begin with {ROOT}"));
    let below = path.strip_prefix(ROOT).ok_or_else(outside)?;
    let names: Box<[Box<str>]> = match below.strip_prefix('.') {
        Some(names) => names.split('.').map(Into::into).collect(),
        None if below.is_empty() => Box::default(),
        None => return Err(outside()),
    };
    if names.is_empty() && !value.is_object() {
        return Err(invalid(format!("{ROOT}: the value must be an object")));
    }
    if names.iter().any(|name| name.is_empty()) {
        return Err(invalid(format!("{path:?}: a name is empty")));
    }
    // What a patch could not do, no twin could have.
    Patch::from_value(&nested(&names, value.clone()), limits)
        .map_err(|error| invalid(format!("{path}: {error}")))?;
    Ok(Setting { path: names, value: value.clone() })
}

/// The patch that puts a value at a path.
pub(super) fn nested(path: &[Box<str>], value: Value) -> Value {
    path.iter().rev().fold(value, |inner, name| {
        let mut members = Map::new();
        members.insert(name.to_string(), inner);
        Value::Object(members)
    })
}

fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> HubError {
    HubError::new(ErrorKind::ConfigurationContentInvalid, message)
}
