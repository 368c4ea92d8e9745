//! The command line.

use std::path::PathBuf;
use std::time::Duration;

pub(crate) const USAGE: &str = "\
load: the same QoS 1 ingest against hubd and mosquitto in turn, and the ratio of the two

  --hubd PATH        hubd to start [built with cargo, in release]
  --connections N    devices that publish [10]
  --window N         messages in flight on each [10]
  --payload BYTES    of each message [256]
  --rounds N         turns of each server [5]
  --seconds N        measured in each turn, after one of warming up [3]
  --idle N           idle connections for the memory figure; 0 leaves it out [1000]
  --server-cpu N     pin the servers to this processor (with taskset)
  --help             this text";

/// What is to be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) hubd: Option<PathBuf>,
    pub(crate) connections: usize,
    pub(crate) window: usize,
    pub(crate) payload: usize,
    pub(crate) rounds: usize,
    pub(crate) measured: Duration,
    pub(crate) idle: usize,
    pub(crate) server_cpu: Option<usize>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            hubd: None,
            connections: 10,
            window: 10,
            payload: 256,
            rounds: 5,
            measured: Duration::from_secs(3),
            idle: 1000,
            server_cpu: None,
        }
    }
}

impl Options {
    /// `None` if help is asked for.
    pub(crate) fn parse(
        mut arguments: impl Iterator<Item = String>,
    ) -> Result<Option<Self>, String> {
        let mut options = Self::default();
        while let Some(name) = arguments.next() {
            if matches!(name.as_str(), "--help" | "-h") {
                return Ok(None);
            }
            let value = arguments.next().ok_or_else(|| format!("{name} has no value"))?;
            let number = |least: usize, most: usize| match value.parse() {
                Ok(number) if (least..=most).contains(&number) => Ok(number),
                _ => Err(format!("{name} is a number from {least} to {most}")),
            };
            match name.as_str() {
                "--hubd" => options.hubd = Some(value.into()),
                "--connections" => options.connections = number(1, 50_000)?,
                // A packet id names one message in flight.
                "--window" => options.window = number(1, 65_535)?,
                "--payload" => options.payload = number(0, 256 * 1024)?,
                "--rounds" => options.rounds = number(1, 1000)?,
                "--seconds" => {
                    options.measured = Duration::from_secs(number(1, 3600)? as u64);
                }
                "--idle" => options.idle = number(0, 50_000)?,
                "--server-cpu" => options.server_cpu = Some(number(0, 4095)?),
                _ => return Err(format!("there is no option {name}")),
            }
        }
        Ok(Some(options))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Option<Options>, String> {
        Options::parse(text.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn options_are_taken_and_their_bounds_kept() {
        assert_eq!(parse(""), Ok(Some(Options::default())));
        let options = parse("--hubd a/b --window 7 --seconds 2 --server-cpu 1").unwrap().unwrap();
        assert_eq!((options.hubd, options.window), (Some("a/b".into()), 7));
        assert_eq!((options.measured.as_secs(), options.server_cpu), (2, Some(1)));
        assert_eq!(parse("--window 1 --help"), Ok(None));
        for bad in ["--window", "--window 0", "--window 65536", "--window x", "--fast 1", "x y"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
