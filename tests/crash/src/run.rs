//! A run: clients at work, faults in between, and the reckoning.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hub_core::conformance::store::Random;
use hub_core::security::SymmetricKey;
use tokio::task::JoinSet;

use crate::backend::{Backend, look_for_identities};
use crate::device::{Device, Receives};
use crate::faults::{Ballast, Fault, Mount};
use crate::follower;
use crate::http::Client;
use crate::oracle::{Kind, Lateness, Verdict};
use crate::postgres::Postgres;
use crate::proxy::Proxy;
use crate::receiver;
use crate::server::{Hubd, HubdError, Place, Ready};
use crate::world::{Endpoint, Phase, World};

/// How long everything may take to settle once the faults are over.
const SETTLE: Duration = Duration::from_secs(300);
/// The same when every message has to be delivered: a lock lasts a minute, and a hub that did not give
/// it looks once a minute for what has become free.
const DELIVER: Duration = Duration::from_secs(600);
/// How often it is looked whether all has settled.
const LOOK: Duration = Duration::from_millis(100);

/// What a run does.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Decides which faults come when, and what clients do.
    pub seed: u64,
    /// The faults; each time one of them.
    pub faults: Vec<Fault>,
    /// How many.
    pub count: u64,
    /// Ends a run with fewer.
    pub time: Option<Duration>,
    /// Milliseconds from one to the next, at least and at most.
    pub pause: (u64, u64),
    /// How many devices.
    pub devices: usize,
    /// Bytes of a telemetry message.
    pub body: usize,
    /// Wait at the end until every message was delivered.
    pub deliver: bool,
    /// Put the hub's data on a memory file system of so many MiB.
    pub tmpfs: Option<u64>,
    /// Use a PostgreSQL of the run's own.
    pub postgres: bool,
    /// How many nodes form the hub: more than one take PostgreSQL.
    pub nodes: usize,
    /// Print what happens.
    pub verbose: bool,
}

/// What came of a run.
#[derive(Debug)]
pub struct Report {
    /// Totals and findings.
    pub verdict: Verdict,
    /// How often each fault was injected.
    pub faults: BTreeMap<Fault, u64>,
    /// What could not be done here.
    pub skipped: Vec<String>,
    /// How long it took.
    pub elapsed: Duration,
    /// The longest that a start took.
    pub slowest_start: Duration,
}

impl Report {
    /// Whether the hub kept its word.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.verdict.findings.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.skipped {
            writeln!(f, "skipped: {line}")?;
        }
        write!(f, "faults injected: {}", self.faults.values().sum::<u64>())?;
        for (fault, count) in &self.faults {
            write!(f, ", {fault} {count}")?;
        }
        writeln!(f)?;
        writeln!(f, "{}", self.verdict)?;
        let (elapsed, slowest) = (self.elapsed.as_secs(), self.slowest_start.as_millis());
        write!(f, "took {elapsed} s; the slowest start {slowest} ms")
    }
}

/// Runs a plan. Everything that the hub did wrong is in the report.
///
/// # Errors
/// The hub could not be started at all.
pub async fn run(place: &Place, plan: &Plan) -> Result<Report, HubdError> {
    let mut random = Random::new(plan.seed);
    let mut skipped = Vec::new();
    let mount = match plan.tmpfs.map(|mib| Mount::new(&place.data, mib)) {
        None => None,
        Some(Ok(mount)) => Some(mount),
        Some(Err(error)) => {
            skipped.push(format!("full disks: no file system of its own: {error}"));
            None
        }
    };
    let mut faults = plan.faults.clone();
    // Any other disk may not be filled.
    faults.retain(|fault| *fault != Fault::Fill || mount.is_some());
    faults.retain(|fault| !fault.is_of_postgres() || plan.postgres);
    let database = match plan.postgres {
        false => None,
        true => {
            let server = Postgres::start(&place.folder)?;
            let proxy = Proxy::start(server.address).await?;
            Some(Database { server: Arc::new(server), proxy })
        }
    };
    let mut place = place.clone();
    if let Some(database) = &database {
        place.store = Some(Postgres::url(database.proxy.address));
    }
    let key = SymmetricKey::generate(&key_material(&mut random));
    let ids: Vec<String> = (1..=plan.devices).map(|number| format!("device-{number}")).collect();
    let devices = place.folder.join("devices.jsonl");
    let line = |id: &String| format!("{{\"deviceId\":\"{id}\",\"key\":\"{}\"}}\n", key.to_base64());
    fs::write(&devices, ids.iter().map(line).collect::<String>())?;

    let world = Arc::new(World::new(key.clone()));
    if plan.postgres {
        // What was on its way to the database may arrive when whoever sent it is dead.
        world.oracle().lateness = Lateness::Possible;
    }
    let mut injector = Injector {
        world: Arc::clone(&world),
        place,
        database,
        key: key.to_base64().to_owned(),
        devices,
        random: Random::new(random.number()),
        nodes: (0..plan.nodes).map(|_| None).collect(),
        life: 0,
        injected: BTreeMap::new(),
        slowest: Duration::ZERO,
        verbose: plan.verbose,
    };
    let begun = Instant::now();
    for node in 0..plan.nodes {
        injector.start(node).await?;
    }
    ids.iter().for_each(|id| world.oracle().identities.add(id));

    let (mut clients, mut backends) = (JoinSet::new(), JoinSet::new());
    let follower = tokio::spawn(follower::run(Arc::clone(&world)));
    for (at, id) in ids.iter().enumerate() {
        // Every third device receives its messages over HTTP.
        let receives = if at % 3 == 2 { Receives::Elsewhere } else { Receives::Here };
        let own = Random::new(random.number());
        clients.spawn(Device::new(&world, id, own, receives, plan.body).run());
        if receives == Receives::Elsewhere {
            let own = Random::new(random.number());
            clients.spawn(receiver::run(Arc::clone(&world), id.clone(), own));
        }
        let random = Random::new(random.number());
        backends.spawn(Backend { world: Arc::clone(&world), id: id.clone(), random }.run());
    }

    for done in 0..plan.count {
        let (least, most) = plan.pause;
        let pause = least + injector.random.below(most.saturating_sub(least) + 1);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        let late = plan.time.is_some_and(|time| begun.elapsed() >= time);
        let Some(fault) = injector.random.pick(&faults).copied().filter(|_| !late) else { break };
        injector.look_after().await?;
        injector.inject(fault).await?;
        if plan.verbose && done % 100 == 99 {
            let acknowledged = world.oracle().verdict().totals.acknowledged();
            eprintln!("{} faults, {acknowledged} acknowledged", done + 1);
        }
    }

    injector.look_after().await?;
    world.set_phase(Phase::Settling);
    let bound = if plan.deliver { DELIVER } else { SETTLE };
    let settled = settle(&world, backends, plan.deliver);
    if tokio::time::timeout(bound, settled).await.is_err() {
        let oracle = &mut *world.oracle();
        let (open, undelivered) = (oracle.open(), oracle.undelivered());
        oracle.findings.add(Kind::Stuck, 1, || {
            format!("after {bound:?}: {open} answers to come, {undelivered} messages undelivered")
        });
    }
    // Two readers would take up the same events. What this one has read it has also noted.
    follower.abort();
    drop(follower.await);
    // What is there now has to be there after one more crash, when nobody changes anything.
    let mut ready = injector.restart(0).await?;
    for node in 1..plan.nodes {
        ready = injector.restart(node).await?;
    }
    if let Err(error) = reckon(&world, &ids, ready).await {
        let oracle = &mut *world.oracle();
        oracle.findings.add(Kind::Stuck, 1, || format!("the reckoning was not answered: {error}"));
    }
    world.set_phase(Phase::Over);
    while clients.join_next().await.is_some() {}
    injector.end().await?;
    let Injector { injected, slowest, .. } = injector;
    let verdict = world.oracle().verdict();
    Ok(Report {
        verdict,
        faults: injected,
        skipped,
        elapsed: begun.elapsed(),
        slowest_start: slowest,
    })
}

fn key_material(random: &mut Random) -> [u8; 32] {
    let mut material = [0; 32];
    for piece in material.chunks_mut(8) {
        let number = random.number().to_le_bytes();
        piece.copy_from_slice(number.get(..piece.len()).unwrap_or_default());
    }
    material
}

/// Waits until every answer has come.
async fn settle(world: &World, mut backends: JoinSet<()>, deliver: bool) {
    while backends.join_next().await.is_some() {}
    loop {
        {
            let oracle = world.oracle();
            if oracle.open() == 0 && (!deliver || oracle.undelivered() == 0) {
                return;
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Looks at everything there is, and judges.
async fn reckon(world: &Arc<World>, ids: &[String], ready: Ready) -> io::Result<()> {
    let mut client = Client::new(ready.http, world.owner());
    while follower::catch_up(world, &mut client).await? > 0 {}
    follower::read_again(world, &mut client).await?;
    for id in ids {
        let random = Random::new(0);
        let mut backend = Backend { world: Arc::clone(world), id: id.clone(), random };
        backend.look(&mut client).await?;
    }
    look_for_identities(world, &mut client).await?;
    world.oracle().close();
    Ok(())
}

/// A PostgreSQL, and the way to it.
struct Database {
    server: Arc<Postgres>,
    proxy: Proxy,
}

/// The hub, and what happens to it.
struct Injector {
    world: Arc<World>,
    place: Place,
    database: Option<Database>,
    key: String,
    devices: PathBuf,
    random: Random,
    nodes: Vec<Option<Hubd>>,
    life: u64,
    injected: BTreeMap<Fault, u64>,
    slowest: Duration,
    verbose: bool,
}

impl Injector {
    fn spawn(&self, node: usize) -> io::Result<Hubd> {
        Hubd::start(&self.place, node, &self.key, &self.devices)
    }

    /// Starts a node and tells everybody where it is.
    async fn start(&mut self, node: usize) -> Result<Ready, HubdError> {
        let begun = Instant::now();
        let mut hubd = self.spawn(node)?;
        let ready = hubd.ready().await?;
        self.slowest = self.slowest.max(begun.elapsed());
        if let Some(slot) = self.nodes.get_mut(node) {
            *slot = Some(hubd);
        }
        self.life += 1;
        let Ready { mqtt, http } = ready;
        self.world.set_node(node, Some(Endpoint { mqtt, http, life: self.life, node }));
        Ok(ready)
    }

    /// Takes a node away from everybody.
    fn take(&mut self, node: usize) -> Option<Hubd> {
        self.world.set_node(node, None);
        self.nodes.get_mut(node)?.take()
    }

    async fn kill(&mut self, node: usize) -> io::Result<()> {
        match self.take(node) {
            Some(mut hubd) => hubd.kill().await,
            None => Ok(()),
        }
    }

    async fn restart(&mut self, node: usize) -> Result<Ready, HubdError> {
        self.kill(node).await?;
        self.start(node).await
    }

    /// Starts nodes again that have ended by themselves, which they must not.
    async fn look_after(&mut self) -> Result<(), HubdError> {
        for node in 0..self.nodes.len() {
            let hubd = self.nodes.get_mut(node).and_then(Option::as_mut);
            if let Some(status) = hubd.map(Hubd::ended).transpose()?.flatten() {
                {
                    let oracle = &mut *self.world.oracle();
                    let what = || format!("hubd ended by itself: {status}");
                    oracle.findings.add(Kind::Stuck, 1, what);
                }
                self.restart(node).await?;
            }
        }
        Ok(())
    }

    async fn nap(&mut self, most: u64) {
        let time = Duration::from_millis(self.random.below(most));
        tokio::time::sleep(time).await;
    }

    async fn inject(&mut self, fault: Fault) -> Result<(), HubdError> {
        *self.injected.entry(fault).or_default() += 1;
        let nodes = u64::try_from(self.nodes.len()).unwrap_or(1);
        let node = usize::try_from(self.random.below(nodes)).unwrap_or(0);
        match fault {
            Fault::Kill => {
                self.kill(node).await?;
                // The others are alone for a while.
                let most = if nodes > 1 { 1000 } else { 1 };
                self.nap(most).await;
                self.start(node).await.map(drop)
            }
            Fault::KillStarting => {
                self.kill(node).await?;
                let mut starting = self.spawn(node)?;
                // A start takes this long or less; some kills come when it is ready.
                self.nap(120).await;
                starting.kill().await?;
                self.start(node).await.map(drop)
            }
            Fault::Terminate => {
                if let Some(mut hubd) = self.take(node) {
                    let ended = hubd.terminate().await?;
                    if !ended.is_some_and(|status| status.success()) {
                        let oracle = &mut *self.world.oracle();
                        let what = || format!("asked to stop, hubd ended with {ended:?}");
                        oracle.findings.add(Kind::Stuck, 1, what);
                    }
                }
                self.start(node).await.map(drop)
            }
            Fault::Freeze => {
                self.freeze(node, Hubd::freeze)?;
                self.nap(1000).await;
                self.freeze(node, Hubd::thaw)
            }
            Fault::Fill => self.fill().await,
            Fault::Postgres | Fault::Cut | Fault::Stall => self.trouble(fault).await,
        }
    }

    fn freeze(&self, node: usize, how: fn(&Hubd) -> io::Result<()>) -> Result<(), HubdError> {
        match self.nodes.get(node).and_then(Option::as_ref) {
            Some(hubd) => Ok(how(hubd)?),
            None => Ok(()),
        }
    }

    /// Something happens to PostgreSQL or the way to it.
    async fn trouble(&mut self, fault: Fault) -> Result<(), HubdError> {
        let Some(Database { server, proxy }) = &self.database else { return Ok(()) };
        match fault {
            Fault::Postgres => {
                let server = Arc::clone(server);
                server.kill()?;
                self.nap(1500).await;
                let restarted = tokio::task::spawn_blocking(move || server.restart()).await;
                restarted.map_err(io::Error::other)??;
            }
            Fault::Cut => proxy.cut(),
            _ => {
                proxy.stall();
                self.nap(3000).await;
                if let Some(Database { proxy, .. }) = &self.database {
                    proxy.flow();
                }
            }
        }
        Ok(())
    }

    async fn fill(&mut self) -> Result<(), HubdError> {
        let ballast = Ballast::new(&self.place.data)?;
        self.nap(2000).await;
        if self.random.percent(50) {
            self.kill(0).await?;
            // It may refuse to start without room. It must start when there is some.
            let mut hubd = self.spawn(0)?;
            if let Err(error) = hubd.ready().await
                && self.verbose
            {
                eprintln!("on a full disk: {error}");
            }
            hubd.kill().await?;
            drop(ballast);
            return self.start(0).await.map(drop);
        }
        drop(ballast);
        Ok(())
    }

    /// Stops the hub for good.
    async fn end(&mut self) -> io::Result<()> {
        for node in 0..self.nodes.len() {
            if let Some(mut hubd) = self.take(node) {
                hubd.terminate().await?;
            }
        }
        Ok(())
    }
}
