//! One partition full of events, read from its beginning by one reader after the other.

use std::io::{self, Write as _, stdout};
use std::time::{Duration, Instant};

use benches::client::{Client, Device};
use benches::hubd::{Failure, Hubd, Place};
use benches::reader::{AmqpReader, HttpReader};
use benches::{Random, SEED, process};

use super::middle;
use super::options::Options;

/// Messages in flight while the log is filled.
const WINDOW: usize = 256;

/// What one turn gave.
#[derive(Debug, Clone, Copy)]
struct Turn {
    /// Events in a second.
    rate: f64,
    /// Processor time of hubd for one event, in microseconds.
    cpu: f64,
    /// The same of the reader.
    own: f64,
}

pub(crate) async fn run(place: Place<'_>, options: &Options) -> Result<(), Failure> {
    let arguments = [
        "--mqtt",
        "127.0.0.1:0",
        "--http",
        "127.0.0.1:0",
        "--amqp",
        "127.0.0.1:0",
        "--partitions",
        "1",
    ];
    let hubd = Hubd::start(place, 1, &arguments).await?;
    fill(&hubd, options).await?;
    let mut turns = Vec::new();
    for round in 1..=options.rounds {
        let amqp = measured(&hubd, options, amqp(&hubd, options)).await?;
        let http = measured(&hubd, options, http(&hubd, options)).await?;
        writeln!(stdout(), "round {round}: AMQP {}; HTTP {}", line(amqp), line(http))?;
        turns.push((amqp, http));
    }
    let of = |figure: fn(&(Turn, Turn)) -> f64| middle(turns.iter().map(figure).collect());
    writeln!(
        stdout(),
        "\none reader of {} events of {} B, credit {}, the middle of {} rounds\n\
         {:<20}{:>12}{:>12}{:>14}\n\
         {:<20}{:>12.0}{:>12.0}{:>14.2}\n\
         {:<20}{:>12.2}{:>12.2}{:>14.2}\n\
         {:<20}{:>12.2}{:>12.2}{:>14.2}\n",
        options.events,
        options.payload,
        options.credit,
        options.rounds,
        "",
        "AMQP",
        "HTTP",
        "AMQP ÷ HTTP",
        "events/s",
        of(|(amqp, _)| amqp.rate),
        of(|(_, http)| http.rate),
        of(|(amqp, http)| amqp.rate / http.rate),
        "hubd CPU µs/event",
        of(|(amqp, _)| amqp.cpu),
        of(|(_, http)| http.cpu),
        of(|(amqp, http)| amqp.cpu / http.cpu),
        "reader CPU µs/event",
        of(|(amqp, _)| amqp.own),
        of(|(_, http)| http.own),
        of(|(amqp, http)| amqp.own / http.own),
    )?;
    hubd.stop().await
}

fn line(turn: Turn) -> String {
    format!("{:.0}/s, {:.2} µs (reader {:.2})", turn.rate, turn.cpu, turn.own)
}

async fn fill(hubd: &Hubd, options: &Options) -> Result<(), Failure> {
    let payload = Random::new(SEED).bytes(options.payload);
    let mut client = Client::connect(hubd.at("mqtt")?, &Device::numbered(0)).await?;
    let (mut sent, mut acknowledged) = (0, 0);
    while acknowledged < options.events {
        let room = (WINDOW + acknowledged - sent).min(options.events - sent);
        client.publish(room, &payload).await?;
        sent += room;
        acknowledged += client.acknowledged().await?;
    }
    Ok(())
}

/// Times something that reads the whole log. It has connected before its first event.
async fn measured(
    hubd: &Hubd,
    options: &Options,
    read: impl Future<Output = io::Result<Duration>>,
) -> Result<Turn, Failure> {
    let own = std::process::id();
    let before = (process::cpu(hubd.pid())?, process::cpu(own)?);
    let seconds = read.await?.as_secs_f64();
    let events = options.events as f64;
    let each = |after: Duration, before: Duration| {
        after.saturating_sub(before).as_secs_f64() * 1e6 / events
    };
    let (cpu, own) =
        (each(process::cpu(hubd.pid())?, before.0), each(process::cpu(own)?, before.1));
    Ok(Turn { rate: events / seconds, cpu, own })
}

async fn amqp(hubd: &Hubd, options: &Options) -> io::Result<Duration> {
    let at = hubd.at("amqp").map_err(|error| io::Error::other(error.to_string()))?;
    let mut reader = AmqpReader::connect(at, &hubd.token()).await?;
    reader.attach(0, "$Default", 0).await?;
    let (events, began) = (options.events as u64, Instant::now());
    let (mut seen, mut granted) = (0, 0);
    while seen < events {
        let left = granted - seen;
        if left <= u64::from(options.credit / 2) {
            let count = u32::try_from(seen).unwrap_or(u32::MAX);
            reader.credit(0, count, options.credit).await?;
            granted = seen + u64::from(options.credit);
        }
        seen += reader.events().await?;
    }
    Ok(began.elapsed())
}

async fn http(hubd: &Hubd, options: &Options) -> io::Result<Duration> {
    let at = hubd.at("http").map_err(|error| io::Error::other(error.to_string()))?;
    let began = Instant::now();
    let (mut reader, mut seen) = HttpReader::open(at, &hubd.token(), "$Default", 0).await?;
    while seen < options.events as u64 {
        seen += reader.events().await?;
    }
    Ok(began.elapsed())
}
