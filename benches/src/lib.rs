//! What is measured, at fixed sizes and from fixed seeds, apart from how it is measured.
//!
//! Each module holds the [`Bench`]es of one part of the hub. The targets in `benches/` give them to
//! criterion for wall time; the binary `instructions` counts what they execute, which a busy machine
//! does not change. `README.md` says what each number means.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a bench that is refused what it measures has nothing to say"
)]

pub mod claim;
pub mod client;
pub mod commit;
pub mod end_to_end;
pub mod engine;
pub mod fixture;
pub mod hubd;
pub mod mqtt_codec;
pub mod node;
pub mod process;
pub mod query;
mod random;
pub mod reader;
pub mod routing;
pub mod twin;

use std::error::Error;
use std::fmt::Display;
use std::io;
use std::process::ExitCode;

pub use self::random::Random;

/// Something that can be done many times, and measured.
pub trait Bench: Sized {
    /// How large it is: which link count, batch size, document.
    type Size: Copy + Display + 'static;

    /// Its name, `group/name`, as the README's table has it.
    const NAME: &'static str;

    /// Its fixed sizes.
    const SIZES: &'static [Self::Size];

    /// Sets up what is measured, still empty.
    fn open(size: Self::Size) -> Self;

    /// Brings it to the state in which it is measured. The same seed gives the same state.
    fn seed(&mut self, random: &mut Random);

    /// How many elements one round handles; what a figure of the table is per.
    fn elements(size: Self::Size) -> u64;

    /// Does the measured work `rounds` times. Leaves the state as it found it, but for what grows
    /// by nature and is bounded: sequence numbers, and a log that sheds its oldest entries.
    fn run(&mut self, rounds: u64);
}

/// How a program ends that writes its report to its standard output. Whoever reads that may have
/// seen enough and closed it, as `head` does: this is no failure, and nothing is said of it.
#[must_use]
pub fn printed(program: &str, result: Result<(), Box<dyn Error>>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    let closed = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
    if error.downcast_ref().is_some_and(closed) {
        return ExitCode::SUCCESS;
    }
    eprintln!("{program}: {error}");
    ExitCode::from(2)
}

/// The seed of all benches.
pub const SEED: u64 = 0x6875_6262_656e_6368;

/// A bench, ready to be run.
pub fn prepare<B: Bench>(size: B::Size) -> B {
    let mut bench = B::open(size);
    bench.seed(&mut Random::new(SEED));
    bench
}

/// A bench by its name, for callers that learn the name while they run.
pub struct Named {
    /// `group/name/size`.
    pub name: String,
    /// Elements of one round.
    pub elements: u64,
    prepare: Box<dyn Fn() -> Box<dyn FnMut(u64)>>,
}

impl std::fmt::Debug for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Named").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Named {
    fn of<B: Bench + 'static>() -> impl Iterator<Item = Self> {
        B::SIZES.iter().map(|&size| Self {
            name: format!("{}/{size}", B::NAME),
            elements: B::elements(size),
            prepare: Box::new(move || {
                let mut bench = prepare::<B>(size);
                Box::new(move |rounds| bench.run(rounds))
            }),
        })
    }

    /// The bench, ready to be run a number of rounds.
    #[must_use]
    pub fn prepare(&self) -> Box<dyn FnMut(u64)> {
        (self.prepare)()
    }
}

/// All benches that take no socket.
#[must_use]
pub fn all() -> Vec<Named> {
    Named::of::<node::Method>()
        .chain(Named::of::<node::Report>())
        .chain(Named::of::<node::Settle>())
        .chain(Named::of::<commit::Append>())
        .chain(Named::of::<commit::Replace>())
        .chain(Named::of::<claim::Queues>())
        .chain(Named::of::<claim::Overdue>())
        .chain(Named::of::<twin::ReportPatch>())
        .chain(Named::of::<twin::Load>())
        .chain(Named::of::<query::Route>())
        .chain(Named::of::<routing::Ingest>())
        .chain(Named::of::<mqtt_codec::Decode>())
        .chain(Named::of::<mqtt_codec::Encode>())
        .chain(Named::of::<engine::Telemetry>())
        .chain(Named::of::<engine::Method>())
        .chain(Named::of::<engine::Report>())
        .chain(Named::of::<engine::Message>())
        .collect()
}
