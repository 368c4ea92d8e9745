//! A device: telemetry, reported properties, and what it is sent, over MQTT.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hub_core::conformance::store::Random;
use mqttbytes::v4::{Packet, Publish};
use serde_json::{Value, json};

use crate::mqtt::{Connection, Welcome};
use crate::oracle::{Kind, Section};
use crate::text;
use crate::world::{Endpoint, Phase, World};

/// Messages in flight at most.
const WINDOW: usize = 10;
/// Milliseconds between two things that a device does.
const PACE: u64 = 10;

/// How a device receives messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Receives {
    /// Over MQTT.
    Here,
    /// Over HTTP, elsewhere.
    Elsewhere,
}

/// A device over all its connections.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) world: Arc<World>,
    pub(crate) id: String,
    pub(crate) random: Random,
    pub(crate) receives: Receives,
    /// Bytes of a telemetry message.
    pub(crate) body: usize,
    token: String,
    last: u64,
    /// Sent and not acknowledged, oldest first.
    unacknowledged: VecDeque<u64>,
    packet_id: u16,
}

/// What is known of one connection.
#[derive(Debug)]
struct Session {
    wire: Connection,
    /// Packet ids of telemetry in flight, with their numbers.
    flight: VecDeque<(u16, u64)>,
    subscribing: Option<u16>,
    /// The twin has been asked for since the connection began, and no answer has come.
    looking: bool,
    looked: bool,
    /// A patch of the reported properties is under way.
    reporting: Option<u64>,
    /// Packet ids of messages received and not acknowledged.
    owed: VecDeque<u16>,
    /// The last version of the desired properties that was notified.
    notified: Option<u64>,
}

/// What an answer about the twin has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    Clear,
    /// Whether a patch was accepted is not known.
    Doubtful,
}

impl Device {
    pub(crate) fn new(
        world: &Arc<World>,
        id: &str,
        random: Random,
        receives: Receives,
        body: usize,
    ) -> Self {
        Self {
            world: Arc::clone(world),
            id: id.to_owned(),
            random,
            receives,
            body,
            token: world.token(id),
            last: 0,
            unacknowledged: VecDeque::new(),
            packet_id: 0,
        }
    }

    /// Runs until all is over. The numbers it has not been told of are those that nobody promised.
    pub(crate) async fn run(mut self) {
        let mut before = None;
        while let Some(hub) = self.world.hub(before, self.random.number()).await {
            // An error is the end of a connection, whatever it says.
            drop(self.connection(hub).await);
            before = Some(hub.life);
        }
    }

    async fn connection(&mut self, hub: Endpoint) -> io::Result<()> {
        let (wire, welcome) = Connection::open(hub.mqtt, &self.id, &self.token).await?;
        let session_present = match welcome {
            Welcome::Accepted { session_present } => session_present,
            Welcome::Unavailable => return Ok(()),
            Welcome::Unauthorized => {
                let oracle = &mut *self.world.oracle();
                oracle.identities.missing("the identity", &self.id, &mut oracle.findings);
                return Ok(());
            }
        };
        let mut session = Session {
            wire,
            flight: VecDeque::new(),
            subscribing: None,
            looking: false,
            looked: false,
            reporting: None,
            owed: VecDeque::new(),
            notified: None,
        };
        let known = self.world.oracle().sessions.has(&self.id);
        if known && !session_present {
            let oracle = &mut *self.world.oracle();
            oracle.sessions.missing("the session", &self.id, &mut oracle.findings);
        }
        match known {
            true => self.look(&mut session)?,
            false => self.subscribe(&mut session)?,
        }
        for number in self.unacknowledged.clone() {
            self.send(&mut session, number, true)?;
        }
        session.wire.flush().await?;
        self.work(hub, session).await
    }

    async fn work(&mut self, hub: Endpoint, mut session: Session) -> io::Result<()> {
        loop {
            let phase = self.world.phase();
            if phase == Phase::Over {
                return Ok(());
            }
            let pause = Duration::from_millis(self.random.below(PACE));
            let world = Arc::clone(&self.world);
            tokio::select! {
                packet = session.wire.next() => self.receive(&mut session, packet?)?,
                () = tokio::time::sleep(pause) => self.act(&mut session, phase)?,
                () = world.changed(hub.life, phase) => {
                    if world.phase() == phase {
                        return Ok(());
                    }
                }
            }
            session.wire.flush().await?;
        }
    }

    fn next_packet_id(&mut self) -> u16 {
        self.packet_id = self.packet_id.checked_add(1).unwrap_or(1);
        self.packet_id
    }

    fn subscribe(&mut self, session: &mut Session) -> io::Result<()> {
        let mut filters = vec![
            "$iothub/methods/POST/#".to_owned(),
            "$iothub/twin/res/#".to_owned(),
            "$iothub/twin/PATCH/properties/desired/#".to_owned(),
        ];
        if self.receives == Receives::Here {
            filters.push(format!("devices/{}/messages/devicebound/#", self.id));
        }
        let packet_id = self.next_packet_id();
        session.subscribing = Some(packet_id);
        session.wire.subscribe(packet_id, &filters)
    }

    /// Asks for the twin.
    fn look(&mut self, session: &mut Session) -> io::Result<()> {
        session.looking = true;
        let packet_id = self.next_packet_id();
        session.wire.publish("$iothub/twin/GET/?$rid=look", packet_id, false, b" ".to_vec())
    }

    fn send(&mut self, session: &mut Session, number: u64, again: bool) -> io::Result<()> {
        let packet_id = self.next_packet_id();
        self.world.oracle().telemetry(&self.id).0.sending(number);
        session.flight.push_back((packet_id, number));
        let topic = format!("devices/{}/messages/events/", self.id);
        let body = text::body(&self.id, number, self.body);
        session.wire.publish(&topic, packet_id, again, body)
    }

    fn act(&mut self, session: &mut Session, phase: Phase) -> io::Result<()> {
        if phase == Phase::Settling {
            return self.pay(session, usize::MAX);
        }
        match self.random.below(10) {
            0..6 => {
                let room = WINDOW.saturating_sub(session.flight.len());
                for _ in 0..self.random.below(5).min(u64::try_from(room).unwrap_or(0)) {
                    self.last += 1;
                    self.unacknowledged.push_back(self.last);
                    self.send(session, self.last, false)?;
                }
                Ok(())
            }
            6 | 7 => self.report(session),
            _ => {
                let most = usize::try_from(1 + self.random.below(3)).unwrap_or(1);
                self.pay(session, most)
            }
        }
    }

    fn report(&mut self, session: &mut Session) -> io::Result<()> {
        if !session.looked || session.reporting.is_some() {
            return Ok(());
        }
        let number = {
            let oracle = &mut *self.world.oracle();
            let (register, _) = oracle.register(&self.id, Section::Reported);
            let number = register.next();
            register.writing(number);
            number
        };
        session.reporting = Some(number);
        let topic = format!("$iothub/twin/PATCH/properties/reported/?$rid={number}");
        let packet_id = self.next_packet_id();
        let patch = json!({ "n": number }).to_string();
        session.wire.publish(&topic, packet_id, false, patch.into_bytes())
    }

    /// Acknowledges messages received, in order.
    fn pay(&mut self, session: &mut Session, most: usize) -> io::Result<()> {
        for packet_id in session.owed.drain(..most.min(session.owed.len())) {
            session.wire.acknowledge(packet_id)?;
        }
        Ok(())
    }

    fn receive(&mut self, session: &mut Session, packet: Packet) -> io::Result<()> {
        match packet {
            Packet::PubAck(ack) => self.acknowledged(session, ack.pkid),
            Packet::SubAck(ack) if session.subscribing == Some(ack.pkid) => {
                session.subscribing = None;
                self.world.oracle().sessions.add(&self.id);
                self.look(session)
            }
            Packet::Publish(publish) => self.published(session, &publish),
            other => Err(io::Error::other(format!("unexpected: {other:?}"))),
        }
    }

    fn acknowledged(&mut self, session: &mut Session, packet_id: u16) -> io::Result<()> {
        // Other publishes are acknowledged too; their answers say more.
        if let Some(at) = session.flight.iter().position(|(of, _)| *of == packet_id) {
            for (_, number) in session.flight.drain(..=at) {
                let expected = self.unacknowledged.pop_front();
                let oracle = &mut *self.world.oracle();
                if expected != Some(number) {
                    oracle.findings.add(Kind::Order, 1, || {
                        format!("{}: {number} acknowledged, {expected:?} was first", self.id)
                    });
                }
                let (telemetry, findings) = oracle.telemetry(&self.id);
                if at > 0 {
                    findings.add(Kind::Order, 1, || {
                        format!("{}: acknowledged out of order: {number}", self.id)
                    });
                }
                telemetry.acknowledge(&self.id, number, findings);
            }
        }
        Ok(())
    }

    fn published(&mut self, session: &mut Session, publish: &Publish) -> io::Result<()> {
        let topic = publish.topic.as_str();
        if let Some(rest) = topic.strip_prefix("$iothub/twin/res/") {
            if self.twin_answer(session, rest, &publish.payload) == Heard::Doubtful {
                self.look(session)?;
            }
        } else if let Some(rest) = topic.strip_prefix("$iothub/twin/PATCH/properties/desired/") {
            self.notified(session, rest);
        } else if topic.starts_with("$iothub/methods/POST/") {
            self.called(session, topic, &publish.payload)?;
        } else if topic.starts_with("devices/") {
            return self.message(session, publish);
        }
        match publish.pkid {
            0 => Ok(()),
            packet_id => session.wire.acknowledge(packet_id),
        }
    }

    fn message(&mut self, session: &mut Session, publish: &Publish) -> io::Result<()> {
        let Some((to, number)) = text::parse(&publish.payload) else {
            return Err(io::Error::other("a message in words of its own"));
        };
        let oracle = &mut *self.world.oracle();
        if to != self.id {
            let what = || format!("{}: C2D for {to}", self.id);
            oracle.findings.add(Kind::Invented, 1, what);
        }
        let (messages, findings) = oracle.messages(&self.id);
        messages.delivered(&self.id, number, None, findings);
        // From here on an acknowledgement may leave, and nobody confirms it.
        messages.settling(number);
        session.owed.push_back(publish.pkid);
        Ok(())
    }

    fn twin_answer(&mut self, session: &mut Session, rest: &str, body: &[u8]) -> Heard {
        let (status, query) = rest.split_once("/?$rid=").unwrap_or((rest, ""));
        let (rid, version) = query.split_once("&$version=").unwrap_or((query, ""));
        let oracle = &mut *self.world.oracle();
        let (register, findings) = oracle.register(&self.id, Section::Reported);
        let whose = format!("{} reported", self.id);
        if rid == "look" && session.looking {
            session.looking = false;
            let twin: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
            let at = |pointer: &str| twin.pointer(pointer).and_then(Value::as_u64);
            if status == "200"
                && let Some(version) = at("/reported/$version")
            {
                session.looked = true;
                register.look(&whose, at("/reported/n").unwrap_or(0), version, findings);
            }
        } else if let Some(number) = session.reporting.filter(|number| rid == number.to_string()) {
            match (status, version.parse()) {
                ("204", Ok(version)) => {
                    session.reporting = None;
                    register.acknowledge(&whose, number, version, findings);
                }
                // Whatever else it says, a look decides.
                _ => {
                    (session.reporting, session.looked) = (None, false);
                    return Heard::Doubtful;
                }
            }
        }
        Heard::Clear
    }

    /// A notice of a change of the desired properties: in order, each once.
    fn notified(&mut self, session: &mut Session, rest: &str) {
        let version = rest.strip_prefix("?$version=").and_then(|text| text.parse::<u64>().ok());
        let oracle = &mut *self.world.oracle();
        let (register, findings) = oracle.register(&self.id, Section::Desired);
        let Some(version) = version else {
            findings.add(Kind::Invented, 1, || format!("{}: a notice without version", self.id));
            return;
        };
        if let Some(last) = session.notified
            && version != last + 1
        {
            findings.add(Kind::Order, 1, || {
                format!("{}: notified of desired {version} after {last}", self.id)
            });
        }
        session.notified = Some(version);
        register.shown(&format!("{} desired", self.id), 0, version, findings);
    }

    fn called(&mut self, session: &mut Session, topic: &str, body: &[u8]) -> io::Result<()> {
        let rid = topic.split_once("/?$rid=").map_or("", |(_, rid)| rid);
        let call: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
        let number = call.get("call").and_then(Value::as_u64).unwrap_or(0);
        let answer = self.random.below(1 << 50);
        {
            let oracle = &mut *self.world.oracle();
            oracle.calls.dispatched(number, answer, &mut oracle.findings);
        }
        let topic = format!("$iothub/methods/res/200/?$rid={rid}");
        let packet_id = self.next_packet_id();
        let body = json!({ "answer": answer }).to_string();
        session.wire.publish(&topic, packet_id, false, body.into_bytes())
    }
}
