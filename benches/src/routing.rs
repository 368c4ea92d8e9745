//! What routes cost a message on its way in, beside its journey into the log.

use std::fmt;
use std::hint::black_box;

use hub_core::envelope::{
    AuthMethod, AuthScope, AuthType, EventBatch, EventSource, Property, Stamp, SystemProperty,
};
use hub_core::id::{Address, Partition};
use hub_core::limits::Limits;
use hub_core::route::{RouteSpec, Routing, RoutingSpec};
use hub_core::store::Entries;
use hub_core::time::Timestamp;

use crate::query::PROPERTIES;
use crate::{Bench, Random};

/// Where a message of 256 B goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Routes {
    /// There are no routes: it goes to the log and is not looked at.
    None,
    /// Ten routes are asked, all of which lead to the log.
    Log,
    /// Ten routes are asked, which lead to two endpoints.
    Endpoints,
}

impl fmt::Display for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Log => "log",
            Self::Endpoints => "endpoints",
        })
    }
}

/// One message, and what decides where it goes.
#[derive(Debug)]
pub struct Ingest {
    routing: Routing,
    events: Entries,
}

impl Bench for Ingest {
    type Size = Routes;

    const NAME: &'static str = "routing/ingest";
    const SIZES: &'static [Routes] = &[Routes::None, Routes::Log, Routes::Endpoints];

    fn open(size: Routes) -> Self {
        let mut spec = RoutingSpec::default();
        let texts = if size == Routes::None { &[][..] } else { &PROPERTIES[..] };
        for (index, text) in texts.iter().enumerate() {
            let endpoint = match (size, index % 2) {
                (Routes::Endpoints, 0) => "one",
                (Routes::Endpoints, _) => "two",
                _ => "events",
            };
            let name = format!("route-{index}");
            spec.routes.push(RouteSpec::new(&name, EventSource::Telemetry, text, endpoint));
        }
        let routing = Routing::new("hub", spec, ["one", "two"], &Limits::default());
        let sender = Address::parse("device-7").expect("an address");
        let auth = AuthMethod { scope: AuthScope::Device, kind: AuthType::Sas };
        let generation = "637131779299310000";
        let stamp = Stamp::new(EventSource::Telemetry, &sender, generation, Some(auth), None);
        let properties = [
            Property::System(SystemProperty::MessageId, "1a2b3c4d-0001"),
            Property::System(SystemProperty::ContentType, "application/json"),
            Property::Application("level", Some("warning")),
            Property::Application("kind", Some("telemetry")),
            Property::Application("site", Some("north-2")),
            Property::Application("temperature", Some("52.75")),
            Property::Application("batch", Some("1042")),
        ];
        let mut batch = EventBatch::new();
        batch.push(&stamp, properties, &[b'x'; 256], usize::MAX).expect("it is small");
        Self { routing: routing.expect("routes"), events: batch.take() }
    }

    fn seed(&mut self, _: &mut Random) {}

    fn elements(_: Routes) -> u64 {
        1
    }

    fn run(&mut self, rounds: u64) {
        let at = Timestamp::from_millis(1_800_000_000_000);
        for _ in 0..rounds {
            let events = black_box(self.events.clone());
            black_box(self.routing.telemetry(Partition(0), at, events, None));
        }
    }
}
