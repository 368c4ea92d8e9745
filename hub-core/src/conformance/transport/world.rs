//! What the cases are played in: a real hub on a store with a gate, with a clock moved by hand.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::{Fixture, Gate, Gated, Login, Probe, Refused};
use crate::device::LifecycleKind;
use crate::engine::{Hub, Lifecycle, LifecycleEvents, ManualClock, Position};
use crate::envelope::Event;
use crate::error::DisconnectCause;
use crate::hello::SessionMode;
use crate::id::{Address, Partition};
use crate::limits::Limits;
use crate::registry::{IdentitySpec, IfMatch, Status};
use crate::security::{Authentication, KeyForm, SymmetricKey, sign};
use crate::time::Timestamp;

/// The host name of the hubs of the kit.
pub const HOST: &str = "localhost";
/// When the cases begin.
pub(super) const START: Timestamp = Timestamp::from_millis(1_900_000_000_000);
/// How long a token of the kit is valid.
pub(super) const TOKEN_LIFE: Duration = Duration::from_secs(3600);
/// How long to listen before nothing counts as nothing.
pub(super) const QUIET: Duration = Duration::from_millis(300);
/// How long to wait for what must come.
pub(super) const SOON: Duration = Duration::from_secs(10);
/// How long a transport has to close a connection (T4).
pub(super) const CLOSE_TIME_MAX: Duration = Duration::from_secs(5);

pub(super) struct World {
    pub(super) hub: Hub,
    pub(super) clock: Arc<ManualClock>,
    pub(super) gate: Gate,
}

impl World {
    pub(super) async fn open<F: Fixture>(fixture: &mut F) -> Self {
        Self::with(fixture, Limits::default()).await
    }

    pub(super) async fn with<F: Fixture>(fixture: &mut F, limits: Limits) -> Self {
        let clock = Arc::new(ManualClock::new(START));
        let gate = Gate::new();
        let hub = Hub::builder(Gated::new(fixture.store(), gate.clone()))
            .clock(clock.clone())
            .limits(limits)
            .host_name(HOST)
            .partitions(1)
            .start()
            .expect("the kit's hub starts");
        fixture.serve(&hub).await;
        Self { hub, clock, gate }
    }

    /// Registers a device. The login has its key's token.
    pub(super) async fn register(&self, name: &str) -> Login {
        self.register_at(name, name).await
    }

    /// Registers a module of a device that is registered.
    pub(super) async fn register_module(&self, device: &str, module: &str) -> Login {
        let path = format!("{device}/modules/{module}");
        self.register_at(&format!("{device}/{module}"), &path).await
    }

    async fn register_at(&self, name: &str, path: &str) -> Login {
        let address = Address::parse(name).expect("a legal name");
        let spec = IdentitySpec::new(address.clone());
        let registered = self.hub.registry().put(&spec, None).await.expect("it is registered");
        let Authentication::Sas { primary, .. } = registered.authentication() else {
            panic!("it has keys")
        };
        let token = token_of(path, primary, self.hub.now().after(TOKEN_LIFE));
        Login { host: HOST.into(), address, token, session: SessionMode::Clean }
    }

    /// Registers a device and connects it.
    pub(super) async fn device<F: Fixture>(
        &self,
        fixture: &mut F,
        name: &str,
    ) -> (F::Probe, Address) {
        let login = self.register(name).await;
        (connect(fixture, &login).await, login.address)
    }

    pub(super) async fn disable(&self, address: &Address) {
        let mut spec = IdentitySpec::new(address.clone());
        spec.status = Some(Status::Disabled);
        self.hub.registry().put(&spec, Some(&IfMatch::Any)).await.expect("it is disabled");
    }

    /// All telemetry there is, in order.
    pub(super) async fn events(&self) -> Vec<Event> {
        let reader = self.hub.reader(Partition(0), Position::Earliest).await;
        let mut reader = reader.expect("there is one partition");
        let mut all = Vec::new();
        loop {
            let page = reader.try_read(1000).await.expect("the log can be read");
            if page.is_empty() {
                return all;
            }
            all.extend(page);
        }
    }

    pub(super) async fn bodies(&self) -> Vec<Vec<u8>> {
        self.events().await.iter().map(|event| event.body.to_vec()).collect()
    }

    /// How many messages the hub keeps for a device.
    pub(super) async fn depth(&self, address: &Address) -> u32 {
        self.hub.registry().get(address).await.expect("it exists").messages
    }

    /// Waits until the hub keeps so many messages for a device.
    pub(super) async fn depth_becomes(&self, address: &Address, depth: u32) {
        let mut found = u32::MAX;
        for _ in 0..SOON.as_millis() / 10 {
            found = self.depth(address).await;
            if found == depth {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{address} has {found} messages, not {depth}");
    }

    /// Waits until the hub counts so many connections.
    pub(super) async fn connections_become(&self, count: usize) {
        eventually(&format!("{count} connections"), || self.hub.connections() == count).await;
    }
}

/// A token for what lies below `devices/`, signed with a key.
pub(super) fn token_of(name: &str, key: &SymmetricKey, expiry: Timestamp) -> Arc<str> {
    sign(&format!("{HOST}/devices/{name}"), key, KeyForm::Decoded, expiry, None).into()
}

pub(super) async fn connect<F: Fixture>(fixture: &mut F, login: &Login) -> F::Probe {
    match soon("a connection", fixture.connect(login)).await {
        Ok(probe) => probe,
        Err(Refused(why)) => panic!("{} was refused: {why}", login.address),
    }
}

/// That a login is refused. Where that shows only later, telemetry is refused.
pub(super) async fn must_be_refused<F: Fixture>(fixture: &mut F, login: &Login, why: &str) {
    if let Ok(mut probe) = soon("an answer", fixture.connect(login)).await {
        let published = soon("an answer", probe.publish(b"let in", &[])).await;
        assert!(published.is_err(), "a device was let in: {why}");
    }
}

/// The future's output, which must come.
pub(super) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(SOON, future).await {
        Ok(output) => output,
        Err(_) => panic!("{what} did not come within {SOON:?}"),
    }
}

/// Waits until something holds.
pub(super) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let ticks = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon(what, ticks).await;
}

/// That a future goes on waiting.
pub(super) async fn must_wait<T>(what: &str, future: &mut Pin<&mut impl Future<Output = T>>) {
    let waits = tokio::time::timeout(QUIET, future).await.is_err();
    assert!(waits, "{what}");
}

/// How a device's connection ended, as the hub was told.
pub(super) async fn end_of(events: &mut LifecycleEvents, address: &Address) -> DisconnectCause {
    let told = async {
        loop {
            let next = events.next().await.expect("the hub lives");
            if let Lifecycle::Event(event) = next
                && event.address == *address
                && let LifecycleKind::Disconnected(_, cause) = event.kind
            {
                return cause;
            }
        }
    };
    soon("the end of a connection", told).await
}
