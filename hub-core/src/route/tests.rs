//! Where events go, and what is put on them.

use serde_json::json;

use super::outbox::{self, Addressed};
use super::*;
use crate::envelope::{Event, EventBatch, EventSource, Property, Stamp, SystemProperty};
use crate::id::{Address, Partition, SequenceNumber};
use crate::limits::Limits;
use crate::query::Fields;
use crate::store::{Change, Entries, Entry, Op};
use crate::time::Timestamp;

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const ENDPOINTS: [&str; 2] = ["one", "two"];

fn spec(routes: &[(&str, &str)]) -> RoutingSpec {
    let route = |(index, (condition, endpoint)): (usize, &(&str, &str))| {
        RouteSpec::new(&format!("r{index}"), EventSource::Telemetry, condition, endpoint)
    };
    RoutingSpec { routes: routes.iter().enumerate().map(route).collect(), ..RoutingSpec::default() }
}

fn table(spec: RoutingSpec) -> Routing {
    Routing::new("my-hub.example.net", spec, ENDPOINTS, &Limits::default()).unwrap()
}

/// Events of one sender, with an application property `kind` each.
fn events(kinds: &[&str]) -> Entries {
    let sender = Address::parse("d1").unwrap();
    let stamp = Stamp::new(EventSource::Telemetry, &sender, "637", None, None);
    let mut batch = EventBatch::new();
    for kind in kinds {
        let properties = [
            Property::System(SystemProperty::ContentType, "application/json"),
            Property::System(SystemProperty::ContentEncoding, "utf-8"),
            Property::Application("kind", Some(kind)),
        ];
        batch.push(&stamp, properties, br#"{"t":50}"#, usize::MAX).unwrap();
    }
    batch.take()
}

/// The application properties of what a change appends, as `(log, two endpoints)`.
type Seen = Vec<Vec<(String, String)>>;

fn decode(body: bytes::Bytes) -> Vec<(String, String)> {
    let entry = Entry { sequence: SequenceNumber(1), at: NOW, body };
    let event = Event::decode(Partition(0), &entry).unwrap();
    let text = |(key, value): (&str, Option<&str>)| (key.to_owned(), value.unwrap().to_owned());
    event.properties.application().into_iter().map(text).collect()
}

fn seen(change: &Change) -> (Seen, [Seen; 2]) {
    let (mut log, mut out) = (Vec::new(), [Vec::new(), Vec::new()]);
    for op in change.ops() {
        let Op::Append(partition, at, entries) = op else { panic!("{op:?}") };
        assert_eq!(*at, NOW);
        for body in entries.iter() {
            if !outbox::contains(*partition) {
                assert_eq!(*partition, Partition(3));
                log.push(decode(body));
                continue;
            }
            assert_eq!(*partition, outbox::partition(Partition(3)));
            for (name, seen) in ENDPOINTS.iter().zip(&mut out) {
                if let Addressed::Here(event) = outbox::addressed(&body, name) {
                    seen.push(decode(event));
                }
            }
        }
    }
    (log, out)
}

fn kinds(seen: &Seen) -> Vec<&str> {
    seen.iter().map(|event| event[0].1.as_str()).collect()
}

fn route<'s>(
    table: &Routing,
    sent: &[&str],
    twin: Option<&dyn Fields>,
    into: &'s mut (Seen, [Seen; 2]),
) -> (Vec<&'s str>, [Vec<&'s str>; 2]) {
    *into = seen(&table.telemetry(Partition(3), NOW, events(sent), twin));
    (kinds(&into.0), [kinds(&into.1[0]), kinds(&into.1[1])])
}

#[test]
fn without_routes_telemetry_goes_to_the_log_as_it_is() {
    let table = table(RoutingSpec::default());
    assert!(table.is_plain());
    let sent = events(&["a", "b"]);
    let change = table.telemetry(Partition(3), NOW, sent.clone(), None);
    assert_eq!(change.ops(), [Op::Append(Partition(3), NOW, sent)]);
}

#[test]
fn b01_the_fallback_takes_only_what_no_route_took() {
    let table = table(spec(&[("kind = 'a'", "one")]));
    let mut seen = Default::default();
    let (log, [one, two]) = route(&table, &["a", "b", "a"], None, &mut seen);
    assert_eq!((log, one, two), (vec!["b"], vec!["a", "a"], vec![]));
    let counts = table.counts();
    let of_route = RouteCounts { matched: 2, unmatched: 1, undefined: 0 };
    assert_eq!(counts.routes, [("r0".to_owned(), of_route)]);
    assert_eq!((counts.fallback, counts.orphaned), (1, 0));
}

#[test]
fn b01_without_a_fallback_what_no_route_took_is_orphaned_and_counted() {
    let mut spec = spec(&[("kind = 'a'", "one")]);
    spec.fallback = FallbackSpec::disabled();
    let table = table(spec);
    let change = table.telemetry(Partition(3), NOW, events(&["b"]), None);
    assert!(change.is_empty());
    assert_eq!(table.counts().orphaned, 1);
}

#[test]
fn b01_the_fallback_never_takes_events_of_the_hub() {
    let table = table(spec(&[]));
    let address = Address::parse("d1").unwrap();
    for source in EventSource::ALL.into_iter().skip(1) {
        let body = bytes::Bytes::from_static(b"{}");
        let fact = Fact { source, address: &address, op: "x", at: NOW, number: 1, body };
        assert!(!table.wants(source));
        assert!(table.record(&fact, 4, None).is_empty(), "{source:?}");
    }
}

#[test]
fn b02_an_endpoint_gets_one_copy_however_many_routes_match() {
    let routes = [("true", "one"), ("kind = 'a'", "one"), ("true", "events"), ("true", "EVENTS")];
    let table = table(spec(&routes));
    let mut seen = Default::default();
    let (log, [one, two]) = route(&table, &["a", "b"], None, &mut seen);
    assert_eq!((log, one, two), (vec!["a", "b"], vec!["a", "b"], vec![]));
}

#[test]
fn b02_enrichments_are_of_their_endpoints_only_and_replace() {
    let mut spec = spec(&[("true", "one"), ("true", "two"), ("true", "events")]);
    spec.enrichments = vec![
        EnrichmentSpec::new("hub", "$iothubname", ["one"]),
        EnrichmentSpec::new("Kind", "enriched", ["two"]),
    ];
    let table = table(spec);
    let (log, [one, two]) = seen(&table.telemetry(Partition(3), NOW, events(&["a"]), None));
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert_eq!(log, [[pair("kind", "a")]]);
    assert_eq!(one, [[pair("kind", "a"), pair("hub", "my-hub")]]);
    assert_eq!(two, [[pair("Kind", "enriched")]]);
}

#[test]
fn b02_a_path_that_leads_nowhere_is_stamped_as_it_is_written() {
    let mut spec = spec(&[]);
    let paths = ["$twin.tags.floor", "$twin.tags.room", "$twin.tags.gone", "$twin.tags.on"];
    for (index, path) in paths.iter().enumerate() {
        spec.enrichments.push(EnrichmentSpec::new(&format!("e{index}"), path, ["events"]));
    }
    let table = table(spec);
    assert!(!table.is_plain() && table.needs_twin(EventSource::Telemetry));
    let twin = json!({"tags": {"floor": 7, "room": {"no": 1}, "on": true}});
    let values = |twin: Option<&dyn Fields>| -> Vec<String> {
        let (log, _) = seen(&table.telemetry(Partition(3), NOW, events(&["a"]), twin));
        log[0].iter().skip(1).map(|(_, value)| value.clone()).collect()
    };
    assert_eq!(values(Some(&twin)), ["7", "$twin.tags.room", "$twin.tags.gone", "true"]);
    assert_eq!(values(None), paths);
}

#[test]
fn what_its_enrichments_make_too_large_an_endpoint_does_not_get() {
    let mut spec = spec(&[("true", "one"), ("true", "events")]);
    spec.enrichments = vec![EnrichmentSpec::new("e", &"x".repeat(80), ["one"])];
    let limits = Limits { telemetry_bytes_max: 100, ..Limits::default() };
    let table = Routing::new("hub", spec, ENDPOINTS, &limits).unwrap();
    let mut seen = Default::default();
    let (log, [one, _]) = route(&table, &["a"], None, &mut seen);
    assert_eq!((log, one), (vec!["a"], vec![]));
    assert_eq!(table.counts().invalid, 1);
}

#[test]
fn conditions_see_properties_the_body_and_the_twin() {
    let table = table(spec(&[("$body.t = 50 AND $twin.tags.floor = '1'", "one")]));
    assert!(table.needs_twin(EventSource::Telemetry));
    assert!(!table.needs_twin(EventSource::TwinChange));
    let twin = json!({"tags": {"floor": "1"}});
    let mut with = Default::default();
    assert_eq!(route(&table, &["a"], Some(&twin), &mut with).1[0], ["a"]);
    let mut without = Default::default();
    assert_eq!(route(&table, &["a"], None, &mut without).0, ["a"]);
    assert_eq!(table.counts().routes[0].1, RouteCounts { matched: 1, unmatched: 0, undefined: 1 });
}

#[test]
fn routes_of_other_sources_and_disabled_ones_do_not_count() {
    let mut spec = spec(&[("true", "one")]);
    spec.routes[0].enabled = false;
    spec.routes.push(RouteSpec::new(
        "twins",
        EventSource::TwinChange,
        "opType = 'updateTwin'",
        "two",
    ));
    let table = table(spec);
    assert!(table.is_plain() && table.wants(EventSource::TwinChange));
    let address = Address::parse("d1/m1").unwrap();
    let body = bytes::Bytes::from_static(b"{}");
    let fact = |op| Fact {
        source: EventSource::TwinChange,
        address: &address,
        op,
        at: NOW,
        number: 1,
        body: body.clone(),
    };
    let change = table.record(&fact("updateTwin"), 4, None);
    let [Op::Append(partition, ..)] = change.ops() else { panic!("{change:?}") };
    assert_eq!(*partition, outbox::partition(address.partition(4)));
    assert!(table.record(&fact("replaceTwin"), 4, None).is_empty());
}

#[test]
fn a_fallback_may_lead_elsewhere_and_have_a_condition() {
    let mut fallback = FallbackSpec::to("two");
    fallback.condition = "kind = 'b'".to_owned();
    let spec = RoutingSpec { fallback, ..spec(&[("kind = 'a'", "one")]) };
    let table = table(spec);
    let mut seen = Default::default();
    let (log, [one, two]) = route(&table, &["a", "b", "c"], None, &mut seen);
    assert_eq!((log, one, two), (vec![], vec!["a"], vec!["b"]));
    assert_eq!(table.counts().orphaned, 1);
}

#[test]
fn what_is_wrong_is_told() {
    let wrong = |change: &dyn Fn(&mut RoutingSpec)| {
        let mut wrong = spec(&[("true", "one")]);
        change(&mut wrong);
        let error = Routing::new("hub", wrong, ENDPOINTS, &Limits::default()).unwrap_err();
        match std::error::Error::source(&error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        }
    };
    let enrich = |key: &str, value: &str, to: &[&str]| {
        let enrichment = EnrichmentSpec::new(key, value, to.iter().copied());
        wrong(&move |spec| spec.enrichments.push(enrichment.clone()))
    };
    assert_eq!(
        wrong(&|spec| spec.routes[0].condition = "kind = 3".into()),
        "the condition of r0 is wrong: line 1, column 8: expected text, found a number"
    );
    assert_eq!(
        wrong(&|spec| spec.routes[0].endpoint = "three".into()),
        "route r0 names the endpoint \"three\", which is not defined"
    );
    assert!(wrong(&|spec| spec.routes[0].name = "a b".into()).starts_with("route name \"a b\""));
    assert!(wrong(&|spec| spec.routes[0].name = "x".repeat(65)).starts_with("route name"));
    assert_eq!(
        wrong(&|spec| spec.routes.push(RouteSpec::new(
            "R0",
            EventSource::Telemetry,
            "true",
            "one"
        ))),
        "two have the route name \"R0\""
    );
    assert!(wrong(&|spec| spec.fallback.condition = "(".into()).contains("$fallback"));
    // A disabled one is checked as well.
    assert!(
        wrong(&|spec| {
            spec.routes[0].enabled = false;
            spec.routes[0].condition = "(".into();
        })
        .starts_with("the condition of r0")
    );
    let many = |spec: &mut RoutingSpec| {
        for index in 0..100 {
            spec.routes.push(RouteSpec::new(
                &format!("x{index}"),
                EventSource::Telemetry,
                "true",
                "one",
            ));
        }
    };
    assert_eq!(wrong(&many), "101 routes, the limit is 100");
    assert!(enrich("a b", "x", &["one"]).starts_with("enrichment key"));
    assert!(enrich("", "x", &["one"]).starts_with("enrichment key"));
    assert_eq!(enrich("k", "x", &[]), "enrichment k names no endpoint");
    assert!(enrich("k", "x", &["three"]).contains("not defined"));
    for value in ["$x", "$twin", "$twin.tags", "$twin.tags.", "$twin.tags..a", "$twin.status"] {
        assert!(enrich("k", value, &["one"]).contains("no path into a twin"), "{value}");
    }
    let names = |names: &[&str]| {
        Routing::new("hub", spec(&[]), names.iter().copied(), &Limits::default()).unwrap_err()
    };
    assert_eq!(names(&["a", "A"]), RoutingError::Duplicate { what: "endpoint", name: "A".into() });
    assert_eq!(
        names(&["Events"]),
        RoutingError::Duplicate { what: "endpoint", name: "events".into() }
    );
    assert!(matches!(names(&["a/b"]), RoutingError::Name { .. }));
    let eleven: Vec<String> = (0..11).map(|index| format!("e{index}")).collect();
    let eleven: Vec<&str> = eleven.iter().map(String::as_str).collect();
    assert!(matches!(names(&eleven), RoutingError::TooMany { what: "endpoints", .. }));
}

#[test]
fn two_enrichments_of_one_key_are_for_different_endpoints() {
    let with = |second: &str| {
        let mut spec = spec(&[]);
        spec.enrichments =
            vec![EnrichmentSpec::new("k", "x", ["one"]), EnrichmentSpec::new("K", "y", [second])];
        Routing::new("hub", spec, ENDPOINTS, &Limits::default())
    };
    assert!(with("two").is_ok());
    assert!(matches!(with("one"), Err(RoutingError::Duplicate { what: "enrichment", .. })));
}
