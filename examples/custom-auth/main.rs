//! Who may come, and who may do what: decided by the application.
//!
//! By default a device must be registered and prove itself by a key or a certificate. Here it shows
//! a ticket that the application has sold, is registered at its first visit, and may send telemetry;
//! only those with a full ticket may write their twin.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use hub_core::engine::{
    Action, Actor, Authenticator, Authorizer, Decision, Hub, Link, RegistryAuthenticator,
};
use hub_core::envelope::{AuthMethod, AuthScope, AuthType, EventBatch};
use hub_core::error::ErrorKind;
use hub_core::frame::{Inbound, Outbound};
use hub_core::hello::{CredentialMark, Credentials, Grant, Hello, Refusal, SessionMode};
use hub_core::id::{Address, Tag};
use hub_core::registry::IdentitySpec;
use hub_core::security::Principal;
use hub_store_memory::MemoryStore;

/// The tickets that the application has sold: for whom, and whether they are full ones.
#[derive(Clone)]
struct Tickets(Arc<HashMap<&'static str, (&'static str, bool)>>);

#[async_trait]
impl Authenticator for Tickets {
    async fn device(&self, hub: &Hub, hello: &Hello) -> Result<Grant, Refusal> {
        let Credentials::Token(ticket) = &hello.credentials else {
            // Certificates, and devices of this process, stay with the hub's own rule.
            return RegistryAuthenticator.device(hub, hello).await;
        };
        match self.0.get(&**ticket) {
            Some((owner, _)) if *owner == hello.address.as_str() => {}
            _ => return Err(Refusal::Unauthorized("no such ticket")),
        }
        let registry = hub.registry();
        let identity = match registry.get(&hello.address).await {
            Ok(found) => Ok(found.identity),
            Err(error) if error.kind() == ErrorKind::DeviceNotFound => {
                registry.put(&IdentitySpec::new(hello.address.clone()), None).await
            }
            Err(error) => Err(error),
        };
        let identity = identity.map_err(|_| Refusal::Unavailable("the registry is away"))?;
        Ok(Grant {
            auth: AuthMethod { scope: AuthScope::Hub, kind: AuthType::InProcess },
            // The hub closes the connection when this is over, and `Limits::token_grace` with it.
            expires: hub.now().after(Duration::from_secs(3600)),
            generation: identity.generation(),
            credential: CredentialMark::default(),
        })
    }

    async fn service(&self, hub: &Hub, token: &str) -> Result<Principal, Refusal> {
        RegistryAuthenticator.service(hub, token).await
    }
}

#[async_trait]
impl Authorizer for Tickets {
    async fn authorize(&self, actor: Actor<'_>, action: Action<'_>) -> Decision {
        let full = |address: &Address| {
            self.0.values().any(|(owner, full)| *owner == address.as_str() && *full)
        };
        match (actor, action) {
            (Actor::Device(address), Action::ReportTwin) if !full(address) => Decision::Deny,
            _ => Decision::Allow,
        }
    }
}

/// What a transport does with what it learns of a peer.
async fn connect(hub: &Hub, device: &str, ticket: &str) -> Result<Link, Refusal> {
    hub.connect(Hello {
        address: Address::parse(device).map_err(|_| Refusal::Malformed("not a device id"))?,
        credentials: Credentials::Token(ticket.into()),
        host: None,
        session: SessionMode::Clean,
        model: None,
        client: None,
        protocol: "example",
        peer: None,
    })
    .await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let sold = [("t-1001", ("pump", true)), ("t-1002", ("guest", false))];
    let tickets = Tickets(Arc::new(sold.into()));
    let hub = Hub::builder(MemoryStore::new())
        .authenticator(tickets.clone())
        .authorizer(tickets)
        .start()?;

    if let Err(refusal) = connect(&hub, "pump", "t-1002").await {
        println!("pump with the guest's ticket: {refusal}");
    }
    for (device, ticket) in [("pump", "t-1001"), ("guest", "t-1002")] {
        let mut link = connect(&hub, device, ticket).await?;
        let known = hub.registry().get(&Address::parse(device)?).await.is_ok();
        println!("{device} is let in; registered: {known}");

        let mut batch = EventBatch::new();
        batch.push(link.up.stamp(), [], b"21.5", hub.limits().telemetry_bytes_max)?;
        link.up.ready().await.send(Inbound::Telemetry(Tag(1), batch.take()));
        let patch = Bytes::from_static(b"{\"fan\":\"on\"}");
        link.up.ready().await.send(Inbound::Report(Tag(2), patch, None));
        for _ in 0..2 {
            match link.down.next().await {
                Some(Outbound::Receipt(Tag(1))) => println!("{device}: telemetry is accepted"),
                Some(Outbound::Receipt(Tag(2))) => println!("{device}: its twin is written"),
                Some(Outbound::Refused(Tag(2), error)) => {
                    println!("{device}: its twin is not written: {error}");
                }
                other => return Err(format!("unexpected: {other:?}").into()),
            }
        }
    }
    Ok(())
}
