//! Orders in an SQL table and a message to a device: one transaction, both or neither.
//!
//! A vending machine is told to hand out what was ordered. Were the order written first and the message
//! sent after, a crash in between would leave an order that nobody carries out; the other way round, the
//! machine would hand out what was never ordered.
//!
//! `cargo run --example transaction -- postgres://USER:PASSWORD@HOST/DATABASE`, or with the URL in
//! `HUB_POSTGRES_URL`. `./scripts/postgres start` gives a database to try it on.

use std::error::Error;
use std::sync::Arc;

use hub_core::Hub;
use hub_core::envelope::Message;
use hub_core::id::Address;
use hub_core::registry::IdentitySpec;
use hub_core::twin::ServicePatch;
use hub_store_postgres::tokio_postgres::{Client, NoTls, connect};
use hub_store_postgres::{PostgresConfig, PostgresStore, Stage};

/// The hub's tables are in a schema of their own, beside the application's.
const SCHEMA: &str = "vending_hub";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::args().nth(1).or_else(|| std::env::var("HUB_POSTGRES_URL").ok());
    let url = url.ok_or("usage: transaction postgres://USER:PASSWORD@HOST/DATABASE")?;

    let store = PostgresStore::open(url.parse::<PostgresConfig>()?.schema(SCHEMA)).await?;
    let hub = Hub::builder_on(Arc::new(store)).start()?;
    let machine = Address::parse("machine-7")?;
    hub.registry().put(&IdentitySpec::new(machine.clone()), None).await?;

    // The application's own connection and table.
    let (mut client, connection) = connect(&url, NoTls).await?;
    tokio::spawn(connection);
    client
        .batch_execute(
            "CREATE SCHEMA IF NOT EXISTS vending;
             CREATE TABLE IF NOT EXISTS vending.orders (
                 id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, item text NOT NULL,
                 CHECK (item <> 'gold'))",
        )
        .await?;

    order(&mut client, &hub, &machine, "coffee").await?;
    println!("ordered   coffee; messages waiting: {}", hub.queue_depth(&machine).await?);

    // The table refuses this one after the message was staged: neither happens.
    let refused = order(&mut client, &hub, &machine, "gold").await.is_err();
    println!(
        "ordered   gold: refused {refused}; messages waiting: {}",
        hub.queue_depth(&machine).await?
    );

    let message = hub.receive(&machine, std::time::Duration::from_secs(60)).await?;
    let message = message.ok_or("the message is not there")?;
    println!("received  {}", String::from_utf8_lossy(&message.message.body));
    let twin = hub.registry().twin(&machine).await?;
    println!("twin      {}", String::from_utf8_lossy(&twin.twin.device_view()));

    client.batch_execute("DROP SCHEMA vending CASCADE").await?;
    hub.shutdown(std::time::Duration::from_secs(5)).await;
    client.batch_execute(&format!("DROP SCHEMA {SCHEMA} CASCADE")).await?;
    Ok(())
}

/// An order, the message to the machine, and what its twin says of it: all or nothing.
async fn order(
    client: &mut Client,
    hub: &Hub,
    machine: &Address,
    item: &str,
) -> Result<(), Box<dyn Error>> {
    let transaction = client.transaction().await?;
    let stage = Stage::new(&transaction, SCHEMA, hub.staging());
    let sent = stage.send(machine, Message::new(format!("hand out one {item}"))).await?;
    let patch = ServicePatch::parse(
        format!(r#"{{"properties":{{"desired":{{"last":"{item}"}}}}}}"#).as_bytes(),
        hub.limits(),
    )?;
    stage.patch_twin(machine, &patch, None).await?;
    let row = transaction
        .query_one("INSERT INTO vending.orders (item) VALUES ($1) RETURNING id", &[&item])
        .await?;
    let order: i64 = row.get(0);
    transaction.commit().await?;
    println!("order     {order} and message {} are durable together", sent.sequence);
    Ok(())
}
