//! hubd with all that a hub keeps only if it is told to: dead letters, the history of twins, and what a
//! device may have missed of its desired properties. The command line is hubd's.

#[path = "../hubd/args.rs"]
mod args;
#[path = "../hubd/certs.rs"]
mod certs;
#[path = "../hubd/devices.rs"]
mod devices;
#[path = "../hubd/keys.rs"]
mod keys;
#[path = "../hubd/ready.rs"]
mod ready;
#[path = "../hubd/routes.rs"]
mod routes;
#[path = "../hubd/run.rs"]
mod run;
#[path = "../hubd/runtime.rs"]
mod runtime;
#[path = "../hubd/serve.rs"]
mod serve;

use std::process::ExitCode;

use hub_core::limits::Limits;

fn main() -> ExitCode {
    run::main(|hub| {
        let mut limits = Limits::default();
        limits.dead_letters_max = 100;
        limits.twin_history_max = 100;
        limits.twin_events_with_previous = true;
        limits.desired_catch_up = true;
        hub.limits(limits)
    })
}
