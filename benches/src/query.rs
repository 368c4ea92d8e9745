//! Conditions of routes: one message against ten of them.

use std::fmt;
use std::hint::black_box;

use bytes::Bytes;
use hub_core::envelope::{
    AuthMethod, AuthScope, AuthType, Event, EventSource, Properties, Property, SystemProperty,
};
use hub_core::id::{Address, Partition, SequenceNumber};
use hub_core::limits::Limits;
use hub_core::query::{Condition, EventSubject};
use hub_core::time::Timestamp;

use crate::{Bench, Random};

/// What is done with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Routes {
    /// Nothing: it is handed through. What the others cost beyond this is theirs.
    Identity,
    /// Ten conditions on properties.
    Properties,
    /// Ten conditions, each of which looks into the body of 300 B.
    Body,
}

impl fmt::Display for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Identity => "identity",
            Self::Properties => "properties",
            Self::Body => "body",
        })
    }
}

pub(crate) const PROPERTIES: [&str; 10] = [
    "level = 'critical'",
    "level = 'critical' AND kind = 'alarm'",
    "as_number(temperature) > 50",
    "$connectionDeviceId = 'device-7' OR level = 'storage'",
    "$contentType = 'application/json' AND kind <> 'heartbeat'",
    "starts_with(site, 'north') AND NOT (level = 'debug')",
    "is_defined(batch) AND as_number(batch) % 2 = 0",
    "kind = 'telemetry'",
    "(region ?? 'none') = 'none'",
    "true",
];

const BODY: [&str; 10] = [
    "$body.temperature > 50",
    "$body.sensors[0].name = 'inlet'",
    "$body.state.mode = 'auto' AND $body.state.fault = null",
    "level = 'critical' OR $body.pressure < 3",
    "length($body.note) > 10",
    "is_defined($body.missing)",
    "$body.temperature + $body.pressure > 60",
    "NOT $body.state.on",
    "starts_with($body.note, 'all')",
    "$body.counter % 2 = 0",
];

const JSON: &str = r#"{"temperature":52.75,"pressure":2.5,"counter":18264,
"note":"all valves closed, waiting for the next batch of the north line",
"state":{"mode":"auto","on":true,"fault":null,"since":"2026-01-05T10:00:00Z"},
"sensors":[{"name":"inlet","value":21.5},{"name":"outlet","value":48.25},{"name":"tank","value":33}]}"#;

/// One message, and the conditions of ten routes.
#[derive(Debug)]
pub struct Route {
    conditions: Vec<Condition>,
    event: Event,
}

impl Bench for Route {
    type Size = Routes;

    const NAME: &'static str = "query/route";
    const SIZES: &'static [Routes] = &[Routes::Identity, Routes::Properties, Routes::Body];

    fn open(size: Routes) -> Self {
        let texts = match size {
            Routes::Identity => &[][..],
            Routes::Properties => &PROPERTIES[..],
            Routes::Body => &BODY[..],
        };
        let limits = Limits::default();
        let conditions =
            texts.iter().map(|text| Condition::parse(text, &limits).expect("a condition"));
        let properties = [
            Property::System(SystemProperty::MessageId, "1a2b3c4d-0001"),
            Property::System(SystemProperty::ContentType, "application/json"),
            Property::System(SystemProperty::ContentEncoding, "utf-8"),
            Property::Application("level", Some("warning")),
            Property::Application("kind", Some("telemetry")),
            Property::Application("site", Some("north-2")),
            Property::Application("temperature", Some("52.75")),
            Property::Application("batch", Some("1042")),
        ];
        let event = Event {
            partition: Partition(0),
            sequence: SequenceNumber(1),
            enqueued: Timestamp::from_millis(1_800_000_000_000),
            source: EventSource::Telemetry,
            sender: Address::parse("device-7").expect("an address"),
            generation: "637131779299310000".to_owned(),
            auth: Some(AuthMethod { scope: AuthScope::Device, kind: AuthType::Sas }),
            model: None,
            properties: properties.into_iter().collect::<Properties>(),
            body: Bytes::from_static(JSON.as_bytes()),
        };
        Self { conditions: conditions.collect(), event }
    }

    fn seed(&mut self, _: &mut Random) {}

    fn elements(_: Routes) -> u64 {
        1
    }

    fn run(&mut self, rounds: u64) {
        for _ in 0..rounds {
            let event = black_box(&self.event);
            if self.conditions.is_empty() {
                black_box(event);
                continue;
            }
            let subject = EventSubject::new(event);
            for condition in &self.conditions {
                black_box(condition.matches(&subject));
            }
        }
    }
}
