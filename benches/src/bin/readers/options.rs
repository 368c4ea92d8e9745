//! The command line.

use std::path::PathBuf;
use std::time::Duration;

pub(crate) const USAGE: &str = "\
readers: the built-in log over AMQP and HTTP, idle links of AMQP, and receivers that take nothing

  --hubd PATH        hubd to start [built with cargo, in release]
  --events N         events in the log that is read; 0 leaves reading out [500000]
  --payload BYTES    of each event [256]
  --credit N         of the AMQP receiver; half of it used up is granted again [1000]
  --rounds N         turns of each reader, and of the device with and without slow receivers [5]
  --links N          idle links for the memory figure; 0 leaves it out [10000]
  --slow N           receivers that take nothing; 0 leaves them out [20]
  --seconds N        measured in each turn of the device [3]
  --server-cpu N     pin hubd to this processor (with taskset)
  --help             this text";

/// What is to be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) hubd: Option<PathBuf>,
    pub(crate) events: usize,
    pub(crate) payload: usize,
    pub(crate) credit: u32,
    pub(crate) rounds: usize,
    pub(crate) links: usize,
    pub(crate) slow: usize,
    pub(crate) measured: Duration,
    pub(crate) server_cpu: Option<usize>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            hubd: None,
            events: 500_000,
            payload: 256,
            credit: 1000,
            rounds: 5,
            links: 10_000,
            slow: 20,
            measured: Duration::from_secs(3),
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
            let number = |least: u32, most: u32| match value.parse() {
                Ok(number) if (least..=most).contains(&number) => Ok(number),
                _ => Err(format!("{name} is a number from {least} to {most}")),
            };
            let count = |least, most| number(least, most).map(|number| number as usize);
            match name.as_str() {
                "--hubd" => options.hubd = Some(value.into()),
                // The log in memory keeps 512 MiB.
                "--events" => options.events = count(0, 1_000_000)?,
                "--payload" => options.payload = count(0, 256 * 1024)?,
                "--credit" => options.credit = number(2, 1_000_000)?,
                "--rounds" => options.rounds = count(1, 1000)?,
                "--links" => options.links = count(0, 1_000_000)?,
                "--slow" => options.slow = count(0, 1000)?,
                "--seconds" => options.measured = Duration::from_secs(number(1, 3600)?.into()),
                "--server-cpu" => options.server_cpu = Some(count(0, 4095)?),
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
        let options = parse("--events 7 --credit 3 --links 0 --server-cpu 1").unwrap().unwrap();
        assert_eq!((options.events, options.credit, options.links), (7, 3, 0));
        assert_eq!(options.server_cpu, Some(1));
        assert_eq!(parse("--rounds 1 --help"), Ok(None));
        for bad in ["--rounds", "--rounds 0", "--credit 1", "--links x", "--fast 1"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
