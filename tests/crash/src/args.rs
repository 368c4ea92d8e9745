//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::faults::Fault;
use crate::power::{Seeds, Word};
use crate::run::Plan;

/// Crashes a hub under load and checks that it kept its word.
#[derive(Debug, Parser)]
#[command(name = "crash", disable_help_subcommand = true)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs hubd under load and injects faults into it.
    Run(RunArgs),
    /// Runs a hub in this process on a disk that loses power, once or several times for each seed
    Power(PowerArgs),
}

/// Which seeds of simulated power loss.
#[derive(Debug, clap::Args)]
pub struct PowerArgs {
    /// The first seed
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// How many seeds
    #[arg(long, default_value_t = 1000)]
    pub count: u64,
    /// How many at once
    #[arg(long, default_value_t = 2)]
    pub jobs: usize,
}

/// How to run hubd, and what to do to it.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// Decides which faults come when, and what clients do
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Faults, each time one of them
    #[arg(long, value_delimiter = ',', default_value = "kill")]
    pub faults: Vec<Fault>,
    /// How many faults
    #[arg(long, default_value_t = 100)]
    pub count: u64,
    /// Seconds after which no more faults come
    #[arg(long)]
    pub time: Option<u64>,
    /// Milliseconds from one fault to the next, at least
    #[arg(long, default_value_t = 100)]
    pub pause_min: u64,
    /// Milliseconds from one fault to the next, at most
    #[arg(long, default_value_t = 400)]
    pub pause_max: u64,
    /// How many devices
    #[arg(long, default_value_t = 12)]
    pub devices: usize,
    /// Bytes of a telemetry message
    #[arg(long, default_value_t = 200)]
    pub body: usize,
    /// Waits at the end until every message was delivered: up to three minutes
    #[arg(long)]
    pub deliver: bool,
    /// Puts the hub's data on a memory file system of so many MiB, which `fill` needs
    #[arg(long, value_name = "MIB")]
    pub tmpfs: Option<u64>,
    /// Starts a PostgreSQL of the run's own, for the hub to use through a proxy
    #[arg(long)]
    pub postgres: bool,
    /// How many nodes form the hub, which takes PostgreSQL
    #[arg(long, default_value_t = 1, requires = "postgres")]
    pub nodes: usize,
    /// Where the hub's data goes; a folder that is removed at the end if nothing is said
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// What hubd is told as its store; its embedded one if nothing is said
    #[arg(long, value_name = "SPEC")]
    pub store: Option<String>,
}

impl PowerArgs {
    /// Which seeds to run.
    #[must_use]
    pub fn seeds(&self) -> Seeds {
        let (first, count, jobs) = (self.seed, self.count, self.jobs);
        Seeds { first, count, jobs, word: Word::Kept, verbose: true }
    }
}

impl RunArgs {
    /// What a run does.
    #[must_use]
    pub fn plan(&self) -> Plan {
        Plan {
            seed: self.seed,
            faults: self.faults.clone(),
            count: self.count,
            time: self.time.map(Duration::from_secs),
            pause: (self.pause_min, self.pause_max.max(self.pause_min)),
            devices: self.devices,
            body: self.body,
            deliver: self.deliver,
            tmpfs: self.tmpfs,
            postgres: self.postgres,
            nodes: if self.postgres { self.nodes.max(1) } else { 1 },
            verbose: true,
        }
    }
}
