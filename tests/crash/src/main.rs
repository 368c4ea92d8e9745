//! The command line of the crash harness.

use std::process::ExitCode;

use clap::Parser as _;
use crash::args::{Args, Command, RunArgs};
use crash::{HubdError, Place, Report, power, run};

fn main() -> ExitCode {
    let outcome = match Args::parse().command {
        Command::Run(args) => run_hubd(&args),
        Command::Power(args) => {
            let tally = power::run(args.seeds());
            println!("{tally}");
            Ok(tally.failed.is_empty())
        }
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("crash: {error}");
            ExitCode::from(2)
        }
    }
}

fn run_hubd(args: &RunArgs) -> Result<bool, HubdError> {
    let scratch = match &args.dir {
        Some(_) => None,
        None => Some(tempfile::Builder::new().prefix("crash-").tempdir_in(".")?),
    };
    let folder = match (&args.dir, &scratch) {
        (Some(dir), _) => dir.clone(),
        (None, Some(scratch)) => scratch.path().to_owned(),
        (None, None) => return Err(HubdError::NotBuilt("no folder".to_owned())),
    };
    std::fs::create_dir_all(&folder)?;
    let data = folder.join("data");
    let place = Place { hubd: Place::find_hubd()?, folder, data, store: args.store.clone() };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    println!("seed {}, {} devices, {}", args.seed, args.devices, place.hubd.display());
    let report: Report = runtime.block_on(run(&place, &args.plan()))?;
    println!("{report}");
    if !report.is_clean()
        && let Some(scratch) = scratch
    {
        println!("left for a look: {}", scratch.keep().display());
    }
    Ok(report.is_clean())
}
