//! Reading telemetry as a consumer group whose place the hub keeps.
//!
//! A cursor is moved after the work is done, so what a crash interrupts is read again: at least
//! once. It moves only from where it was read, so of two workers that do the same one learns it.

use hub_core::engine::{Hub, Position};
use hub_core::error::{ErrorKind, HubError};
use hub_core::id::{Address, Partition};
use hub_core::registry::IdentitySpec;
use hub_store_memory::MemoryStore;

const GROUP: &str = "billing";

/// One run of a worker: reads where the group stands, up to `limit` events, and moves the cursor.
async fn work(hub: &Hub, name: &str, partition: Partition, limit: u32) -> Result<(), HubError> {
    let mut cursor = hub.cursor(GROUP, partition).await?;
    let from = cursor.position().map_or(Position::Earliest, Position::Sequence);
    let mut reader = hub.reader(partition, from).await?;
    for event in reader.read(limit).await? {
        let body = String::from_utf8_lossy(&event.body);
        println!("{name}: {body} of {}, number {}", event.sender, event.sequence);
    }
    cursor.advance(reader.position()).await?;
    println!("{name}: {GROUP} stands at {} now", reader.position());
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let hub = Hub::builder(MemoryStore::new()).partitions(2).start()?;
    let meter = Address::parse("meter")?;
    hub.registry().put(&IdentitySpec::new(meter.clone()), None).await?;
    let mut device = hub.device(&meter).await?;
    for reading in 1..=5 {
        device.send(format!("{reading} kWh").as_bytes(), &[]).await?;
    }

    // All events of a device are in one partition, in the order in which they were accepted.
    let partition = meter.partition(hub.partitions());
    work(&hub, "first run", partition, 3).await?;
    work(&hub, "second run", partition, 10).await?;

    let mut one = hub.cursor(GROUP, partition).await?;
    let mut other = hub.cursor(GROUP, partition).await?;
    device.send(b"6 kWh", &[]).await?;
    let next = hub.partition_info(partition).await?.next;
    one.advance(next).await?;
    match other.advance(next).await {
        Err(error) if error.kind() == ErrorKind::PreconditionFailed => {
            println!("second worker: {error}");
        }
        result => return Err(format!("two workers moved one cursor: {result:?}").into()),
    }
    println!("a reader from the beginning still finds everything:");
    let mut audit = hub.reader(partition, Position::Earliest).await?;
    println!("audit: {} events", audit.read(100).await?.len());
    Ok(())
}
