//! One server's turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use benches::client::{Client, Device};
use benches::{Random, SEED, process};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::Failure;
use super::options::Options;
use super::server::{Kind, Programs, Server};

/// Handshakes at once.
const CONNECTING: usize = 64;
/// Until what a server does after a change of its load is done.
const SETTLE: Duration = Duration::from_millis(500);
const WARM: Duration = Duration::from_secs(1);

/// What one turn gave.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figures {
    /// Acknowledged messages in a second.
    pub(crate) rate: f64,
    /// Processor time of the server for one message, in microseconds.
    pub(crate) cpu: f64,
    /// Resident memory of the server for one idle connection, in bytes.
    pub(crate) memory: Option<f64>,
    /// How much of one processor the client took: near 1, the rate is the client's.
    pub(crate) client: f64,
}

/// Starts a server, measures it, and ends it.
pub(crate) async fn run(
    kind: Kind,
    programs: &Programs,
    options: &Options,
) -> Result<Figures, Failure> {
    let devices = options.connections.max(options.idle);
    let server = Server::start(kind, programs, options, devices).await?;
    let memory = match options.idle {
        0 => None,
        count => Some(idle(&server, count).await?),
    };
    let figures = ingest(&server, options, memory).await;
    server.stop().await?;
    figures.map_err(|error| format!("{kind}: {error}").into())
}

async fn idle(server: &Server, count: usize) -> Result<f64, Failure> {
    // What the first connection makes a server allocate for good is not the price of one more.
    drop(connect(server, 1).await?);
    sleep(SETTLE).await;
    let before = process::resident(server.pid)?;
    let clients = connect(server, count).await?;
    sleep(SETTLE).await;
    let after = process::resident(server.pid)?;
    drop(clients);
    sleep(SETTLE).await;
    Ok(after.saturating_sub(before) as f64 / count as f64)
}

async fn connect(server: &Server, count: usize) -> Result<Vec<Client>, Failure> {
    let mut clients = Vec::with_capacity(count);
    let mut connecting = JoinSet::new();
    for device in (0..count).map(Device::numbered) {
        if connecting.len() >= CONNECTING
            && let Some(client) = connecting.join_next().await
        {
            clients.push(client??);
        }
        let at = server.at;
        connecting.spawn(async move { Client::connect(at, &device).await });
    }
    while let Some(client) = connecting.join_next().await {
        clients.push(client??);
    }
    Ok(clients)
}

async fn ingest(
    server: &Server,
    options: &Options,
    memory: Option<f64>,
) -> Result<Figures, Failure> {
    let payload: Arc<[u8]> = Random::new(SEED).bytes(options.payload).into();
    let count = Arc::new(AtomicU64::new(0));
    let mut publishers = JoinSet::new();
    for client in connect(server, options.connections).await? {
        publishers.spawn(publish(client, options.window, payload.clone(), count.clone()));
    }
    let own = std::process::id();
    let measured = async {
        sleep(WARM).await;
        let (start, acknowledged) = (Instant::now(), count.load(Ordering::Relaxed));
        let (cpu, client) = (process::cpu(server.pid)?, process::cpu(own)?);
        sleep(options.measured).await;
        let messages = (count.load(Ordering::Relaxed) - acknowledged) as f64;
        let cpu = process::cpu(server.pid)?.saturating_sub(cpu).as_secs_f64();
        let client = process::cpu(own)?.saturating_sub(client).as_secs_f64();
        let seconds = start.elapsed().as_secs_f64();
        let (rate, cpu) = (messages / seconds, cpu * 1e6 / messages);
        Ok(Figures { rate, cpu, memory, client: client / seconds })
    };
    tokio::select! {
        figures = measured => figures,
        // A publisher only ends by an error.
        Some(ended) = publishers.join_next() => match ended? {
            Ok(never) => match never {},
            Err(error) => Err(error.into()),
        },
    }
}

/// Keeps a window of messages in flight. What came back together goes out together.
async fn publish(
    mut client: Client,
    window: usize,
    payload: Arc<[u8]>,
    count: Arc<AtomicU64>,
) -> std::io::Result<std::convert::Infallible> {
    client.publish(window, &payload).await?;
    loop {
        let acknowledged = client.acknowledged().await?;
        count.fetch_add(acknowledged as u64, Ordering::Relaxed);
        client.publish(acknowledged, &payload).await?;
    }
}
