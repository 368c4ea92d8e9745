//! From the command line to the end of the process.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use hub_core::HubBuilder;

use crate::args::Args;
use crate::{ready, runtime, serve};

/// What is set beyond the command line.
pub(crate) type Tune = fn(HubBuilder) -> HubBuilder;

/// How long a clean shutdown may take.
const GRACE: Duration = Duration::from_secs(8);

/// Runs hubd, with settings of the hub beyond its command line.
pub(crate) fn main(tune: Tune) -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Help and version are answers; everything else is one clear line.
            if !error.use_stderr() {
                print!("{error}");
                return ExitCode::SUCCESS;
            }
            let text = error.to_string();
            let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
            eprintln!("hubd: {}", line.trim_start_matches("error: "));
            return ExitCode::from(2);
        }
    };
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("HUBD_LOG")
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info")),
        )
        .init();
    let runtime = match runtime::build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error),
    };
    let code = runtime.block_on(async {
        match run(&args, tune).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(error.as_ref()),
        }
    });
    // Connections that did not end in time must not hold up the exit.
    runtime.shutdown_timeout(Duration::from_millis(200));
    code
}

fn fail(error: &dyn std::error::Error) -> ExitCode {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        line = format!("{line}: {cause}");
        source = cause.source();
    }
    eprintln!("hubd: {}", line.replace('\n', " "));
    ExitCode::from(2)
}

async fn run(args: &Args, tune: Tune) -> Result<(), Box<dyn std::error::Error>> {
    let running = serve::start(args, tune).await?;
    println!("ready {}", ready::line(&running));
    wait_for_the_end(&running.hub).await?;
    let report = running.hub.shutdown(GRACE).await;
    if let Some(store) = &running.store {
        // Not needed for what was acknowledged, but the next start has less to read.
        store.close().await;
    }
    tracing::info!(connections = report.connections_closed, drained = report.drained, "stopped");
    Ok(())
}

async fn wait_for_the_end(hub: &hub_core::Hub) -> Result<(), Box<dyn std::error::Error>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        () = hub.failed() => Err("the store has failed".into()),
    }
}
