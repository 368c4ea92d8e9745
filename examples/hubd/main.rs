//! hubd, the standalone hub: what operators try first, and what acceptance tests drive.

mod args;
mod certs;
mod devices;
mod keys;
mod ready;
mod routes;
mod run;
mod runtime;
mod serve;

use std::process::ExitCode;

fn main() -> ExitCode {
    run::main(|hub| hub)
}
