//! Simulated power loss: a hub in this process on a store whose disk forgets what was not synced.
//!
//! Each seed lives several lives. In each, devices and back ends work until the power goes at an
//! operation of the disk that the seed names, or a sync fails, or the process dies. Then the disk
//! keeps what it had synced, and of the rest whatever a die says, and the next life begins. The last
//! life has no faults, and everything that was acknowledged must be there.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hub_core::conformance::store::Random;
use hub_core::engine::{DeviceClient, DeviceEvent, Hub, Position};
use hub_core::envelope::Message;
use hub_core::error::{ErrorKind, HubError};
use hub_core::frame::{Disposition, Interest};
use hub_core::id::{Address, Partition};
use hub_core::registry::IdentitySpec;
use hub_core::twin::ServicePatch;
use hub_store_fjall::simulation::Machine;
use hub_store_fjall::{FileStoreConfig, OpenError};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::oracle::{Expiry, Findings, Kind, Section, Totals};
use crate::text;
use crate::world::Shared;

/// Devices of a seed.
const DEVICES: usize = 3;
/// Things that each of them, and its back end, does in a life at most.
const DEEDS: u64 = 40;
/// Operations of the disk in a life at most, before the power goes.
const OPERATIONS: u64 = 400;
/// Lives that end badly, at most.
const LIVES: u64 = 4;
/// How long a life may take to say anything at all.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a device waits for something to receive.
const MOMENT: Duration = Duration::from_millis(2);
/// Partitions of the log.
const PARTITIONS: u16 = 2;

/// How a life ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// The power goes at an operation of the disk, in the middle of it.
    PowerLost,
    /// A sync fails, and then the power goes.
    SyncFailed,
    /// An operation fails, and then the power goes.
    OperationFailed,
    /// The process dies, and the power stays.
    Killed,
}

impl End {
    const ALL: [Self; 4] = [Self::PowerLost, Self::SyncFailed, Self::OperationFailed, Self::Killed];
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PowerLost => "power losses",
            Self::SyncFailed => "failed syncs",
            Self::OperationFailed => "failed operations",
            Self::Killed => "kills",
        })
    }
}

/// What came of many seeds.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Seeds that were run.
    pub seeds: u64,
    /// How lives ended.
    pub ends: BTreeMap<End, u64>,
    /// What was acknowledged, over all seeds.
    pub totals: Totals,
    /// Seeds that failed, and what was found.
    pub failed: Vec<(u64, Findings)>,
}

impl Tally {
    /// Adds another.
    pub fn add(&mut self, other: Self) {
        self.seeds += other.seeds;
        for (end, count) in other.ends {
            *self.ends.entry(end).or_default() += count;
        }
        self.totals.add(&other.totals);
        self.failed.extend(other.failed);
    }

    /// Acknowledged things that were lost.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.failed.iter().map(|(_, findings)| findings.count(Kind::Lost)).sum()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seeds: {}; faults injected: {}", self.seeds, self.ends.values().sum::<u64>())?;
        for (end, count) in &self.ends {
            write!(f, ", {end} {count}")?;
        }
        writeln!(f, "\n{}", self.totals)?;
        write!(f, "lost: {}; seeds that failed: {}", self.lost(), self.failed.len())?;
        for (seed, findings) in &self.failed {
            for line in findings.lines() {
                write!(f, "\n  seed {seed}: {line}")?;
            }
        }
        Ok(())
    }
}

/// When the store under test says that something is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// When it is.
    Kept,
    /// Before it is: such a store must be found out.
    Broken,
}

/// Which seeds to run, and how.
#[derive(Debug, Clone, Copy)]
pub struct Seeds {
    /// The first.
    pub first: u64,
    /// How many.
    pub count: u64,
    /// How many at once.
    pub jobs: usize,
    /// What the store is worth.
    pub word: Word,
    /// Say how far it is.
    pub verbose: bool,
}

/// Runs seeds on several threads, until one has failed.
#[must_use]
pub fn run(seeds: Seeds) -> Tally {
    let Seeds { first, count, jobs, word, verbose } = seeds;
    let next = AtomicU64::new(0);
    let work = || {
        let mut tally = Tally::default();
        while tally.failed.is_empty() {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at >= count {
                break;
            }
            tally.add(seed(first + at, word));
            if verbose && at % 500 == 499 {
                eprintln!("{} seeds", at + 1);
            }
        }
        // The others need not go on either.
        if !tally.failed.is_empty() {
            next.store(count, Ordering::Relaxed);
        }
        tally
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..jobs.max(1)).map(|_| scope.spawn(work)).collect();
        let mut all = Tally::default();
        for thread in threads {
            match thread.join() {
                Ok(tally) => all.add(tally),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        all
    })
}

/// Runs one seed.
#[must_use]
pub fn seed(seed: u64, word: Word) -> Tally {
    let mut tally = Tally { seeds: 1, ..Tally::default() };
    let oracle = Shared::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    match runtime {
        Ok(runtime) => runtime.block_on(lives(seed, word, &oracle, &mut tally.ends)),
        Err(error) => oracle.lock().findings.add(Kind::Stuck, 1, || error.to_string()),
    }
    let verdict = oracle.lock().verdict();
    tally.totals = verdict.totals;
    if !verdict.findings.is_empty() {
        tally.failed.push((seed, verdict.findings));
    }
    tally
}

/// Small, so that segments turn and checkpoints come all the time.
fn config(word: Word) -> FileStoreConfig {
    let config = FileStoreConfig::new()
        .segment_bytes(64 * 1024)
        .dirty_bytes(64 * 1024)
        .cache_bytes(16 * 1024)
        .recent_bytes(32 * 1024);
    match word {
        Word::Kept => config,
        Word::Broken => config.acknowledge_unsynced(),
    }
}

async fn lives(seed: u64, word: Word, oracle: &Shared, ends: &mut BTreeMap<End, u64>) {
    let mut random = Random::new(seed);
    let mut machine = Machine::new();
    for _ in 0..=random.below(LIVES) {
        let end = random.pick(&End::ALL).copied().unwrap_or(End::PowerLost);
        *ends.entry(end).or_default() += 1;
        let at = 1 + random.below(OPERATIONS);
        match end {
            End::PowerLost => machine.lose_power_at(at),
            End::SyncFailed => machine.fail_sync_at(1 + at / 4),
            End::OperationFailed => machine.fail_at(at),
            End::Killed => {}
        }
        if timeout(PATIENCE, life(&machine, word, oracle, &mut random)).await.is_err() {
            oracle.lock().findings.add(Kind::Stuck, 1, || format!("a life did not end, {end}"));
        }
        let die = random.number();
        machine = match end {
            End::Killed => machine.after_kill(),
            _ => machine.after_power_loss(die),
        };
    }
    match timeout(PATIENCE, reckoning(&machine, word, oracle)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => oracle.lock().findings.add(Kind::Lost, 1, || error),
        Err(_) => oracle.lock().findings.add(Kind::Stuck, 1, || "no reckoning".to_owned()),
    }
}

fn hub(machine: &Machine, word: Word) -> Result<Hub, Opening> {
    let store = machine.open(&config(word)).map_err(Opening::Store)?;
    let builder = Hub::builder(store).host_name("localhost").partitions(PARTITIONS);
    builder.start().map_err(|error| Opening::Hub(error.to_string()))
}

/// Why there is no hub.
enum Opening {
    Store(OpenError),
    Hub(String),
}

fn devices() -> impl Iterator<Item = (String, Address)> {
    (1..=DEVICES).filter_map(|number| {
        let id = format!("device-{number}");
        let address = Address::parse(&id).ok()?;
        Some((id, address))
    })
}

/// Works until everybody is done, or the disk fails.
async fn life(machine: &Machine, word: Word, oracle: &Shared, random: &mut Random) {
    // A disk that fails while the store is opened is a life that ends early. Damage is not: nothing was
    // written that the next opening may refuse.
    let hub = match hub(machine, word) {
        Ok(hub) => hub,
        Err(Opening::Store(OpenError::Damaged { path, what })) => {
            oracle.lock().findings.add(Kind::Lost, 1, || format!("{path}: damaged: {what}"));
            return;
        }
        Err(_) => return,
    };
    let mut tasks = JoinSet::new();
    for (id, address) in devices() {
        let own = |random: &mut Random| Worker {
            hub: hub.clone(),
            oracle: oracle.clone(),
            id: id.clone(),
            address: address.clone(),
            random: Random::new(random.number()),
        };
        let (device, backend) = (own(random), own(random));
        tasks.spawn(async move {
            // An error is the end of this life.
            drop(device.device().await);
        });
        tasks.spawn(async move {
            drop(backend.backend().await);
        });
    }
    let finished = async { while tasks.join_next().await.is_some() {} };
    let dead = async {
        while !machine.is_dead() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        () = finished => {}
        () = dead => {}
        () = hub.failed() => {}
    }
}

/// A device or its back end, in one life.
struct Worker {
    hub: Hub,
    oracle: Shared,
    id: String,
    address: Address,
    random: Random,
}

fn unknown(error: &HubError) -> bool {
    // What is refused for a reason of its own was not done.
    matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Internal | ErrorKind::Busy)
}

impl Worker {
    async fn device(mut self) -> Result<(), HubError> {
        self.register().await?;
        let refused = |refusal| HubError::new(ErrorKind::Unavailable, format!("{refusal:?}"));
        let mut client = self.hub.device(&self.address).await.map_err(refused)?;
        client.subscribe(Interest::Messages).await?;
        self.look(&mut client).await?;
        let mut last = {
            let oracle = self.oracle.lock();
            oracle.telemetry.get(&self.id).map_or(0, crate::oracle::Telemetry::acknowledged)
        };
        for _ in 0..DEEDS {
            match self.random.below(4) {
                0 | 1 => {
                    // What was not acknowledged in a life before is sent again first.
                    let bytes = usize::try_from(self.random.below(3000)).unwrap_or(0);
                    let body = text::body(&self.id, last + 1, bytes);
                    self.oracle.lock().telemetry(&self.id).0.sending(last + 1);
                    client.send(&body, &[]).await?;
                    last += 1;
                    let oracle = &mut *self.oracle.lock();
                    let (telemetry, findings) = oracle.telemetry(&self.id);
                    telemetry.acknowledge(&self.id, last, findings);
                }
                2 => self.report(&mut client).await?,
                _ => self.receive(&mut client).await?,
            }
        }
        Ok(())
    }

    async fn register(&self) -> Result<(), HubError> {
        let known = self.oracle.lock().identities.has(&self.id);
        match self.hub.registry().put(&IdentitySpec::new(self.address.clone()), None).await {
            Ok(_) if known => {
                let oracle = &mut *self.oracle.lock();
                oracle.identities.missing("the identity", &self.id, &mut oracle.findings);
            }
            Ok(_) => self.oracle.lock().identities.add(&self.id),
            Err(error) if error.kind() == ErrorKind::DeviceAlreadyExists => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    async fn look(&self, client: &mut DeviceClient) -> Result<(), HubError> {
        let twin = client.twin().await?;
        let twin: Value = serde_json::from_slice(&twin).unwrap_or(Value::Null);
        let at = |pointer: &str| twin.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
        let oracle = &mut *self.oracle.lock();
        let (register, findings) = oracle.register(&self.id, Section::Reported);
        let whose = format!("{} reported", self.id);
        register.look(&whose, at("/reported/n"), at("/reported/$version"), findings);
        Ok(())
    }

    async fn report(&mut self, client: &mut DeviceClient) -> Result<(), HubError> {
        let number = {
            let oracle = &mut *self.oracle.lock();
            let (register, _) = oracle.register(&self.id, Section::Reported);
            let number = register.next();
            register.writing(number);
            number
        };
        let version = client.report(json!({ "n": number }).to_string()).await?;
        let oracle = &mut *self.oracle.lock();
        let (register, findings) = oracle.register(&self.id, Section::Reported);
        register.acknowledge(&format!("{} reported", self.id), number, version, findings);
        Ok(())
    }

    async fn receive(&mut self, client: &mut DeviceClient) -> Result<(), HubError> {
        let Ok(DeviceEvent::Message(delivery)) = timeout(MOMENT, client.next()).await else {
            return Ok(());
        };
        let number = text::parse(&delivery.message.body).map_or(0, |(_, number)| number);
        {
            let oracle = &mut *self.oracle.lock();
            let (messages, findings) = oracle.messages(&self.id);
            messages.delivered(&self.id, number, None, findings);
        }
        let fate = match self.random.below(6) {
            0 => return Ok(()),
            1 => Disposition::Reject,
            2 => Disposition::Abandon,
            _ => Disposition::Complete,
        };
        {
            let oracle = &mut *self.oracle.lock();
            let (messages, _) = oracle.messages(&self.id);
            match fate {
                Disposition::Abandon => messages.abandoning(number),
                Disposition::Complete | Disposition::Reject => messages.settling(number),
            }
        }
        client.settle(delivery.token, fate).await?;
        if fate != Disposition::Abandon {
            self.oracle.lock().messages(&self.id).0.settle(number);
        }
        Ok(())
    }

    async fn backend(mut self) -> Result<(), HubError> {
        self.register().await?;
        look_at(&self.hub, &self.oracle, &self.id, &self.address).await?;
        for _ in 0..DEEDS {
            match self.random.below(2) {
                0 => self.send().await?,
                _ => self.desire().await?,
            }
        }
        Ok(())
    }

    async fn send(&mut self) -> Result<(), HubError> {
        let number = {
            let oracle = &mut *self.oracle.lock();
            let (messages, _) = oracle.messages(&self.id);
            let number = messages.next();
            messages.sending(number, Expiry::Never);
            number
        };
        let body = text::body(&self.id, number, 100);
        let sent = self.hub.send(&self.address, Message::new(body)).await;
        let oracle = &mut *self.oracle.lock();
        let (messages, findings) = oracle.messages(&self.id);
        match sent {
            Ok(sent) => messages.accepted(&self.id, number, sent.sequence.0, findings),
            Err(error) if unknown(&error) => return Err(error),
            Err(_) => messages.refused(number),
        }
        Ok(())
    }

    async fn desire(&mut self) -> Result<(), HubError> {
        let number = {
            let oracle = &mut *self.oracle.lock();
            let (register, _) = oracle.register(&self.id, Section::Desired);
            let number = register.next();
            register.writing(number);
            number
        };
        let patch = json!({ "properties": { "desired": { "n": number } } }).to_string();
        let patch = ServicePatch::parse(patch.as_bytes(), self.hub.limits())?;
        let twin = self.hub.patch_twin(&self.address, patch, None).await?;
        let oracle = &mut *self.oracle.lock();
        let (register, findings) = oracle.register(&self.id, Section::Desired);
        let whose = format!("{} desired", self.id);
        register.acknowledge(&whose, number, twin.desired_version(), findings);
        Ok(())
    }
}

/// Compares queue and twin of a device with what was promised.
async fn look_at(hub: &Hub, oracle: &Shared, id: &str, address: &Address) -> Result<(), HubError> {
    let asked = oracle.lock().messages(id).0.mark();
    let queued = hub.peek(address, None, 1000).await?;
    let found = queued.iter().filter_map(|queued| {
        let (_, number) = text::parse(&queued.message.body)?;
        Some((number, queued.sequence.0))
    });
    let found = found.collect();
    {
        let oracle = &mut *oracle.lock();
        let (messages, findings) = oracle.messages(id);
        messages.queue(id, asked, 0, &found, findings);
    }
    let floor = oracle.lock().register(id, Section::Reported).0.floor();
    let twin = hub.registry().twin(address).await?.twin;
    let number = twin.desired().to_value().get("n").and_then(Value::as_u64).unwrap_or(0);
    let oracle = &mut *oracle.lock();
    let (register, findings) = oracle.register(id, Section::Desired);
    register.look(&format!("{id} desired"), number, twin.desired_version(), findings);
    let (register, findings) = oracle.register(id, Section::Reported);
    register.shown(&format!("{id} reported"), floor, twin.reported_version(), findings);
    Ok(())
}

/// Looks at everything in a life without faults.
async fn reckoning(machine: &Machine, word: Word, oracle: &Shared) -> Result<(), String> {
    let hub = hub(machine, word).map_err(|why| match why {
        Opening::Store(error) => format!("it does not open: {error}"),
        Opening::Hub(error) => format!("the hub does not start: {error}"),
    })?;
    let said = |error: HubError| error.to_string();
    for (id, address) in devices() {
        match hub.registry().get(&address).await {
            Ok(_) => look_at(&hub, oracle, &id, &address).await.map_err(said)?,
            Err(error) if error.kind() == ErrorKind::DeviceNotFound => {
                let oracle = &mut *oracle.lock();
                oracle.identities.missing("the identity", &id, &mut oracle.findings);
            }
            Err(error) => return Err(said(error)),
        }
    }
    for partition in (0..PARTITIONS).map(Partition) {
        let mut reader = hub.reader(partition, Position::Earliest).await.map_err(said)?;
        loop {
            let events = reader.try_read(1000).await.map_err(said)?;
            if events.is_empty() {
                break;
            }
            let oracle = &mut *oracle.lock();
            for event in events {
                let mut digest = DefaultHasher::new();
                event.body.hash(&mut digest);
                let Some((device, number)) = text::parse(&event.body) else {
                    return Err(format!("an event that nobody sent: {}", event.sequence));
                };
                let (at, digest) = (event.sequence.0, digest.finish());
                oracle.logged(partition.0, at, digest, device, number);
            }
        }
    }
    oracle.lock().close();
    Ok(())
}
