//! Stopping a hub in good order: nobody new, no connection cut in mid-sentence, nothing lost that
//! was acknowledged.
//!
//! Stops at SIGINT (Ctrl-C), or by itself after half a second.

use std::sync::Arc;
use std::time::Duration;

use hub_core::Hub;
use hub_core::engine::DeviceEvent;
use hub_core::id::Address;
use hub_core::registry::IdentitySpec;
use hub_core::store::{Seek, Store};
use hub_store_memory::MemoryStore;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // The application keeps the store, so that it can look into it when the hub is gone.
    let store = Arc::new(MemoryStore::new());
    let hub = Hub::builder_on(store.clone()).start()?;
    let pump = Address::parse("pump")?;
    hub.registry().put(&IdentitySpec::new(pump.clone()), None).await?;

    let mut device = hub.device(&pump).await?;
    let sender = tokio::spawn(async move {
        let mut acknowledged = 0_u64;
        // Ends when the hub says goodbye: then nothing more is acknowledged.
        while device.send(b"21.5", &[]).await.is_ok() {
            acknowledged += 1;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        if let DeviceEvent::Closed(reason) = device.next().await {
            println!("the device was told: {reason}");
        }
        acknowledged
    });

    tokio::select! {
        stopped = tokio::signal::ctrl_c() => stopped?,
        () = tokio::time::sleep(Duration::from_millis(500)) => {}
    }
    let report = hub.shutdown(Duration::from_secs(5)).await;
    println!("connections closed: {}", report.connections_closed);
    println!("transports ended in time: {}", report.transports_ended);
    println!("everything accepted was written: {}", report.drained);

    let acknowledged = sender.await?;
    let partition = pump.partition(hub.partitions());
    let kept = store.seek(partition, Seek::Next).await?.0.saturating_sub(1);
    println!("nothing acknowledged was lost: {}", acknowledged > 0 && kept >= acknowledged);
    match hub.device(&pump).await {
        Err(refusal) => println!("a latecomer hears: {refusal}"),
        Ok(_) => return Err("a stopped hub let a device in".into()),
    }
    Ok(())
}
