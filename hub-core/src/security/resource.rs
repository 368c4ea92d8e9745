//! What a token is for: the host it names and the path below it.

use std::fmt;

use super::percent;

/// The names of a hub: the host names that clients address it by.
///
/// Tokens carry the name that the client's connection string has, whatever machine the
/// connection goes to. Compared without regard to case, and without a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubNames(Vec<Box<str>>);

impl HubNames {
    /// A hub of one name, which its connection strings are made with. A port is dropped.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(vec![without_port(name).into()])
    }

    /// With another name that clients may use. A port is dropped.
    #[must_use]
    pub fn with_alias(mut self, alias: &str) -> Self {
        let alias = without_port(alias);
        if !self.contains(alias) {
            self.0.push(alias.into());
        }
        self
    }

    /// The hub's own name.
    #[must_use]
    pub fn primary(&self) -> &str {
        self.0.first().map_or("", |name| name)
    }

    /// All names, the hub's own first.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|name| &**name)
    }

    /// Whether this host, with or without a port, is this hub.
    #[must_use]
    pub fn contains(&self, host: &str) -> bool {
        let host = without_port(host);
        !host.is_empty() && self.iter().any(|name| name.eq_ignore_ascii_case(host))
    }
}

/// `h:1` and `[::1]:1` without their ports. A text with several colons and no bracket is an IPv6
/// address, which has none.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port))
            if port.bytes().all(|b| b.is_ascii_digit())
                && (!name.contains(':') || name.ends_with(']')) =>
        {
            name
        }
        _ => host,
    }
}

/// The resource of a token: a host, and a path whose every continuation it covers.
///
/// Read from the `sr` of a token: decoded once, a scheme (`sb://`, `amqps://`, …) and a trailing
/// `/` dropped, and split into segments. Some tools append a segment `api-version=…` behind the
/// id of the device or module; it is dropped there and nowhere else, or a device with such an id
/// would open all devices.
#[derive(Clone, PartialEq, Eq)]
pub struct Resource {
    host: Vec<u8>,
    segments: Vec<Vec<u8>>,
    spelling: Spelling,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Spelling {
    /// By a client, who may have escaped ids twice.
    Token,
    /// By the hub.
    Exact,
}

impl Resource {
    /// Reads the `sr` of a token, with its escapes.
    #[must_use]
    pub fn parse(sr: &str) -> Self {
        let decoded = percent::decode(sr.as_bytes());
        let mut parts = without_scheme(&decoded).split(|byte| *byte == b'/').map(<[u8]>::to_vec);
        let host = parts.next().unwrap_or_default();
        let mut segments: Vec<Vec<u8>> = parts.collect();
        while segments.last().is_some_and(Vec::is_empty) {
            segments.pop();
        }
        if ends_in_api_version(&segments) {
            segments.pop();
        }
        Self { host, segments, spelling: Spelling::Token }
    }

    /// The resource at a path of the hub, given without escapes: covers just what it spells.
    #[must_use]
    pub fn exactly(host: &str, path: &str) -> Self {
        let segments = split(path).map(<[u8]>::to_vec).collect();
        Self { host: host.as_bytes().to_vec(), segments, spelling: Spelling::Exact }
    }

    /// Whether the host is this hub.
    #[must_use]
    pub fn is_of(&self, names: &HubNames) -> bool {
        std::str::from_utf8(&self.host).is_ok_and(|host| names.contains(host))
    }

    /// Whether this path (`devices/d1/messages/events`, its segments without escapes) is the
    /// resource's own or lies below it, by whole segments.
    ///
    /// A segment of the resource matches as it is and decoded once more, since some SDKs escape
    /// ids twice. Segments that are ids, those behind `devices`, `modules`, `twins` and
    /// `digitaltwins`, match exactly; all others without regard to case.
    #[must_use]
    pub fn covers(&self, path: &str) -> bool {
        let mut wanted = split(path);
        let mut previous: &[u8] = b"";
        self.segments.iter().all(|segment| {
            let Some(want) = wanted.next() else { return false };
            let exact = names_ids(std::mem::replace(&mut previous, want));
            let same = |given: &[u8]| {
                if exact { given == want } else { given.eq_ignore_ascii_case(want) }
            };
            same(segment) || self.spelling == Spelling::Token && same(&percent::decode(segment))
        })
    }
}

impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Resource({:?}", String::from_utf8_lossy(&self.host))?;
        for segment in &self.segments {
            write!(f, " / {:?}", String::from_utf8_lossy(segment))?;
        }
        f.write_str(")")
    }
}

fn split(path: &str) -> impl Iterator<Item = &[u8]> {
    path.as_bytes().split(|byte| *byte == b'/').filter(|segment| !segment.is_empty())
}

fn without_scheme(text: &[u8]) -> &[u8] {
    let name = text.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
    text.get(name..).and_then(|rest| rest.strip_prefix(b"://")).unwrap_or(text)
}

fn names_ids(segment: &[u8]) -> bool {
    [&b"devices"[..], b"modules", b"twins", b"digitaltwins"]
        .iter()
        .any(|collection| segment.eq_ignore_ascii_case(collection))
}

/// `devices/{id}/api-version=…` or `devices/{id}/modules/{id}/api-version=…`, told by position: an
/// id may itself be `devices`, `modules` or `api-version=1`.
fn ends_in_api_version(segments: &[Vec<u8>]) -> bool {
    let last = match segments {
        [devices, _, last] if devices.eq_ignore_ascii_case(b"devices") => last,
        [devices, _, modules, _, last]
            if devices.eq_ignore_ascii_case(b"devices")
                && modules.eq_ignore_ascii_case(b"modules") =>
        {
            last
        }
        _ => return false,
    };
    let last = last.strip_prefix(b"?").unwrap_or(last);
    last.get(..12).is_some_and(|head| head.eq_ignore_ascii_case(b"api-version="))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(sr: &str, path: &str) -> bool {
        Resource::parse(sr).covers(path)
    }

    #[test]
    fn b15_the_prefix_is_by_whole_segments() {
        assert!(covers("h/a/b", "a/b/c"));
        assert!(covers("h/a/b", "/a/b"));
        assert!(!covers("h/a/b", "a/bc"));
        assert!(!covers("h/a/b", "a"));
        assert!(covers("h", "a/b/c"));
        assert!(covers("h%2Fdevices%2F", "devices/d1"));
        assert!(!covers("h%2Fdevices%2Fd1", "devices/d10"));
        assert!(!covers("h/devices//d1", "devices/d1"));
    }

    #[test]
    fn ids_match_exactly_and_words_in_any_case() {
        assert!(covers("h/Devices/d1", "devices/d1/messages/events"));
        assert!(!covers("h/devices/D1", "devices/d1"));
        assert!(!covers("h/devices/d1/modules/M1", "devices/d1/modules/m1"));
        assert!(covers("sb://h/EH/ConsumerGroups/g", "eh/consumergroups/G/Partitions/0"));
        assert!(covers("h/devices/modules/modules/devices", "devices/modules/modules/devices"));
    }

    #[test]
    fn ids_match_as_they_are_and_decoded_once_more() {
        for sr in
            ["h%2Fdevices%2Fa%40b", "h%2fdevices%2fa%2540b", "h/devices/a%40b", "h/devices/a@b"]
        {
            assert!(covers(sr, "devices/a@b"), "{sr}");
        }
        assert!(covers("h%2Fdevices%2F100%25", "devices/100%"));
        assert!(!covers("h%2Fdevices%2Fa%252Fb", "devices/a/b"), "an id has no slash");
        let own = Resource::exactly("h", "devices/a%40b");
        assert!(own.covers("devices/a%40b") && !own.covers("devices/a@b"));
    }

    #[test]
    fn a_trailing_api_version_is_dropped_behind_an_id_only() {
        for sr in ["h%2Fdevices%2Fd1%2Fapi-version%3D2016-11-14", "h/devices/d1/?api-version=x"] {
            assert!(covers(sr, "devices/d1"), "{sr}");
        }
        assert!(covers("h/devices/d/modules/m/api-version=x", "devices/d/modules/m"));
        assert!(!covers("h/devices/api-version=x", "devices/d1"));
        assert!(!covers("h/devices/modules/api-version=x", "devices/d1"));
        assert!(!covers("h/devices/d1/modules/api-version=x", "devices/d1/modules/m"));
        assert!(!covers("h/devices/devices/modules/api-version=x", "devices/devices/modules/m"));
        assert!(!covers("h/api-version=x", "devices/d1"));
    }

    #[test]
    fn a_host_may_have_a_port_and_any_case() {
        let names = HubNames::new("Hub.Example:443")
            .with_alias("localhost:8443")
            .with_alias("[::1]:8883")
            .with_alias("HUB.example");
        assert_eq!(names.iter().collect::<Vec<_>>(), ["Hub.Example", "localhost", "[::1]"]);
        for sr in [
            "hub.example",
            "HUB.EXAMPLE%3A8883/devices",
            "localhost:5671",
            "localhost%3a443",
            "%5B%3A%3A1%5D%3A8883",
            "sb%3A%2F%2Flocalhost%2Feh",
            "amqps://localhost:5671/eh",
        ] {
            assert!(Resource::parse(sr).is_of(&names), "{sr}");
        }
        for sr in
            ["", "/devices", "hub.example.org", "localhost:80x", "hub", "%FF", "localhost:1:2"]
        {
            assert!(!Resource::parse(sr).is_of(&names), "{sr}");
        }
    }
}
