//! A reader of the whole log, that goes on after each crash where it was.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use crate::http::Client;
use crate::oracle::Kind;
use crate::text;
use crate::world::{Phase, World};

/// Events of a page.
const PAGE: u32 = 500;
/// How long it rests when it has read everything.
const REST: Duration = Duration::from_millis(25);

/// Reads until all is over.
pub(crate) async fn run(world: Arc<World>) {
    let mut before = None;
    // Each time another node, where there are several.
    for choice in 0.. {
        let Some(hub) = world.hub(before, choice).await else { return };
        let mut client = Client::new(hub.http, world.owner());
        drop(follow(&world, &mut client).await);
        before = Some(hub.life);
    }
}

async fn follow(world: &World, client: &mut Client) -> io::Result<()> {
    while world.phase() != Phase::Over {
        if catch_up(world, client).await? == 0 {
            tokio::time::sleep(REST).await;
        }
    }
    Ok(())
}

/// Reads what is new; how much it was.
pub(crate) async fn catch_up(world: &World, client: &mut Client) -> io::Result<usize> {
    let mut count = 0;
    for (partition, next) in partitions(client).await? {
        let from = {
            let oracle = &mut *world.oracle();
            oracle.log.ends(partition, next, &mut oracle.findings);
            oracle.log.next(partition)
        };
        if from < next {
            let events = page(client, partition, from).await?;
            count += events.len();
            let oracle = &mut *world.oracle();
            for event in events {
                event.take_up(partition, oracle);
            }
        }
    }
    Ok(count)
}

/// Reads everything once more, and compares.
pub(crate) async fn read_again(world: &World, client: &mut Client) -> io::Result<()> {
    for (partition, next) in partitions(client).await? {
        let mut from = 1;
        while from < next {
            let events = page(client, partition, from).await?;
            let Some(last) = events.last() else {
                let oracle = &mut *world.oracle();
                let what = || format!("partition {partition}: nothing from {from} on");
                oracle.findings.add(Kind::Lost, 1, what);
                break;
            };
            from = last.sequence + 1;
            let oracle = &mut *world.oracle();
            for event in &events {
                let log = &oracle.log;
                log.read_again(partition, event.sequence, event.digest, &mut oracle.findings);
            }
        }
    }
    Ok(())
}

/// The partitions, and what number comes next in each.
async fn partitions(client: &mut Client) -> io::Result<Vec<(u16, u64)>> {
    let reply = client.get("/messages/events/partitions").await?;
    let list = reply.json();
    let found = list.as_array().into_iter().flatten().filter_map(|partition| {
        let number = partition.get("partition")?.as_str()?.parse().ok()?;
        Some((number, partition.get("next")?.as_u64()?))
    });
    let found: Vec<_> = found.collect();
    match reply.status.as_u16() {
        200 if !found.is_empty() => Ok(found),
        status => Err(io::Error::other(format!("no partitions: {status}"))),
    }
}

/// An event as it was read.
#[derive(Debug)]
struct Read {
    sequence: u64,
    digest: u64,
    sender: String,
    /// Who and which, according to its body.
    said: Option<(String, u64)>,
}

async fn page(client: &mut Client, partition: u16, from: u64) -> io::Result<Vec<Read>> {
    let path = format!(
        "/messages/events/ConsumerGroups/$Default/Partitions/{partition}?from=sequence:{from}&max={PAGE}"
    );
    let reply = client.get(&path).await?;
    if reply.status != 200 {
        return Err(io::Error::other(format!("no events: {}", reply.status)));
    }
    let page = reply.json();
    let events = page.get("events").and_then(Value::as_array).into_iter().flatten();
    Ok(events.map(read).collect())
}

fn read(event: &Value) -> Read {
    let of = |name: &str| event.get(name).and_then(Value::as_str).unwrap_or("");
    let body = BASE64_STANDARD.decode(of("body")).unwrap_or_default();
    let sender = event.pointer("/systemProperties/iothub-connection-device-id");
    let sender = sender.and_then(Value::as_str).unwrap_or("").to_owned();
    let mut digest = DefaultHasher::new();
    (&body, &sender, of("enqueuedTime")).hash(&mut digest);
    Read {
        sequence: event.get("sequenceNumber").and_then(Value::as_u64).unwrap_or(0),
        digest: digest.finish(),
        said: text::parse(&body).map(|(device, number)| (device.to_owned(), number)),
        sender,
    }
}

impl Read {
    fn take_up(self, partition: u16, oracle: &mut crate::oracle::Oracle) {
        let Self { sequence, digest, sender, said } = self;
        match said {
            Some((device, number)) if device == sender => {
                oracle.logged(partition, sequence, digest, &device, number);
            }
            said => oracle.findings.add(Kind::Invented, 1, || {
                format!("partition {partition}: {sequence} of {sender} says {said:?}")
            }),
        }
    }
}
