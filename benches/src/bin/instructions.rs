//! Counts the instructions of each bench under valgrind: a figure that a busy machine does not
//! change, good enough to see one per cent.
//!
//! `instructions [PART OF A NAME]`. Each bench runs twice under callgrind, with few and with more
//! rounds; the difference is what the rounds between cost, free of setting up.

use std::error::Error;
use std::io::{Write as _, stdout};
use std::process::{Command, ExitCode};

const FEW: u64 = 200;
const MORE: u64 = 1200;

fn main() -> ExitCode {
    benches::printed("instructions", run())
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    match (arguments.next(), arguments.next(), arguments.next()) {
        // What is run under valgrind.
        (Some(run), Some(name), Some(rounds)) if run == "run" => {
            let bench = benches::all().into_iter().find(|bench| bench.name == name);
            let mut bench = bench.ok_or("no such bench")?.prepare();
            bench(rounds.parse()?);
        }
        (part, None, None) => {
            let part = part.unwrap_or_default();
            writeln!(stdout(), "{:>12} {:>12}  bench", "per round", "per element")?;
            for bench in benches::all().iter().filter(|bench| bench.name.contains(&part)) {
                let between = count(&bench.name, MORE)?.saturating_sub(count(&bench.name, FEW)?);
                let round = between / (MORE - FEW);
                let element = round / bench.elements;
                writeln!(stdout(), "{round:>12} {element:>12}  {}", bench.name)?;
            }
        }
        _ => return Err("usage: instructions [PART OF A NAME]".into()),
    }
    Ok(())
}

fn count(name: &str, rounds: u64) -> Result<u64, Box<dyn Error>> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args(["run", name, &rounds.to_string()])
        .output()
        .map_err(|error| format!("valgrind cannot be started: {error}"))?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    // `==123== Collected : 456`
    let collected = text.lines().find_map(|line| line.split_once("Collected :"));
    match collected {
        Some((_, count)) if output.status.success() => Ok(count.trim().parse()?),
        _ => Err(text.into()),
    }
}
