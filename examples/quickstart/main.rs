//! The main job in one screen: a hub, a device that speaks MQTT, and every pattern of messaging.
//!
//! The device (`device.rs`) is a plain MQTT client over a TCP socket. The back end is this program:
//! it calls the hub it embeds.

mod device;

use std::time::Duration;

use device::Device;
use hub_core::engine::Position;
use hub_core::envelope::{Ack, Message};
use hub_core::id::Address;
use hub_core::method::MethodCall;
use hub_core::registry::IdentitySpec;
use hub_core::security::{Authentication, KeyForm, sign};
use hub_core::twin::ServicePatch;
use hub_core::{Hub, Limits};
use hub_mqtt::MqttTransport;
use hub_store_memory::MemoryStore;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // A hub in this process. Feedback is gathered for 15 s by default; here nobody waits that long.
    let mut limits = Limits::default();
    limits.feedback_batch_age = Duration::from_millis(100);
    let hub = Hub::builder(MemoryStore::new()).host_name("localhost").limits(limits).start()?;
    let mqtt = MqttTransport::builder().listen("127.0.0.1:0".parse()?).bind()?;
    let port = mqtt.local_addrs().first().ok_or("no address")?.port();
    hub.serve(mqtt);
    println!("hub       listens on port {port}");

    // A device in the registry, and a token signed with its key.
    let pump = Address::parse("pump")?;
    let identity = hub.registry().put(&IdentitySpec::new(pump.clone()), None).await?;
    let Authentication::Sas { primary, .. } = identity.authentication() else {
        return Err("a new identity has keys".into());
    };
    let until = hub.now().after(Duration::from_secs(3600));
    let token = sign("localhost/devices/pump", primary, KeyForm::Decoded, until, None);
    let mut device = Device::connect("pump", port, &token).await?;
    println!("device    is connected");

    // Telemetry: the device publishes, a back end reads the log.
    device.telemetry("{\"bar\":2.5}").await?;
    let mut reader = hub.reader(pump.partition(hub.partitions()), Position::Earliest).await?;
    for event in reader.read(10).await? {
        let body = String::from_utf8_lossy(&event.body);
        println!("telemetry {} sent {body}, number {}", event.sender, event.sequence);
    }

    // Cloud-to-device message: durable when `send` returns, reported back when it is done.
    let message = Message::new("open the valve").with_message_id("m-1").with_ack(Ack::Full);
    let sent = hub.send(&pump, message).await?;
    println!("message   the device heard {:?}", device.heard("devices/pump/messages/").await?);
    println!("message   its life ended: {:?}", sent.await.ok_or("no outcome")?);
    let feedback = hub.feedback().receive().await?;
    for record in &feedback.records {
        println!("feedback  {}: {}", record.message_id, record.status.name());
    }

    // Twin: the device reports, a back end desires.
    device.report("{\"firmware\":\"1.4\"}").await?;
    let twin = hub.registry().twin(&pump).await?.twin;
    println!("twin      reported: {}", twin.reported().to_value());
    let desired = br#"{"properties":{"desired":{"interval":5}}}"#;
    hub.patch_twin(&pump, ServicePatch::parse(desired, hub.limits())?, None).await?;
    let notice = device.heard("$iothub/twin/PATCH/properties/desired/").await?;
    println!("twin      the device heard {notice:?}");

    // Direct method: a question to a connected device, answered or failed at once.
    let call = MethodCall::new("reboot").with_payload("{\"delay\":3}");
    let reply = hub.invoke(&pump, call).await?;
    println!("method    status {}: {}", reply.status, String::from_utf8_lossy(&reply.payload));

    device.disconnect().await?;
    let report = hub.shutdown(Duration::from_secs(2)).await;
    println!("hub       stopped; everything accepted was written: {}", report.drained);
    Ok(())
}
