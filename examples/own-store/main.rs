//! A hub on a store of one's own: `store.rs` beside this file is all of it.
//!
//! `examples/tests/own_store.rs` runs the conformance kit on it.

mod store;

use std::sync::Arc;

use hub_core::Hub;
use hub_core::engine::{DeviceEvent, Position};
use hub_core::envelope::Message;
use hub_core::frame::{Disposition, Interest};
use hub_core::id::Address;
use hub_core::registry::IdentitySpec;
use store::OwnStore;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let store = Arc::new(OwnStore::default());
    let pump = Address::parse("pump")?;
    {
        let hub = Hub::builder_on(store.clone()).start()?;
        hub.registry().put(&IdentitySpec::new(pump.clone()), None).await?;
        hub.device(&pump).await?.send(b"21.5", &[]).await?;
        hub.send(&pump, Message::new("open the valve")).await?;
        println!("the first hub accepted telemetry and a message, and ends");
    }
    let hub = Hub::builder_on(store).start()?;
    let mut reader = hub.reader(pump.partition(hub.partitions()), Position::Earliest).await?;
    for event in reader.read(10).await? {
        println!("the second hub finds {:?} of {}", event.body, event.sender);
    }
    let mut device = hub.device(&pump).await?;
    device.subscribe(Interest::Messages).await?;
    if let DeviceEvent::Message(delivery) = device.next().await {
        println!("the second hub delivers {:?}", delivery.message.body);
        device.settle(delivery.token, Disposition::Complete).await?;
    }
    println!("waiting messages: {}", hub.registry().get(&pump).await?.messages);
    Ok(())
}
