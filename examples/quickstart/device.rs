//! A device as an ordinary MQTT client has it: topics and payloads, nothing of the hub's.

use std::time::Duration;

use rumqttc::{AsyncClient, Event, MqttOptions, Packet, Publish, QoS};
use tokio::sync::mpsc;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// What the device subscribes to: messages, methods, twin answers, desired properties.
const FILTERS: [&str; 4] = [
    "devices/pump/messages/devicebound/#",
    "$iothub/methods/POST/#",
    "$iothub/twin/res/#",
    "$iothub/twin/PATCH/properties/desired/#",
];

pub(crate) struct Device {
    client: AsyncClient,
    heard: mpsc::Receiver<Packet>,
}

impl Device {
    pub(crate) async fn connect(id: &str, port: u16, token: &str) -> Result<Self> {
        let mut options = MqttOptions::new(id, "127.0.0.1", port);
        options.set_credentials(format!("localhost/{id}/?api-version=2021-04-12"), token);
        options.set_clean_session(false);
        let (client, mut connection) = AsyncClient::new(options, 16);
        let (say, heard) = mpsc::channel(16);
        let answer = client.clone();
        tokio::spawn(async move {
            // Ends with the connection; whoever waits for something to be heard then learns it.
            while let Ok(event) = connection.poll().await {
                let Event::Incoming(packet) = event else { continue };
                if let Packet::Publish(call) = &packet
                    && call.topic.starts_with("$iothub/methods/POST/")
                {
                    // The call's number is the end of its topic; the answer repeats it.
                    let number = call.topic.rsplit('/').next().unwrap_or_default();
                    let topic = format!("$iothub/methods/res/200/{number}");
                    if answer.publish(topic, QoS::AtLeastOnce, false, "\"done\"").await.is_err() {
                        return;
                    }
                } else if say.send(packet).await.is_err() {
                    return;
                }
            }
        });
        let mut device = Self { client, heard };
        for filter in FILTERS {
            device.client.subscribe(filter, QoS::AtLeastOnce).await?;
            device.wait(|packet| matches!(packet, Packet::SubAck(_))).await?;
        }
        Ok(device)
    }

    async fn wait(&mut self, wanted: impl Fn(&Packet) -> bool) -> Result<Packet> {
        let mut next = async || loop {
            match self.heard.recv().await {
                Some(packet) if wanted(&packet) => return Ok(packet),
                Some(_) => {}
                None => return Err("the connection has ended"),
            }
        };
        Ok(tokio::time::timeout(Duration::from_secs(10), next()).await??)
    }

    /// Publishes telemetry, and waits until the hub says that it is durable.
    pub(crate) async fn telemetry(&mut self, body: &str) -> Result<()> {
        let topic = "devices/pump/messages/events/";
        self.client.publish(topic, QoS::AtLeastOnce, false, body).await?;
        self.wait(|packet| matches!(packet, Packet::PubAck(_))).await?;
        Ok(())
    }

    /// Patches the reported properties, and waits for the answer with the same number.
    pub(crate) async fn report(&mut self, patch: &str) -> Result<()> {
        let topic = "$iothub/twin/PATCH/properties/reported/?$rid=1";
        self.client.publish(topic, QoS::AtLeastOnce, false, patch).await?;
        self.heard("$iothub/twin/res/204/?$rid=1").await?;
        Ok(())
    }

    /// Waits for something on a topic that begins so.
    pub(crate) async fn heard(&mut self, topic: &str) -> Result<String> {
        let on_topic =
            |packet: &Packet| matches!(packet, Packet::Publish(p) if p.topic.starts_with(topic));
        match self.wait(on_topic).await? {
            Packet::Publish(Publish { payload, .. }) => {
                Ok(String::from_utf8_lossy(&payload).into_owned())
            }
            _ => Err("not a publish".into()),
        }
    }

    pub(crate) async fn disconnect(self) -> Result<()> {
        Ok(self.client.disconnect().await?)
    }
}
