//! The hub beside mosquitto: the same QoS 1 ingest by the same client on the same machine, in turn.
//!
//! Absolute figures of a shared or virtual machine say little and change from hour to hour; the
//! ratio of two servers that took turns within the same minute says much more. So each round starts
//! a fresh hubd and a fresh mosquitto one after the other, and what is reported is the middle of the
//! rounds' ratios. Neither writes to disk: hubd keeps its log in memory, mosquitto has nobody to
//! deliver to.

mod options;
mod report;
mod round;
mod server;

use std::io::{Write as _, stdout};
use std::process::ExitCode;

use benches::hubd::Failure;
use benches::{printed, process};

use self::options::{Options, USAGE};
use self::report::Report;
use self::server::Kind;

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => return printed("load", writeln!(stdout(), "{USAGE}").map_err(Into::into)),
        Err(error) => {
            eprintln!("load: {error}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    printed("load", run(&options))
}

fn run(options: &Options) -> Result<(), Failure> {
    let programs = server::programs(options)?;
    process::check_open_files(options.idle.max(options.connections))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        // A stop by hand must drop what is running: servers end with the values that hold them.
        tokio::select! {
            result = rounds(options, &programs) => result,
            _ = tokio::signal::ctrl_c() => Err("stopped by hand".into()),
        }
    })
}

async fn rounds(options: &Options, programs: &server::Programs) -> Result<(), Failure> {
    let mut report = Report::default();
    for number in 1..=options.rounds {
        let hub = round::run(Kind::Hubd, programs, options).await?;
        let mosquitto = round::run(Kind::Mosquitto, programs, options).await?;
        writeln!(stdout(), "{}", report::line(number, &hub, &mosquitto))?;
        report.add(hub, mosquitto);
    }
    writeln!(stdout(), "\n{}", report.table(options))?;
    Ok(())
}
