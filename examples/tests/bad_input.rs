//! Ten thousand streams of rubbish against a running hubd: a healthy device works on, nothing panics,
//! every stream is ended, and memory stays where it was.
//!
//! Stream `n` has the same bytes in every run, so one that did harm can be had again.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod common;

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use hub_core::security::{KeyForm, SymmetricKey, sign};
use hub_core::time::Timestamp;
use hub_mqtt::codec::{self, Connect, Decoded, Packet, PacketId, Publish, Qos, decode};
use serde_json::Value;

const STREAMS: u64 = 10_000;
const ATTACKERS: u64 = 16;
/// How much of a stream is random, at most.
const LONGEST: u64 = 4096;
/// By how much the process may have grown at its worst: far less than what the streams announce,
/// which is up to 256 MiB each, and some times what sixteen at once may have on their way.
const GROWTH_KIB: u64 = 32 * 1024;
/// Only a stream that is never ended takes so long.
const PATIENCE: Duration = Duration::from_secs(60);
const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// A small generator (SplitMix64): no two streams alike, and each the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    fn bytes(&mut self, most: u64) -> Vec<u8> {
        (0..self.below(most)).map(|_| self.next() as u8).collect()
    }

    /// Flips, cuts out, repeats or puts in something, a few times.
    fn spoil(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len() as u64) as usize;
            let to = (at + self.below(9) as usize).min(bytes.len());
            match self.below(5) {
                0 => bytes.truncate(at),
                1 => drop(bytes.drain(at..to)),
                2 => drop(bytes.splice(at..at, self.bytes(9))),
                3 => bytes.extend_from_within(at..to),
                _ => {
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte ^= 1 << self.below(8);
                    }
                }
            }
        }
    }
}

fn token(device: &str) -> String {
    let resource = format!("localhost/devices/{device}");
    let expiry = Timestamp::from_millis(4_102_444_800_000);
    sign(&resource, &SymmetricKey::from_base64(KEY).unwrap(), KeyForm::Decoded, expiry, None)
}

fn connect(device: &str) -> Vec<u8> {
    let (username, password) =
        (format!("localhost/{device}/?api-version=2021-04-12"), token(device));
    let connect = Connect {
        clean_session: false,
        keep_alive: 60,
        client_id: device,
        will: None,
        username: Some(&username),
        password: Some(password.as_bytes()),
    };
    let mut bytes = Vec::new();
    codec::connect(&mut bytes, &connect).unwrap();
    bytes
}

fn publish(bytes: &mut Vec<u8>, id: u16, topic: &str, payload: &[u8]) {
    let id = PacketId::new(id);
    let qos = if id.is_some() { Qos::One } else { Qos::Zero };
    let publish = Publish { dup: false, qos, retain: false, id, topic, payload };
    codec::publish(bytes, &publish).unwrap();
}

/// What a device says when all is well.
fn conversation(random: &mut Random, device: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let id = PacketId::new(7).unwrap();
    let devicebound = format!("devices/{device}/messages/devicebound/#");
    for _ in 0..=random.below(6) {
        match random.below(7) {
            0 => codec::simple(&mut bytes, Packet::PingReq),
            1 => codec::puback(&mut bytes, id),
            2 => {
                let filters =
                    [(devicebound.as_str(), Qos::One), ("$iothub/methods/POST/#", Qos::Zero)];
                codec::subscribe(&mut bytes, id, &filters).unwrap();
            }
            3 => codec::unsubscribe(&mut bytes, id, &[&devicebound]).unwrap(),
            4 => publish(&mut bytes, 8, "$iothub/twin/GET/?$rid=1", b""),
            5 => {
                let topic = "$iothub/twin/PATCH/properties/reported/?$rid=1";
                publish(&mut bytes, 9, topic, br#"{"a":{"b":null}}"#);
            }
            _ => {
                let topic = format!("devices/{device}/messages/events/%24.ct=a&b=c");
                publish(&mut bytes, 10, &topic, b"{}");
            }
        }
    }
    bytes
}

fn request(random: &mut Random, device: &str) -> Vec<u8> {
    let path = match random.below(4) {
        0 => format!("POST /devices/{device}/messages/events"),
        1 => format!("GET /devices/{device}/messages/devicebound"),
        2 => format!("GET /twins/{device}"),
        _ => "GET /openapi.json".to_owned(),
    };
    let length = match random.below(4) {
        0 => "transfer-encoding: chunked\r\n".to_owned(),
        1 => format!("content-length: {}\r\n", random.next()),
        _ => "content-length: 5\r\n".to_owned(),
    };
    format!(
        "{path}?api-version=2021-04-12 HTTP/1.1\r\nhost: localhost\r\nauthorization: {}\r\n{length}\
         iothub-app-a: b\r\n\r\n",
        token(device)
    )
    .into_bytes()
}

const UPGRADE: &str = "GET /$iothub/websocket?iothub-no-client-cert=true HTTP/1.1\r\n\
    host: localhost\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
    sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-protocol: mqtt\r\n\r\n";

/// Stream `n` of an attacker that is registered as `device`: whether it is for the MQTT port, and
/// what it says.
fn stream(n: u64, device: &str) -> (bool, Vec<u8>) {
    let mut random = Random(n);
    let mqtt = n.is_multiple_of(2);
    let mut bytes = Vec::new();
    match (mqtt, random.below(5)) {
        (_, 0) => {}
        // A length that promises much.
        (true, 1) => bytes.extend([random.next() as u8, 0xff, 0xff, 0xff, 0x7f]),
        (true, 2) => {
            bytes = connect(device);
            random.spoil(&mut bytes);
        }
        (true, 3) => bytes = connect(device),
        (true, _) => {
            let mut said = conversation(&mut random, device);
            random.spoil(&mut said);
            bytes = [connect(device), said].concat();
        }
        (false, 1) => {
            bytes = request(&mut random, device);
            random.spoil(&mut bytes);
        }
        (false, 2) => bytes = UPGRADE.into(),
        (false, 3) => {
            bytes = UPGRADE.into();
            // A whole masked frame, whatever it has.
            let said = connect(device);
            bytes.extend([0x82, 0xfe, (said.len() >> 8) as u8, said.len() as u8, 0, 0, 0, 0]);
            bytes.extend(said);
        }
        (false, _) => bytes = request(&mut random, device),
    }
    bytes.extend(random.bytes(LONGEST));
    (mqtt, bytes)
}

/// A running hubd. Killed when it is dropped.
struct Hubd {
    child: Child,
    folder: PathBuf,
    mqtt: SocketAddr,
    http: SocketAddr,
}

impl Hubd {
    fn start() -> Self {
        let name = format!("bad-input-{}", std::process::id());
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&folder).unwrap();
        let mut command = Command::new(common::binary("hubd"));
        command.args(["--store", "memory", "--mqtts", "off", "--https", "off", "--amqps", "off"]);
        command.args(["--mqtt", "127.0.0.1:0", "--http", "127.0.0.1:0", "--data-dir"]).arg(&folder);
        command.arg("--device").arg(format!("healthy={KEY}"));
        for attacker in 0..ATTACKERS {
            command.arg("--device").arg(format!("attacker{attacker}={KEY}"));
        }
        let said = File::create(folder.join("said")).unwrap();
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(said).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(line.strip_prefix("ready ").unwrap()).unwrap();
        let port = |name: &str| ready[name].as_str().unwrap().parse().unwrap();
        Self { child, folder, mqtt: port("mqtt"), http: port("http") }
    }

    /// What the process has had in memory at most, where the operating system says so.
    fn most_kib(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.trim().strip_suffix(" kB")?.parse().ok()
    }
}

impl Drop for Hubd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn dial(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).expect("the hub listens");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Says it, and listens until the hub has ended the connection, or hangs up at once.
fn attack(addr: SocketAddr, n: u64, bytes: &[u8]) {
    let mut stream = dial(addr);
    // The hub may have seen enough before all is said.
    let written = stream.write_all(bytes);
    if n.is_multiple_of(3) || written.is_err() {
        return;
    }
    let _ = stream.shutdown(Shutdown::Write);
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) => {
                let timeouts = [std::io::ErrorKind::WouldBlock, std::io::ErrorKind::TimedOut];
                assert!(!timeouts.contains(&error.kind()), "stream {n} is held open");
                return;
            }
        }
    }
}

/// A device that does what devices do, until it is told to stop. Gives how much was acknowledged.
fn work(addr: SocketAddr, stop: &AtomicBool) -> u64 {
    let mut stream = dial(addr);
    stream.set_nodelay(true).unwrap();
    stream.write_all(&connect("healthy")).unwrap();
    let (mut bytes, mut rounds) = (Vec::new(), 0_u64);
    assert!(matches!(hear(&mut stream, &mut bytes), Heard::Welcome));
    while !stop.load(Ordering::Relaxed) {
        rounds += 1;
        let id = (rounds % 60_000 + 1) as u16;
        let mut said = Vec::new();
        publish(&mut said, id, "devices/healthy/messages/events/", &rounds.to_be_bytes());
        stream.write_all(&said).expect("the healthy device stays connected");
        assert_eq!(hear(&mut stream, &mut bytes), Heard::Acknowledged(id));
    }
    rounds
}

#[derive(Debug, PartialEq, Eq)]
enum Heard {
    Welcome,
    Acknowledged(u16),
}

fn hear(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Heard {
    loop {
        let found = match decode(bytes, 1 << 20) {
            Ok(Decoded::Packet(Packet::ConnAck(_, codec::ConnectCode::Accepted), length)) => {
                Some((Heard::Welcome, length))
            }
            Ok(Decoded::Packet(Packet::PubAck(id), length)) => {
                Some((Heard::Acknowledged(id.get()), length))
            }
            Ok(Decoded::Incomplete(_)) => None,
            other => panic!("the healthy device hears {other:?}"),
        };
        if let Some((heard, length)) = found {
            bytes.drain(..length);
            return heard;
        }
        let mut buffer = [0; 256];
        let read = stream.read(&mut buffer).expect("the healthy device is answered");
        assert!(read > 0, "the healthy device was disconnected");
        bytes.extend(&buffer[..read]);
    }
}

#[test]
fn ten_thousand_random_streams_do_no_harm() {
    let mut hubd = Hubd::start();
    // The first of each sort take up what the process needs anyway.
    for n in 0..200 {
        let (mqtt, bytes) = stream(STREAMS + n, "attacker0");
        attack(if mqtt { hubd.mqtt } else { hubd.http }, n, &bytes);
    }
    let before = hubd.most_kib();
    let (mqtt_addr, http_addr) = (hubd.mqtt, hubd.http);
    let (stop, next) = (AtomicBool::new(false), AtomicU64::new(0));
    let acknowledged = std::thread::scope(|scope| {
        let worker = scope.spawn(|| work(mqtt_addr, &stop));
        let next = &next;
        let attackers: Vec<_> = (0..ATTACKERS)
            .map(|attacker| {
                scope.spawn(move || {
                    let device = format!("attacker{attacker}");
                    loop {
                        let n = next.fetch_add(1, Ordering::Relaxed);
                        if n >= STREAMS {
                            return;
                        }
                        let (mqtt, bytes) = stream(n, &device);
                        attack(if mqtt { mqtt_addr } else { http_addr }, n, &bytes);
                    }
                })
            })
            .collect();
        let ended: Vec<_> = attackers.into_iter().map(|attacker| attacker.join()).collect();
        stop.store(true, Ordering::Relaxed);
        let acknowledged = worker.join().expect("the healthy device is unharmed");
        assert!(ended.iter().all(Result::is_ok), "an attacker was not answered as it should be");
        acknowledged
    });
    assert!(acknowledged > 0, "the healthy device did nothing meanwhile");
    assert!(hubd.child.try_wait().unwrap().is_none(), "hubd has ended");
    let said = fs::read_to_string(hubd.folder.join("said")).unwrap();
    assert!(!said.contains("panicked"), "{said}");
    if let (Some(before), Some(after)) = (before, hubd.most_kib()) {
        assert!(after <= before + GROWTH_KIB, "it has grown from {before} KiB to {after} KiB");
    }
    // Whoever comes after all this is served as ever.
    work(hubd.mqtt, &AtomicBool::new(true));
}
