//! A device that receives its messages over HTTP, where settling one is acknowledged.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use hub_core::conformance::store::Random;

use crate::http::{Client, Meaning};
use crate::oracle::Kind;
use crate::text;
use crate::world::{Phase, World};

/// Milliseconds between two looks.
const PACE: u64 = 60;
/// Seconds for which a message is locked, at most: one that is left alone comes again soon.
const LOCK: u64 = 3;

/// Receives until all is over.
pub(crate) async fn run(world: Arc<World>, id: String, mut random: Random) {
    let token = world.token(&id);
    let mut before = None;
    while let Some(hub) = world.hub(before, random.number()).await {
        let mut client = Client::new(hub.http, &token);
        before = loop {
            if world.phase() == Phase::Over {
                return;
            }
            tokio::time::sleep(Duration::from_millis(random.below(PACE))).await;
            if receive(&world, &id, &mut client, &mut random).await.is_err() {
                break Some(hub.life);
            }
        };
    }
}

async fn receive(
    world: &World,
    id: &str,
    client: &mut Client,
    random: &mut Random,
) -> io::Result<()> {
    let path = format!("/devices/{id}/messages/deviceBound");
    let lock = (1 + random.below(LOCK)).to_string();
    let headers = [("iothub-messagelocktimeout", lock.as_str())];
    let reply = client.send(Method::GET, &path, &headers, "").await?;
    if reply.status != 200 {
        return Ok(());
    }
    let token = reply.header("etag").unwrap_or("").trim_matches('"').to_owned();
    let sequence = reply.header("iothub-sequencenumber").and_then(|text| text.parse().ok());
    let Some((to, number)) = text::parse(&reply.body) else {
        return Err(io::Error::other("a message in words of its own"));
    };
    {
        let oracle = &mut *world.oracle();
        if to != id {
            oracle.findings.add(Kind::Invented, 1, || format!("{id}: C2D for {to}"));
        }
        let (messages, findings) = oracle.messages(id);
        messages.delivered(id, number, sequence, findings);
    }
    let at = format!("{path}/{token}");
    let fate = random.below(20);
    // Once the faults are over, what is left is to be settled.
    let busy = world.phase() == Phase::Busy;
    let settled = match fate {
        0 if busy => return Ok(()),
        1..=3 if busy => {
            world.oracle().messages(id).0.abandoning(number);
            client.send(Method::POST, &format!("{at}/abandon"), &[], "").await?;
            return Ok(());
        }
        4 | 5 => {
            world.oracle().messages(id).0.settling(number);
            client.send(Method::DELETE, &format!("{at}?reject=true"), &[], "").await?
        }
        _ => {
            world.oracle().messages(id).0.settling(number);
            client.send(Method::DELETE, &at, &[], "").await?
        }
    };
    if settled.meaning() == Meaning::Done {
        world.oracle().messages(id).0.settle(number);
    }
    Ok(())
}
