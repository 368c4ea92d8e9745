//! What happens to an identity as events: each is part of the change of which it tells, so that
//! there is none without the other.

use super::Setup;
use crate::envelope::EventSource;
use crate::id::{Address, Epoch};
use crate::registry::Identity;
use crate::query::{Case, Fields, Path, Step, Value, walk};
use crate::route::{Fact, Presence, Routing};
use crate::store::Change;
use crate::time::Timestamp;
use crate::twin::{Node, Twin, TwinChange};

/// What a twin's write adds to its change. `twin` is as the write left it.
pub(crate) fn twin_changed(
    setup: &Setup,
    address: &Address,
    change: &TwinChange,
    twin: &Twin,
) -> Change {
    let source = EventSource::TwinChange;
    if !setup.routing.wants(source) {
        return Change::new();
    }
    let Some(body) = change.event_body(address, twin) else { return Change::new() };
    let (op, at, number) = (change.kind().op_type(), change.at(), change.version());
    let fact = Fact { source, address, op, at, number, body };
    setup.routing.record(&fact, setup.partitions, Some(twin))
}

/// Whether an identity came to be or went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lifecycle {
    Created,
    Deleted,
}

/// What creating or deleting an identity adds to its change.
pub(crate) fn registered(
    routing: &Routing,
    partitions: u16,
    what: Lifecycle,
    identity: &Identity,
    twin: &Twin,
    at: Timestamp,
) -> Change {
    let (source, address) = (EventSource::DeviceLifecycle, identity.address());
    if !routing.wants(source) {
        return Change::new();
    }
    let op = match what {
        Lifecycle::Created => "createDeviceIdentity",
        Lifecycle::Deleted => "deleteDeviceIdentity",
    };
    let body = twin.lifecycle_body(address);
    let fact = Fact { source, address, op, at, number: identity.generation(), body };
    routing.record(&fact, partitions, Some(twin))
}

/// A connect or disconnect, as the session's document is to have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Transition {
    pub(crate) presence: Presence,
    /// The generation of the identity.
    pub(crate) generation: u64,
    /// The epoch of the connection that began or ended.
    pub(crate) epoch: Epoch,
    pub(crate) at: Timestamp,
}

/// What a connect or disconnect adds to its change.
pub(crate) fn presence_changed(
    setup: &Setup,
    address: &Address,
    transition: Transition,
    twin: Option<&Twin>,
) -> Change {
    let source = EventSource::ConnectionState;
    if !setup.routing.wants(source) {
        return Change::new();
    }
    let Transition { presence, generation, epoch, at } = transition;
    let fact = Fact {
        source,
        address,
        op: presence.op_type(),
        at,
        number: presence.number(epoch),
        body: presence.body(generation, epoch),
    };
    setup.routing.record(&fact, setup.partitions, twin.map(|twin| -> &dyn Fields { twin }))
}

/// Whether the twin has to be read for the events of a source.
pub(super) fn needs_twin(routing: &Routing, source: EventSource) -> bool {
    routing.wants(source) && routing.needs_twin(source)
}

impl Fields for Twin {
    fn value(&self, path: &Path, case: Case) -> Value<'_> {
        find(self, path, case).unwrap_or(Value::Missing)
    }
}

/// Follows a path that begins with a section: `tags`, or `properties` and one of the other two.
/// The names of sections are known in whatever case.
fn find<'t>(twin: &'t Twin, path: &Path, case: Case) -> Option<Value<'t>> {
    let (first, rest) = split(path.steps())?;
    let (section, version, rest) = if first.eq_ignore_ascii_case("tags") {
        (twin.tags(), None, rest)
    } else if first.eq_ignore_ascii_case("properties") {
        match split(rest)? {
            (name, rest) if name.eq_ignore_ascii_case("desired") => {
                (twin.desired(), Some(twin.desired_version()), rest)
            }
            (name, rest) if name.eq_ignore_ascii_case("reported") => {
                (twin.reported(), Some(twin.reported_version()), rest)
            }
            _ => return None,
        }
    } else {
        return None;
    };
    let Some((name, mut rest)) = split(rest) else { return Some(Value::Object) };
    if let (Some(version), "$version", []) = (version, name, rest) {
        // Counts writes: never near 2^53.
        return u32::try_from(version).ok().map(|version| Value::Number(version.into()));
    }
    let mut node = pick(section.get(name), section.members(), name, case)?;
    loop {
        if let Some(leaf) = node.as_leaf() {
            return Some(Value::of_json(walk(leaf, rest, case)));
        }
        let Some((name, after)) = split(rest) else {
            return rest.is_empty().then_some(Value::Object);
        };
        node = pick(node.get(name), node.members(), name, case)?;
        rest = after;
    }
}

fn split(steps: &[Step]) -> Option<(&str, &[Step])> {
    match steps.split_first()? {
        (Step::Member(name), rest) => Some((name, rest)),
        (Step::Index(_), _) => None,
    }
}

fn pick<'t>(
    exact: Option<&'t Node>,
    mut members: impl Iterator<Item = (&'t str, &'t Node)>,
    name: &str,
    case: Case,
) -> Option<&'t Node> {
    exact.or_else(|| {
        let close = || members.find(|(key, _)| key.eq_ignore_ascii_case(name));
        (case == Case::ExactFirst).then(close).flatten().map(|(_, node)| node)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use crate::twin::{Patch, ServicePatch};

    fn twin() -> Twin {
        let (limits, now) = (Limits::default(), Timestamp::from_millis(1));
        let mut twin = Twin::new(now);
        let patch = |text: &str| Patch::parse(text.as_bytes(), &limits).unwrap();
        let tags = ServicePatch::parse(
            br#"{"tags":{"floor":"1","Floor":"2","room":{"no":7,"list":[1,{"a":true}]}}}"#,
            &limits,
        );
        twin.patch(&tags.unwrap(), None, now, &limits).unwrap();
        twin.report(&patch(r#"{"temp":{"max":1.5}}"#), None, now, &limits).unwrap();
        twin
    }

    #[test]
    fn paths_lead_into_the_sections() {
        let twin = twin();
        let look = |path: &str| twin.value(&Path::of(path.split('.')), Case::ExactFirst);
        assert_eq!(look("tags.floor"), Value::Text("1".into()));
        assert_eq!(look("Tags.Floor"), Value::Text("2".into()));
        assert_eq!(look("tags.ROOM.no"), Value::Number(7.0));
        let exactly = |path: &str| twin.value(&Path::of(path.split('.')), Case::Exact);
        assert_eq!(exactly("tags.ROOM.no"), Value::Missing);
        assert_eq!(look("properties.reported.temp.max"), Value::Number(1.5));
        assert_eq!(look("properties.reported.$version"), Value::Number(2.0));
        assert_eq!(look("properties.reported.temp"), Value::Object);
        assert_eq!(look("tags"), Value::Object);
        for nowhere in ["tags.x", "tags.floor.x", "properties", "properties.x.y", "x", "tags.$version"]
        {
            assert_eq!(look(nowhere), Value::Missing, "{nowhere}");
        }
        let member = |name: &str| Step::Member(name.into());
        let inside =
            Path::new([member("tags"), member("room"), member("list"), Step::Index(1), member("a")]);
        assert_eq!(twin.value(&inside, Case::Exact), Value::Bool(true));
        let past = Path::new([member("tags"), member("room"), Step::Index(0)]);
        assert_eq!(twin.value(&past, Case::Exact), Value::Missing);
    }
}
