//! Reading the built-in log: over AMQP and as a stream of HTTP from one hubd, in turn; what idle
//! links cost it; and what receivers that take nothing cost a device that sends.
//!
//! As with `load`, absolute figures of a shared machine say little: what is reported besides them
//! are ratios of turns that followed each other.

mod idle;
mod log;
mod options;
mod slow;

use std::io::{Write as _, stdout};
use std::process::ExitCode;

use benches::hubd::{Failure, Place, program};
use benches::{printed, process};

use self::options::{Options, USAGE};

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => return printed("readers", writeln!(stdout(), "{USAGE}").map_err(Into::into)),
        Err(error) => {
            eprintln!("readers: {error}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    printed("readers", run(&options))
}

fn run(options: &Options) -> Result<(), Failure> {
    let program = program(options.hubd.as_deref())?;
    process::check_open_files(options.slow)?;
    let place = Place { program: &program, cpu: options.server_cpu };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let all = async {
            if options.events > 0 {
                log::run(place, options).await?;
            }
            if options.links > 0 {
                idle::run(place, options.links).await?;
            }
            if options.slow > 0 {
                slow::run(place, options).await?;
            }
            Ok(())
        };
        // A stop by hand must drop what is running: hubd ends with the value that holds it.
        tokio::select! {
            result = all => result,
            _ = tokio::signal::ctrl_c() => Err("stopped by hand".into()),
        }
    })
}

/// The middle of some figures.
fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let (low, high) = (values.len().saturating_sub(1) / 2, values.len() / 2);
    match (values.get(low), values.get(high)) {
        (Some(low), Some(high)) => f64::midpoint(*low, *high),
        _ => f64::NAN,
    }
}

#[cfg(test)]
mod tests {
    use super::middle;

    #[test]
    fn the_middle_is_in_the_middle() {
        assert_eq!(middle(vec![9.0, 1.0, 2.0]), 2.0);
        assert_eq!(middle(vec![9.0, 1.0]), 5.0);
        assert!(middle(Vec::new()).is_nan());
    }
}
