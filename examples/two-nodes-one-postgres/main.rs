//! Two nodes on one PostgreSQL are one hub: a device is connected to one of them, the back end asks the
//! other, and then the device's node is stopped.
//!
//! `two-nodes-one-postgres postgres://user@host/database`, or the URL in `HUB_POSTGRES_URL`. In real life
//! the nodes are processes on machines of their own, behind one load balancer; here they share a
//! process, and nothing else.

use std::time::Duration;

use hub_core::engine::DeviceEvent;
use hub_core::envelope::Message;
use hub_core::frame::{Disposition, Interest};
use hub_core::id::{Address, NodeId};
use hub_core::method::MethodCall;
use hub_core::registry::IdentitySpec;
use hub_core::{DeviceClient, Hub};
use hub_store_postgres::{PostgresConfig, PostgresStore};

type Error = Box<dyn std::error::Error + Send + Sync>;

/// A node: a hub with a store of its own, on the database and schema that all nodes have.
async fn node(name: &str, url: &str) -> Result<Hub, Error> {
    let config: PostgresConfig = url.parse()?;
    let store = PostgresStore::open(config.schema("two_nodes")).await?;
    let hub = Hub::builder(store).node(NodeId::new(name)?).start()?;
    // Its name is its own now; devices may come.
    hub.joined().await?;
    Ok(hub)
}

/// What a device does: it completes messages and answers methods, until its node lets it go.
async fn live(mut device: DeviceClient, at: &'static str) {
    loop {
        match device.next().await {
            DeviceEvent::Message(delivery) => {
                println!("pump at {at}: {:?}", delivery.message.body);
                let _ = device.settle(delivery.token, Disposition::Complete).await;
            }
            DeviceEvent::Method(call, name, _) => {
                device.reply(call, 200, format!("\"{name} done at {at}\"")).await;
            }
            DeviceEvent::Desired(..) => {}
            DeviceEvent::Closed(reason) => return println!("pump at {at}: closed, {reason}"),
        }
    }
}

async fn connect(hub: &Hub, at: &'static str) -> Result<tokio::task::JoinHandle<()>, Error> {
    let mut device = hub.device(&Address::parse("pump")?).await?;
    device.subscribe(Interest::Messages).await?;
    device.subscribe(Interest::Methods).await?;
    Ok(tokio::spawn(live(device, at)))
}

async fn call(hub: &Hub, at: &str) -> Result<(), Error> {
    let reply = hub.invoke(&Address::parse("pump")?, MethodCall::new("restart")).await?;
    println!("back end at {at}: {:?}", reply.payload);
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let url = std::env::args().nth(1).or_else(|| std::env::var("HUB_POSTGRES_URL").ok());
    let url = url.ok_or("give the URL of a PostgreSQL")?;
    let (north, south) = (node("north", &url).await?, node("south", &url).await?);
    let pump = Address::parse("pump")?;
    // Registered by either; a second run finds it there.
    let _ = north.registry().put(&IdentitySpec::new(pump.clone()), None).await;

    let at_north = connect(&north, "north").await?;
    south.send(&pump, Message::new("open the valve")).await?;
    call(&south, "south").await?;

    // The newest connection wins, whichever node it is at.
    let at_south = connect(&south, "south").await?;
    at_north.await?;
    call(&north, "north").await?;

    // South is stopped in good order; the pump comes back to north, and nothing is lost meanwhile.
    let report = south.shutdown(Duration::from_secs(10)).await;
    println!("south stopped, everything accepted was written: {}", report.drained);
    at_south.await?;
    north.send(&pump, Message::new("close the valve")).await?;
    let at_north = connect(&north, "north").await?;
    call(&north, "north").await?;
    while north.queue_depth(&pump).await? > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    north.shutdown(Duration::from_secs(10)).await;
    at_north.await?;
    Ok(())
}
