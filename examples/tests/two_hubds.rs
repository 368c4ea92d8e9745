//! Two `hubd` processes on one PostgreSQL are one hub: a device at one of them, its back end at the
//! other, and then the first is killed. Nothing that either acknowledged is lost.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests fail by panicking"
)]

mod common;
#[path = "../../hub-store-postgres/tests/server/mod.rs"]
mod server;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hub_core::security::{KeyForm, SymmetricKey, sign};
use hub_core::time::Timestamp;
use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;

const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
/// Only what never comes takes so long.
const PATIENCE: Duration = Duration::from_secs(240);
const PARTITIONS: u16 = 2;
const FILTERS: [&str; 4] = [
    "devices/pump/messages/devicebound/#",
    "$iothub/methods/POST/#",
    "$iothub/twin/res/#",
    "$iothub/twin/PATCH/properties/desired/#",
];

async fn soon<T>(what: &str, wanted: impl Future<Output = T>) -> T {
    let within = tokio::time::timeout(PATIENCE, wanted).await;
    within.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"))
}

fn token(resource: &str, policy: Option<&str>) -> String {
    let expiry = Timestamp::from_millis(4_102_444_800_000);
    sign(resource, &SymmetricKey::from_base64(KEY).unwrap(), KeyForm::Decoded, expiry, policy)
}

/// A running hubd. Killed when it is dropped.
struct Hubd {
    child: Child,
    folder: PathBuf,
    mqtt: SocketAddr,
    http: SocketAddr,
}

impl Hubd {
    fn start(node: &str, store: &str) -> Self {
        let name = format!("two-hubds-{}-{node}", std::process::id());
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&folder).unwrap();
        let mut command = Command::new(common::binary("hubd"));
        command.args(["--store", store, "--node-name", node, "--owner-key", KEY]);
        command.args(["--mqtts", "off", "--https", "off", "--amqps", "off"]);
        command.args(["--mqtt", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
        command.args(["--device", &format!("pump={KEY}"), "--partitions", &PARTITIONS.to_string()]);
        command.arg("--data-dir").arg(&folder);
        let said = File::create(folder.join("said")).unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(said);
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let Some(ready) = line.strip_prefix("ready ") else {
            panic!("{}", fs::read_to_string(folder.join("said")).unwrap_or_default())
        };
        let ready: Value = serde_json::from_str(ready).unwrap();
        let port = |name: &str| ready[name].as_str().unwrap().parse().unwrap();
        Self { child, folder, mqtt: port("mqtt"), http: port("http") }
    }

    /// Ends it as a loss of power does: no farewell to anybody.
    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks as a back end. Gives the status and the document.
    async fn ask(&self, verb: &str, path: &str, body: &[u8]) -> (u16, Value) {
        let token = token("localhost", Some("iothubowner"));
        let length = body.len();
        let head = format!(
            "{verb} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: {token}\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\n\r\n"
        );
        let exchange = async {
            let mut stream = tokio::net::TcpStream::connect(self.http).await.unwrap();
            stream.write_all(&[head.as_bytes(), body].concat()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let answer = soon(path, exchange).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or(Value::Null))
    }

    /// The same, and it has to work.
    async fn done(&self, verb: &str, path: &str, body: &str) -> Value {
        let path = format!("{path}?api-version=2021-04-12");
        let (status, answer) = self.ask(verb, &path, body.as_bytes()).await;
        assert!((200..300).contains(&status), "{verb} {path}: {status} {answer}");
        answer
    }

    /// The numbers of all telemetry in the log.
    async fn logged(&self) -> BTreeSet<u64> {
        let mut numbers = BTreeSet::new();
        for partition in 0..PARTITIONS {
            let mut from = "earliest".to_owned();
            loop {
                let path = format!(
                    "/messages/events/ConsumerGroups/$Default/Partitions/{partition}\
                     ?api-version=2021-04-12&from={from}"
                );
                let (status, page) = self.ask("GET", &path, b"").await;
                assert_eq!(status, 200, "{page}");
                let events = page["events"].as_array().unwrap();
                if events.is_empty() {
                    break;
                }
                let number = |event: &Value| event["properties"]["n"].as_str()?.parse::<u64>().ok();
                numbers.extend(events.iter().filter_map(number));
                from = format!("sequence:{}", page["next"]);
            }
        }
        numbers
    }
}

impl Drop for Hubd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// An ordinary MQTT client with a stored session. It answers methods by itself. Only telemetry is
/// published with an acknowledgement, so that each that comes belongs to the last message.
struct Device {
    client: AsyncClient,
    heard: mpsc::UnboundedReceiver<Packet>,
    /// What came on a topic, and was not asked for yet.
    kept: Vec<(String, String)>,
}

/// The connection has ended.
#[derive(Debug)]
struct Gone;

impl Device {
    async fn connect(at: SocketAddr) -> Self {
        let mut options = MqttOptions::new("pump", at.ip().to_string(), at.port());
        let username = "localhost/pump/?api-version=2021-04-12";
        options.set_credentials(username, token("localhost/devices/pump", None));
        options.set_clean_session(false);
        let (client, mut connection) = AsyncClient::new(options, 64);
        let (say, heard) = mpsc::unbounded_channel();
        let answer = client.clone();
        tokio::spawn(async move {
            // Ends with the connection; whoever waits for something to be heard then learns it.
            while let Ok(event) = connection.poll().await {
                let Event::Incoming(packet) = event else { continue };
                if let Packet::Publish(call) = &packet
                    && call.topic.starts_with("$iothub/methods/POST/")
                {
                    let number = call.topic.rsplit('/').next().unwrap_or_default();
                    let topic = format!("$iothub/methods/res/200/{number}");
                    if answer.try_publish(topic, QoS::AtMostOnce, false, "\"done\"").is_err() {
                        return;
                    }
                } else if say.send(packet).is_err() {
                    return;
                }
            }
        });
        let mut device = Self { client, heard, kept: Vec::new() };
        for filter in FILTERS {
            device.client.subscribe(filter, QoS::AtLeastOnce).await.unwrap();
            device.wait(|packet| matches!(packet, Packet::SubAck(_))).await.unwrap();
        }
        device
    }

    /// Waits for a packet and keeps what is published meanwhile.
    async fn wait(&mut self, wanted: impl Fn(&Packet) -> bool) -> Result<(), Gone> {
        loop {
            let packet = soon("something to be heard", self.heard.recv()).await.ok_or(Gone)?;
            if let Packet::Publish(publish) = &packet {
                let body = String::from_utf8_lossy(&publish.payload).into_owned();
                self.kept.push((publish.topic.clone(), body));
            }
            if wanted(&packet) {
                return Ok(());
            }
        }
    }

    /// Publishes telemetry, and waits until the hub says that it is durable.
    async fn telemetry(&mut self, number: u64) -> Result<(), Gone> {
        let topic = format!("devices/pump/messages/events/n={number}");
        let sent = self.client.publish(topic, QoS::AtLeastOnce, false, "21.5").await;
        sent.map_err(|_| Gone)?;
        self.wait(|packet| matches!(packet, Packet::PubAck(_))).await
    }

    /// Waits for something on a topic that begins so, with this in it.
    async fn hear(&mut self, topic: &str, part: &str) -> String {
        loop {
            let found = self
                .kept
                .iter()
                .position(|(on, body)| on.starts_with(topic) && body.contains(part));
            if let Some(found) = found {
                return self.kept.remove(found).1;
            }
            let heard = self.wait(|packet| matches!(packet, Packet::Publish(_))).await;
            heard.unwrap_or_else(|Gone| panic!("gone before {part} was heard on {topic}"));
        }
    }

    /// Patches the reported properties, and waits until that is durable.
    async fn report(&mut self, patch: &str) {
        let topic = "$iothub/twin/PATCH/properties/reported/?$rid=1";
        self.client.publish(topic, QoS::AtMostOnce, false, patch).await.unwrap();
        self.hear("$iothub/twin/res/204/?$rid=1", "").await;
    }

    async fn twin(&mut self) -> Value {
        let topic = "$iothub/twin/GET/?$rid=2";
        self.client.publish(topic, QoS::AtMostOnce, false, "").await.unwrap();
        let twin = self.hear("$iothub/twin/res/200/?$rid=2", "").await;
        serde_json::from_str(&twin).unwrap()
    }
}

const C2D: &str = "devices/pump/messages/devicebound/";
const DESIRED: &str = "$iothub/twin/PATCH/properties/desired/";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_outlives_the_node_it_is_at() {
    let schema = server::Schema::new();
    let url = server::url();
    let store = match url.contains('?') {
        true => format!("{url}&schema={}", schema.name),
        false => format!("{url}?schema={}", schema.name),
    };
    let mut a = Hubd::start("a", &store);
    let b = Hubd::start("b", &store);
    let send = async |text: &str| {
        b.done("POST", "/devices/pump/messages/deviceBound", text).await;
    };
    let desire = async |mode: &str| {
        let patch = json!({"properties": {"desired": {"mode": mode}}}).to_string();
        b.done("PATCH", "/twins/pump", &patch).await;
    };

    // A device at A, its back end at B.
    let mut device = Device::connect(a.mqtt).await;
    send("first").await;
    device.hear(C2D, "first").await;
    let call = json!({"methodName": "restart", "payload": 1}).to_string();
    let reply = b.done("POST", "/twins/pump/methods", &call).await;
    assert_eq!(reply, json!({"status": 200, "payload": "done"}));
    desire("one").await;
    device.hear(DESIRED, "one").await;
    device.report(r#"{"firmware":"1.4"}"#).await;

    // A is killed while the device sends.
    let acknowledged = Arc::new(AtomicU64::new(0));
    let sending = tokio::spawn({
        let acknowledged = acknowledged.clone();
        async move {
            let mut number = 0;
            while device.telemetry(number).await.is_ok() {
                number += 1;
                acknowledged.store(number, Ordering::SeqCst);
            }
        }
    });
    let enough = async {
        while acknowledged.load(Ordering::SeqCst) < 50 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon("fifty acknowledgements", enough).await;
    a.kill();
    soon("the end of the connection", sending).await.unwrap();
    let acknowledged = acknowledged.load(Ordering::SeqCst);

    // The store says that the device is at A. B takes all the same what is for it.
    send("second").await;
    desire("two").await;

    // It comes back at B, and finds everything there.
    let mut device = Device::connect(b.mqtt).await;
    device.hear(C2D, "second").await;
    let twin = device.twin().await;
    assert_eq!(twin["desired"]["mode"], "two", "{twin}");
    assert_eq!(twin["reported"]["firmware"], "1.4", "{twin}");
    let reply = b.done("POST", "/twins/pump/methods", &call).await;
    assert_eq!(reply, json!({"status": 200, "payload": "done"}));
    for number in 1_000_000..1_000_010 {
        device.telemetry(number).await.unwrap();
    }
    let logged = b.logged().await;
    let wanted = (0..acknowledged).chain(1_000_000..1_000_010);
    let lost: Vec<u64> = wanted.filter(|number| !logged.contains(number)).collect();
    assert!(lost.is_empty(), "acknowledged and not in the log: {lost:?}");
    // Nothing is left to be delivered: what was heard was completed.
    let settled = async {
        while b.done("GET", "/devices/pump", "").await["cloudToDeviceMessageCount"] != 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    soon("all messages completed", settled).await;
}
