//! A back end of one device: sends it messages, writes its desired properties, calls its methods,
//! registers others; and after each crash looks whether what it was promised is there.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::Method;
use hub_core::conformance::store::Random;
use hub_core::time::Timestamp;
use serde_json::{Value, json};

use crate::http::{Client, Meaning};
use crate::oracle::{Expiry, Kind, Section};
use crate::text;
use crate::world::{Phase, World};

/// Milliseconds between two things that a back end does.
const PACE: u64 = 40;
/// Messages that it leaves in the queue at most; the hub refuses the fifty-first.
const QUEUE: usize = 40;
/// How long a message lives that is to expire.
const LIFE_MS: u64 = 5000;

/// A back end.
#[derive(Debug)]
pub(crate) struct Backend {
    pub(crate) world: Arc<World>,
    /// The device.
    pub(crate) id: String,
    pub(crate) random: Random,
}

impl Backend {
    /// Works until the faults are over.
    pub(crate) async fn run(mut self) {
        let mut before = None;
        while let Some(hub) = self.world.hub(before, self.random.number()).await {
            let mut client = Client::new(hub.http, self.world.owner());
            before = loop {
                let worked = match self.look(&mut client).await {
                    Ok(()) => self.work(&mut client).await,
                    Err(error) => Err(error),
                };
                match worked {
                    Ok(()) => return,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(_) => break Some(hub.life),
                }
            };
        }
    }

    /// Works until it is time to stop; `Interrupted` when something has to be looked for first.
    async fn work(&mut self, client: &mut Client) -> io::Result<()> {
        while self.world.phase() == Phase::Busy {
            tokio::time::sleep(Duration::from_millis(self.random.below(PACE))).await;
            match self.random.below(20) {
                0..9 => self.send(client).await?,
                9..15 => self.desire(client).await?,
                15..19 => self.call(client).await?,
                _ => self.register(client).await?,
            }
        }
        Ok(())
    }

    /// Looks at the queue and the twin.
    pub(crate) async fn look(&mut self, client: &mut Client) -> io::Result<()> {
        self.peek(client).await?;
        let floor = {
            let oracle = &mut *self.world.oracle();
            oracle.register(&self.id, Section::Reported).0.floor()
        };
        let reply = client.get(&format!("/twins/{}", self.id)).await?;
        if reply.status == 404 {
            let oracle = &mut *self.world.oracle();
            oracle.findings.add(Kind::Lost, 1, || format!("the twin of {} is gone", self.id));
        }
        let twin = reply.json();
        let at = |pointer: &str| twin.pointer(pointer).and_then(Value::as_u64);
        let (Some(desired), Some(reported)) =
            (at("/properties/desired/$version"), at("/properties/reported/$version"))
        else {
            return Err(io::Error::other(format!("no twin: {}", reply.status)));
        };
        let oracle = &mut *self.world.oracle();
        let (register, findings) = oracle.register(&self.id, Section::Desired);
        let number = at("/properties/desired/n").unwrap_or(0);
        register.look(&format!("{} desired", self.id), number, desired, findings);
        let (register, findings) = oracle.register(&self.id, Section::Reported);
        register.shown(&format!("{} reported", self.id), floor, reported, findings);
        Ok(())
    }

    /// Compares the queue with what was accepted.
    async fn peek(&mut self, client: &mut Client) -> io::Result<()> {
        let asked = self.world.oracle().messages(&self.id).0.mark();
        let path = format!("/devices/{}/messages/deviceBound/peek?max=1000", self.id);
        let reply = client.get(&path).await?;
        if reply.status != 200 {
            return Err(io::Error::other(format!("no queue: {}", reply.status)));
        }
        let mut found = BTreeMap::new();
        for message in reply.json().as_array().into_iter().flatten() {
            let body = message.get("body").and_then(Value::as_str).unwrap_or("");
            let body = BASE64_STANDARD.decode(body).unwrap_or_default();
            let sequence = message.get("sequenceNumber").and_then(Value::as_u64).unwrap_or(0);
            if let Some((_, number)) = text::parse(&body) {
                found.insert(number, sequence);
            }
        }
        let now = self.world.now();
        let oracle = &mut *self.world.oracle();
        let (messages, findings) = oracle.messages(&self.id);
        messages.queue(&self.id, asked, now, &found, findings);
        Ok(())
    }

    async fn send(&mut self, client: &mut Client) -> io::Result<()> {
        let expires = self.random.percent(10);
        let number = {
            let oracle = &mut *self.world.oracle();
            let (messages, _) = oracle.messages(&self.id);
            if messages.open() >= QUEUE {
                return Ok(());
            }
            let number = messages.next();
            let expiry = match expires {
                // Not a moment later than the hub will take it for: its clock is read after this one.
                true => Expiry::At(self.world.now() + LIFE_MS),
                false => Expiry::Never,
            };
            messages.sending(number, expiry);
            number
        };
        let path = format!("/devices/{}/messages/deviceBound", self.id);
        let expiry = in_a_while();
        let headers = [("iothub-expiry", expiry.as_str())];
        let headers = if expires { headers.as_slice() } else { &[] };
        let body = text::body(&self.id, number, 64);
        let reply = client.send(Method::POST, &path, headers, body).await?;
        let oracle = &mut *self.world.oracle();
        let (messages, findings) = oracle.messages(&self.id);
        match reply.meaning() {
            Meaning::Done => {
                let sequence = reply.json().get("sequenceNumber").and_then(Value::as_u64);
                messages.accepted(&self.id, number, sequence.unwrap_or(0), findings);
            }
            Meaning::Refused => messages.refused(number),
            Meaning::Unknown => {}
        }
        Ok(())
    }

    async fn desire(&mut self, client: &mut Client) -> io::Result<()> {
        let number = {
            let oracle = &mut *self.world.oracle();
            let (register, _) = oracle.register(&self.id, Section::Desired);
            let number = register.next();
            register.writing(number);
            number
        };
        let patch = json!({ "properties": { "desired": { "n": number } } }).to_string();
        let path = format!("/twins/{}", self.id);
        let reply = client.send(Method::PATCH, &path, &[], patch).await?;
        let oracle = &mut *self.world.oracle();
        let (register, findings) = oracle.register(&self.id, Section::Desired);
        let version = reply.json().pointer("/properties/desired/$version").and_then(Value::as_u64);
        match (reply.meaning(), version) {
            (Meaning::Done, Some(version)) => {
                let whose = format!("{} desired", self.id);
                register.acknowledge(&whose, number, version, findings);
                Ok(())
            }
            (Meaning::Refused, _) => {
                register.refused();
                Ok(())
            }
            _ => Err(io::ErrorKind::Interrupted.into()),
        }
    }

    async fn call(&mut self, client: &mut Client) -> io::Result<()> {
        let number = self.world.oracle().calls.calling();
        let body = json!({
            "methodName": "answer",
            "payload": { "call": number },
            "responseTimeoutInSeconds": 5,
        });
        let path = format!("/twins/{}/methods", self.id);
        let reply = client.send(Method::POST, &path, &[], body.to_string()).await?;
        if reply.meaning() == Meaning::Done {
            let answer = reply.json().pointer("/payload/answer").and_then(Value::as_u64);
            let oracle = &mut *self.world.oracle();
            oracle.calls.answer(number, answer.unwrap_or(0), &mut oracle.findings);
        }
        Ok(())
    }

    /// Registers another device.
    async fn register(&mut self, client: &mut Client) -> io::Result<()> {
        let id = format!("{}-{:x}", self.id, self.random.number());
        let body = json!({ "deviceId": id }).to_string();
        let reply = client.send(Method::PUT, &format!("/devices/{id}"), &[], body).await?;
        if reply.meaning() == Meaning::Done {
            self.world.oracle().identities.add(&id);
        }
        Ok(())
    }
}

/// An instant a little ahead, as a header says it.
fn in_a_while() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    Timestamp::from_millis(now).after(Duration::from_millis(LIFE_MS)).to_string()
}

/// Looks for every device that was registered.
pub(crate) async fn look_for_identities(world: &World, client: &mut Client) -> io::Result<()> {
    let all: Vec<String> = world.oracle().identities.iter().map(str::to_owned).collect();
    for id in all {
        if client.get(&format!("/devices/{id}")).await?.status != 200 {
            let oracle = &mut *world.oracle();
            oracle.identities.missing("the identity", &id, &mut oracle.findings);
        }
    }
    Ok(())
}
