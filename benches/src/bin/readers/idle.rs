//! What links cost that do nothing.

use std::io::{Write as _, stdout};
use std::time::Duration;

use benches::hubd::{Failure, Hubd, Place};
use benches::process;
use benches::reader::AmqpReader;
use tokio::time::sleep;

/// Links of one connection.
const LINKS: usize = 1000;
/// Readers of one partition in one consumer group.
const READERS: usize = 5;
/// Until what hubd does after a change is done.
const SETTLE: Duration = Duration::from_secs(1);

pub(crate) async fn run(place: Place<'_>, links: usize) -> Result<(), Failure> {
    let hubd = Hubd::start(place, 0, &["--amqp", "127.0.0.1:0"]).await?;
    let (at, token) = (hubd.at("amqp")?, hubd.token());
    let connections = links.div_ceil(LINKS);
    // What the first of them makes hubd allocate for good is not the price of one more.
    let mut first = AmqpReader::connect(at, &token).await?;
    first.attach(0, "first", 0).await?;
    let bare = settled(&hubd).await?;
    let mut readers = Vec::new();
    for _ in 0..connections {
        readers.push(AmqpReader::connect(at, &token).await?);
    }
    let connected = settled(&hubd).await?;
    for link in 0..links {
        let group = format!("group-{}", link / READERS);
        let handle = u32::try_from(link % LINKS)?;
        if let Some(reader) = readers.get_mut(link / LINKS) {
            reader.attach(handle, &group, 0).await?;
        }
    }
    let idle = settled(&hubd).await?;
    for link in 0..links {
        let handle = u32::try_from(link % LINKS)?;
        if let Some(reader) = readers.get_mut(link / LINKS) {
            reader.credit(handle, 0, 100).await?;
        }
    }
    let waiting = settled(&hubd).await?;
    let cpu = process::cpu(hubd.pid())?;
    sleep(SETTLE * 5).await;
    let busy = process::cpu(hubd.pid())?.saturating_sub(cpu).as_secs_f64() / 5.0;
    let each = |after: u64, before: u64, count: usize| {
        after.saturating_sub(before) as f64 / count.max(1) as f64
    };
    writeln!(
        stdout(),
        "{links} links on {connections} connections without TLS, resident memory of hubd\n\
         {:<44}{:>10.0} B\n{:<44}{:>10.0} B\n{:<44}{:>10.0} B\n{:<44}{:>10.3} processors\n",
        "an idle connection",
        each(connected, bare, connections),
        "an idle link",
        each(idle, connected, links),
        "a link with credit that waits for events",
        each(waiting, connected, links),
        "all of these while nothing happens",
        busy,
    )?;
    drop(readers);
    hubd.stop().await
}

async fn settled(hubd: &Hubd) -> Result<u64, Failure> {
    sleep(SETTLE).await;
    process::resident(hubd.pid())
}
