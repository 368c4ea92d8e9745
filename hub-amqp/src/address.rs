//! Addresses of links: what they are for.

use std::borrow::Cow;

use hub_core::Address;
use hub_core::id::Partition;
use hub_core::security::HubNames;

/// What a device's link is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeviceNode {
    /// Telemetry.
    Events,
    /// Cloud-to-device messages.
    Messages,
    /// The twin, both ways.
    Twin,
    /// Direct methods, both ways.
    Methods,
}

/// What a link is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// Tokens.
    Cbs,
    /// What the log holds.
    Management,
    /// Messages to devices.
    DeviceBound,
    /// Feedback on these.
    Feedback,
    /// Notifications of uploaded files.
    FileNotifications,
    /// The event log.
    Events {
        /// The path that a token must cover: as addressed, without host and escapes.
        path: String,
        /// The consumer group, in small letters.
        group: String,
        /// The partition.
        partition: Partition,
    },
    /// Something of a device or module. An id may be escaped or not, and `%` is legal in one: those
    /// who could be meant, the likelier first.
    Device(Vec<Address>, DeviceNode),
}

/// The path of an address: without scheme and host, and without a slash at either end.
fn path(address: &str) -> &str {
    let path = match address.split_once("://") {
        Some((_, rest)) => rest.split_once('/').map_or("", |(_, path)| path),
        None => address,
    };
    path.trim_matches('/')
}

/// Reads the address of a link. `None` if nothing is served there. `names` are the hub's names, by
/// one of which the event log is addressed; the first label of a name will do.
#[must_use]
pub fn parse(address: &str, names: &HubNames) -> Option<Node> {
    let path = path(address);
    let segments: Vec<&str> = path.split('/').collect();
    let is = |segment: &str, word: &str| segment.eq_ignore_ascii_case(word);
    match *segments.as_slice() {
        [cbs] if is(cbs, "$cbs") => Some(Node::Cbs),
        [management] if is(management, "$management") => Some(Node::Management),
        [entity, management] if is(management, "$management") && is_log(&[entity], names) => {
            Some(Node::Management)
        }
        [messages, events, management]
            if is(management, "$management") && is_log(&[messages, events], names) =>
        {
            Some(Node::Management)
        }
        [messages, bound] if is(messages, "messages") && is(bound, "devicebound") => {
            Some(Node::DeviceBound)
        }
        [messages, bound, what] if is(messages, "messages") && is(bound, "servicebound") => {
            if is(what, "feedback") {
                Some(Node::Feedback)
            } else {
                is(what, "filenotifications").then_some(Node::FileNotifications)
            }
        }
        [devices, id, ref rest @ ..] if is(devices, "devices") => device(id, rest),
        [ref log @ .., groups, group, partitions, partition]
            if is(groups, "consumergroups") && is(partitions, "partitions") =>
        {
            events(path, log, group, partition, names)
        }
        [ref log @ .., partitions, partition] if is(partitions, "partitions") => {
            events(path, log, "$Default", partition, names)
        }
        _ => None,
    }
}

/// Whether these segments name the event log: one of the hub's names, or `messages/events`.
#[must_use]
pub fn is_log(segments: &[&str], names: &HubNames) -> bool {
    match segments {
        [messages, events] => {
            messages.eq_ignore_ascii_case("messages") && events.eq_ignore_ascii_case("events")
        }
        [entity] => names.iter().any(|name| {
            entity.eq_ignore_ascii_case(name) || entity.eq_ignore_ascii_case(first_label(name))
        }),
        _ => false,
    }
}

/// The name of the event log of a hub: its host name up to the first dot.
#[must_use]
pub fn log_name(names: &HubNames) -> &str {
    first_label(names.primary())
}

fn first_label(name: &str) -> &str {
    // An address in numbers has no labels.
    if name.parse::<std::net::IpAddr>().is_ok() {
        return name;
    }
    name.split_once('.').map_or(name, |(label, _)| label)
}

fn events(
    path: &str,
    log: &[&str],
    group: &str,
    partition: &str,
    names: &HubNames,
) -> Option<Node> {
    if !is_log(log, names) {
        return None;
    }
    let partition = partition.parse().map(Partition).ok()?;
    let (path, group) = (unescaped(path).into_owned(), unescaped(group).to_ascii_lowercase());
    Some(Node::Events { path, group, partition })
}

fn device(id: &str, rest: &[&str]) -> Option<Node> {
    let (module, rest) = match *rest {
        [modules, module, ref rest @ ..] if modules.eq_ignore_ascii_case("modules") => {
            (Some(module), rest)
        }
        ref rest => (None, rest),
    };
    let is = |segment: &str, word: &str| segment.eq_ignore_ascii_case(word);
    let node = match *rest {
        [messages, events] if is(messages, "messages") && is(events, "events") => {
            DeviceNode::Events
        }
        [messages, bound] if is(messages, "messages") && is(bound, "devicebound") => {
            DeviceNode::Messages
        }
        [methods, bound] if is(methods, "methods") && is(bound, "devicebound") => {
            DeviceNode::Methods
        }
        [twin] if is(twin, "twin") => DeviceNode::Twin,
        _ => return None,
    };
    let found = identities(id, module);
    (!found.is_empty()).then_some(Node::Device(found, node))
}

/// Whom ids in a path may mean: as they stand, and without escapes.
fn identities(device: &str, module: Option<&str>) -> Vec<Address> {
    let parse = |device: &str, module: Option<&str>| match module {
        Some(module) => Address::parse(&format!("{device}/{module}")).ok(),
        // A slash would make a module of it.
        None => (!device.contains('/')).then(|| Address::parse(device).ok()).flatten(),
    };
    let plain = parse(device, module);
    let module = module.map(unescaped);
    let decoded = parse(&unescaped(device), module.as_deref());
    let mut found: Vec<Address> = plain.into_iter().collect();
    found.extend(decoded.filter(|decoded| !found.contains(decoded)));
    found
}

/// Whom a message is for, by its `to`: `/devices/{id}[/modules/{id}]/messages/devicebound`. Those
/// who could be meant, the likelier first; none if it names nobody.
#[must_use]
pub fn recipients(to: &str) -> Vec<Address> {
    let segments: Vec<&str> = path(to).split('/').collect();
    match *segments.as_slice() {
        [devices, id, ref rest @ ..] if devices.eq_ignore_ascii_case("devices") => {
            match device(id, rest) {
                Some(Node::Device(found, DeviceNode::Messages)) => found,
                _ => Vec::new(),
            }
        }
        _ => Vec::new(),
    }
}

/// Whom a resource of a token names, if it is the path of a device or module or goes on below one.
/// `resource` has its escapes; a client may have escaped ids twice.
#[must_use]
pub fn owners(resource: &str) -> Vec<Address> {
    let decoded = unescaped(resource);
    let path = match decoded.split_once("://") {
        Some((_, rest)) => rest,
        None => &decoded,
    };
    let Some((_, path)) = path.split_once('/') else { return Vec::new() };
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    match *segments.as_slice() {
        [devices, id, modules, module, ..]
            if devices.eq_ignore_ascii_case("devices")
                && modules.eq_ignore_ascii_case("modules") =>
        {
            identities(id, Some(module))
        }
        [devices, id, ..] if devices.eq_ignore_ascii_case("devices") => identities(id, None),
        _ => Vec::new(),
    }
}

/// Without escapes. What is no escape stays, and so does a plus, which ids may have.
#[must_use]
pub fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let digits = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match byte {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = tail.get(2..).unwrap_or(&[]);
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).map_or(Cow::Borrowed(text), Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> HubNames {
        HubNames::new("myhub.example.net").with_alias("localhost")
    }

    fn node(address: &str) -> Option<Node> {
        parse(address, &names())
    }

    fn log(path: &str, group: &str, partition: u16) -> Option<Node> {
        let (path, group) = (path.to_owned(), group.to_owned());
        Some(Node::Events { path, group, partition: Partition(partition) })
    }

    fn of(ids: &[&str], node: DeviceNode) -> Option<Node> {
        Some(Node::Device(ids.iter().map(|id| Address::parse(id).unwrap()).collect(), node))
    }

    #[test]
    fn what_sdks_address_is_found() {
        for (address, want) in [
            ("$cbs", Node::Cbs),
            ("$management", Node::Management),
            ("amqps://h:5671/myhub/$management", Node::Management),
            ("amqps://h/messages/events/$Management", Node::Management),
            ("/messages/devicebound", Node::DeviceBound),
            ("amqps://localhost/messages/deviceBound", Node::DeviceBound),
            ("/messages/serviceBound/feedback", Node::Feedback),
            ("amqps://h/messages/servicebound/Feedback", Node::Feedback),
            ("/messages/serviceBound/filenotifications", Node::FileNotifications),
        ] {
            assert_eq!(node(address), Some(want), "{address}");
        }
    }

    #[test]
    fn the_log_has_several_names() {
        let path = "myhub/ConsumerGroups/$default/Partitions/0";
        assert_eq!(node(&format!("amqps://h/{path}")), log(path, "$default", 0));
        let path = "localhost/ConsumerGroups/G2/Partitions/31";
        assert_eq!(node(path), log(path, "g2", 31));
        let path = "messages/events/Partitions/1";
        assert_eq!(node(&format!("/{path}")), log(path, "$default", 1));
        let path = "messages/events/ConsumerGroups/a b/Partitions/1";
        assert_eq!(node("messages/events/ConsumerGroups/a%20b/Partitions/1"), log(path, "a b", 1));
        assert!(node("myhub.example.net/ConsumerGroups/g/Partitions/1").is_some());
        assert_eq!(node("other/ConsumerGroups/g/Partitions/1"), None);
        assert_eq!(node("myhub/ConsumerGroups/g/Partitions/x"), None);
        assert_eq!(log_name(&names()), "myhub");
        assert_eq!(log_name(&HubNames::new("127.0.0.1")), "127.0.0.1");
    }

    #[test]
    fn devices_and_modules_have_links_of_their_own() {
        assert_eq!(node("/devices/d1/messages/events"), of(&["d1"], DeviceNode::Events));
        assert_eq!(
            node("amqps://h/devices/d1/modules/m1/messages/events"),
            of(&["d1/m1"], DeviceNode::Events)
        );
        assert_eq!(node("/devices/d1/messages/devicebound"), of(&["d1"], DeviceNode::Messages));
        assert_eq!(node("/devices/d1/twin"), of(&["d1"], DeviceNode::Twin));
        assert_eq!(node("/devices/d1/methods/devicebound"), of(&["d1"], DeviceNode::Methods));
        // As it stands, and decoded.
        assert_eq!(node("/devices/a%23b/twin"), of(&["a%23b", "a#b"], DeviceNode::Twin));
        for nothing in ["", "/", "/devices/d1", "/devices//twin", "/devices/d1/x", "queue"] {
            assert_eq!(node(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn a_message_names_whom_it_is_for() {
        let ids = |to: &str| -> Vec<String> {
            recipients(to).iter().map(|found| found.as_str().to_owned()).collect()
        };
        assert_eq!(ids("/devices/d1/messages/devicebound"), ["d1"]);
        assert_eq!(ids("/devices/d1/modules/m/messages/deviceBound"), ["d1/m"]);
        assert_eq!(ids("/devices/a%2Bb/messages/devicebound"), ["a%2Bb", "a+b"]);
        assert_eq!(ids("/devices/a+b/messages/devicebound"), ["a+b"]);
        // An escaped slash is no way to a module.
        assert_eq!(ids("/devices/a%2Fb/messages/devicebound"), ["a%2Fb"]);
        assert!(ids("/devices/d1/messages/events").is_empty());
        assert!(ids("d1").is_empty());
    }

    #[test]
    fn a_token_names_its_owner() {
        let ids = |resource: &str| -> Vec<String> {
            owners(resource).iter().map(|found| found.as_str().to_owned()).collect()
        };
        assert_eq!(ids("h%2Fdevices%2Fd1"), ["d1"]);
        assert_eq!(ids("h/devices/d1/modules/m1"), ["d1/m1"]);
        assert_eq!(ids("amqps%3A%2F%2Fh%2Fdevices%2Fa%2523"), ["a%23", "a#"]);
        assert!(ids("h").is_empty() && ids("sb://h/myhub").is_empty());
    }

    #[test]
    fn what_is_no_escape_stays() {
        for (text, want) in [("a%20b", "a b"), ("%", "%"), ("%2", "%2"), ("%zz+", "%zz+")] {
            assert_eq!(unescaped(text), want);
        }
        assert_eq!(unescaped("%ff"), "%ff");
    }
}
