//! What a hub does in a second on one store or another, without a protocol in between.
//!
//! `cargo run --release -p benches --bin stores -- STORE SCENARIO [SECONDS]`
//!
//! Stores: `memory`, `file:DIR` (its content is lost), `postgres://…` (the schema `figures` is made and
//! dropped). Scenarios: `messages` (100 devices, for each ten senders that wait for the outcome; each
//! message is delivered and completed), `reports` (100 devices that wait for each answer).

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hub_core::Hub;
use hub_core::engine::{DeviceEvent, HubBuilder};
use hub_core::envelope::Message;
use hub_core::frame::{Disposition, Interest};
use hub_core::id::Address;
use hub_core::registry::IdentitySpec;
use hub_store_fjall::{FileStore, FileStoreConfig};
use hub_store_memory::MemoryStore;
use hub_store_postgres::tokio_postgres::{Client, NoTls, connect};
use hub_store_postgres::{PostgresConfig, PostgresStore};

const SCHEMA: &str = "figures";
const DEVICES: usize = 100;
const SENDERS: usize = 10;

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut args = std::env::args().skip(1);
    let (Some(store), Some(scenario)) = (args.next(), args.next()) else {
        return Err(
            "arguments: memory | file:DIR | postgres://…, messages | reports, [SECONDS]".into()
        );
    };
    let seconds: u64 = args.next().map_or(Ok(5), |text| text.parse())?;
    let (builder, database) = open(&store).await?;
    let hub = builder.start()?;
    let (done, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let mut tasks = Vec::new();
    for number in 0..DEVICES {
        let address = Address::parse(&format!("device-{number}"))?;
        hub.registry().put(&IdentitySpec::new(address.clone()), None).await?;
        let of = Of { hub: hub.clone(), address, done: done.clone(), stop: stop.clone() };
        match scenario.as_str() {
            "messages" => {
                tasks.push(tokio::spawn(of.clone().receive()));
                tasks.extend((0..SENDERS).map(|_| tokio::spawn(of.clone().send())));
            }
            "reports" => tasks.push(tokio::spawn(of.report())),
            other => return Err(format!("there is no scenario {other}").into()),
        }
    }
    // Everybody is connected, and the statements are prepared.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (before, began) = (done.load(Ordering::Relaxed), Instant::now());
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let count = done.load(Ordering::Relaxed) - before;
    println!("{scenario}: {:.0}/s", count as f64 / began.elapsed().as_secs_f64());
    stop.store(true, Ordering::Relaxed);
    hub.shutdown(Duration::from_secs(5)).await;
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
    if let Some(client) = database {
        client.batch_execute(&format!("DROP SCHEMA {SCHEMA} CASCADE")).await?;
    }
    Ok(())
}

/// A hub on an empty store, and the connection that drops it in the end.
async fn open(store: &str) -> Result<(HubBuilder, Option<Client>), Failure> {
    if store == "memory" {
        return Ok((Hub::builder(MemoryStore::new()), None));
    }
    if let Some(directory) = store.strip_prefix("file:") {
        drop(std::fs::remove_dir_all(directory));
        let store = FileStore::open(directory, FileStoreConfig::new())?;
        return Ok((Hub::builder(store), None));
    }
    let (client, connection) = connect(store, NoTls).await?;
    tokio::spawn(connection);
    client.batch_execute(&format!("DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")).await?;
    let store = PostgresStore::open(store.parse::<PostgresConfig>()?.schema(SCHEMA)).await?;
    Ok((Hub::builder(store), Some(client)))
}

/// A device, and what is counted.
#[derive(Clone)]
struct Of {
    hub: Hub,
    address: Address,
    done: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Of {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    /// Sends a message and waits until it is completed.
    async fn send(self) -> Result<(), Failure> {
        while self.goes_on() {
            let sent = self.hub.send(&self.address, Message::new(vec![b'x'; 256])).await?;
            sent.await;
        }
        Ok(())
    }

    async fn receive(self) -> Result<(), Failure> {
        let mut device = self.hub.device(&self.address).await?;
        device.subscribe(Interest::Messages).await?;
        while self.goes_on() {
            match device.next().await {
                DeviceEvent::Message(message) => {
                    device.settle(message.token, Disposition::Complete).await?;
                    self.done.fetch_add(1, Ordering::Relaxed);
                }
                DeviceEvent::Closed(_) => return Ok(()),
                _ => {}
            }
        }
        Ok(())
    }

    async fn report(self) -> Result<(), Failure> {
        let mut device = self.hub.device(&self.address).await?;
        let text = "x".repeat(80);
        let mut number = 0_u64;
        while self.goes_on() {
            number += 1;
            device.report(format!(r#"{{"n":{number},"note":"{text}"}}"#)).await?;
            self.done.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}
