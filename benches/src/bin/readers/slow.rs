//! A device that sends as fast as it is acknowledged, alone and with receivers that take nothing.

use std::io::{Write as _, stdout};
use std::time::{Duration, Instant};

use benches::client::{Client, Device};
use benches::hubd::{Failure, Hubd, Place};
use benches::reader::AmqpReader;
use benches::{Random, SEED, process};
use tokio::time::sleep;

use super::middle;
use super::options::Options;

/// Messages in flight.
const WINDOW: usize = 256;
/// More than ever comes.
const CREDIT: u32 = 1 << 30;
/// Until receivers are full.
const SETTLE: Duration = Duration::from_secs(1);

pub(crate) async fn run(place: Place<'_>, options: &Options) -> Result<(), Failure> {
    let arguments = ["--mqtt", "127.0.0.1:0", "--amqp", "127.0.0.1:0", "--partitions", "1"];
    let hubd = Hubd::start(place, 1, &arguments).await?;
    let payload = Random::new(SEED).bytes(options.payload);
    let mut device = Client::connect(hubd.at("mqtt")?, &Device::numbered(0)).await?;
    // So much that each receiver has more than its socket takes.
    send(&mut device, &payload, options.measured).await?;
    let mut turns = Vec::new();
    for round in 1..=options.rounds {
        let alone = send(&mut device, &payload, options.measured).await?;
        let before = process::resident(hubd.pid())?;
        let mut receivers = Vec::new();
        for number in 0..options.slow {
            let mut receiver = AmqpReader::connect(hubd.at("amqp")?, &hubd.token()).await?;
            receiver.attach(0, &format!("slow-{number}"), 0).await?;
            receiver.credit(0, 0, CREDIT).await?;
            receivers.push(receiver);
        }
        sleep(SETTLE).await;
        let held = process::resident(hubd.pid())?.saturating_sub(before);
        let among = send(&mut device, &payload, options.measured).await?;
        drop(receivers);
        sleep(SETTLE).await;
        let each = held as f64 / options.slow.max(1) as f64 / 1024.0;
        writeln!(
            stdout(),
            "round {round}: alone {alone:.0}/s, with {} slow receivers {among:.0}/s, {each:.0} KiB each",
            options.slow
        )?;
        turns.push((alone, among, each));
    }
    let of = |figure: fn(&(f64, f64, f64)) -> f64| middle(turns.iter().map(figure).collect());
    writeln!(
        stdout(),
        "\na device that sends {} B, {WINDOW} in flight, the middle of {} rounds\n\
         acknowledged/s alone {:.0}, with {} receivers that take nothing {:.0}, ratio {:.2}; \
         memory for each receiver {:.0} KiB\n",
        options.payload,
        options.rounds,
        of(|turn| turn.0),
        options.slow,
        of(|turn| turn.1),
        of(|turn| turn.1 / turn.0),
        of(|turn| turn.2),
    )?;
    drop(device);
    hubd.stop().await
}

/// Keeps a window of messages in flight for a while. Gives the acknowledged ones in a second.
async fn send(device: &mut Client, payload: &[u8], time: Duration) -> Result<f64, Failure> {
    let began = Instant::now();
    device.publish(WINDOW, payload).await?;
    let mut acknowledged = 0;
    while began.elapsed() < time {
        let back = device.acknowledged().await?;
        device.publish(back, payload).await?;
        acknowledged += back;
    }
    let rate = acknowledged as f64 / began.elapsed().as_secs_f64();
    // What is still in flight belongs to no turn.
    let mut rest = WINDOW;
    while rest > 0 {
        rest -= device.acknowledged().await?;
    }
    Ok(rate)
}
