//! A hub on a store of one's own: `store.rs` beside this file is all of it, and
//! `examples/tests/own_store.rs` runs the conformance kit on it.

mod store;

use hub_core::Hub;
use hub_core::id::Address;
use hub_core::registry::IdentitySpec;
use hub_core::store::OneLock;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let hub = Hub::builder(OneLock::<store::World>::default()).start()?;
    let pump = Address::parse("pump")?;
    hub.registry().put(&IdentitySpec::new(pump.clone()), None).await?;
    hub.send(&pump, hub_core::envelope::Message::new("open the valve")).await?;
    println!("waiting messages: {}", hub.registry().get(&pump).await?.messages);
    Ok(())
}
