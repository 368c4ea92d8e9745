//! Paths of requests, taken apart once.
//!
//! The path is split at `/` first and each segment decoded afterwards, so that an escaped slash
//! belongs to its segment. A `+` is a plus: it is a legal character of ids.

use std::borrow::Cow;

/// Most segments of a path that is a route's.
const SEGMENTS_MAX: usize = 12;

/// The segments of a path, decoded. One slash at the end is dropped. `None` when the path is longer
/// than any route.
pub(crate) fn segments(path: &str) -> Option<Vec<Cow<'_, str>>> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let path = path.strip_suffix('/').unwrap_or(path);
    let mut found = Vec::with_capacity(8);
    for segment in path.split('/') {
        if found.len() == SEGMENTS_MAX {
            return None;
        }
        found.push(decode(segment));
    }
    Some(found)
}

/// Decodes every `%xx`. What is no escape stands for itself; bytes that are no UTF-8 become the
/// replacement character, which no id contains.
pub(crate) fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let escaped = match (first, tail) {
            (b'%', [high, low, after @ ..]) => {
                digit(*high).zip(digit(*low)).map(|(high, low)| (high << 4 | low, after))
            }
            _ => None,
        };
        let (byte, after) = escaped.unwrap_or((*first, tail));
        out.push(byte);
        rest = after;
    }
    match String::from_utf8(out) {
        Ok(text) => Cow::Owned(text),
        Err(error) => Cow::Owned(String::from_utf8_lossy(error.as_bytes()).into_owned()),
    }
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// The query of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Query<'a>(pub(crate) &'a str);

impl<'a> Query<'a> {
    /// The first value of a parameter, whose name is compared without regard to case; empty where
    /// the parameter has no value.
    pub(crate) fn get(self, name: &str) -> Option<Cow<'a, str>> {
        self.raw(name).map(decode)
    }

    /// The same for a value that may have blanks: a plus is one, as where forms are encoded. Of a
    /// parameter whose value is no id.
    pub(crate) fn form(self, name: &str) -> Option<String> {
        self.raw(name).map(|value| decode(&value.replace('+', " ")).into_owned())
    }

    fn raw(self, name: &str) -> Option<&'a str> {
        self.0.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            decode(key).eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_decoded_after_the_split() {
        let split = |path| segments(path).unwrap();
        assert_eq!(split("/devices/d%201%23x"), ["devices", "d 1#x"]);
        assert_eq!(split("/devices/a%2Fb/"), ["devices", "a/b"]);
        assert_eq!(split("/devices/a+b"), ["devices", "a+b"]);
        assert_eq!(split("/devices/%"), ["devices", "%"]);
        assert_eq!(split("/devices/%ff"), ["devices", "\u{fffd}"]);
        assert_eq!(split("//devices"), ["", "devices"]);
        assert_eq!(split("/"), [""]);
        assert_eq!(segments(&"/x".repeat(13)), None);
    }

    #[test]
    fn a_parameter_may_have_a_value_or_none() {
        let query = Query("reject&api-version=2021-04-12&Top=5&x=a%26b+c");
        assert_eq!(query.get("reject").as_deref(), Some(""));
        assert_eq!(query.get("API-Version").as_deref(), Some("2021-04-12"));
        assert_eq!(query.get("top").as_deref(), Some("5"));
        assert_eq!(query.get("x").as_deref(), Some("a&b+c"));
        assert_eq!(query.form("x").as_deref(), Some("a&b c"));
        assert_eq!(Query("x=a%2Bb").form("x").as_deref(), Some("a+b"));
        assert_eq!(query.get("y"), None);
        assert_eq!(Query("").get(""), Some("".into()));
    }
}
