//! What procfs says of a process.

use std::fs;
use std::time::Duration;

use crate::hubd::Failure;

/// Ticks of processor time in a second, as procfs counts them on every Linux.
const TICKS: u32 = 100;

/// Processor time of a process so far, in user mode and in the kernel, all threads.
///
/// # Errors
/// There is no such process, or no procfs.
pub fn cpu(pid: u32) -> Result<Duration, Failure> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    ticks(&stat)
        .map(|ticks| Duration::from_secs(ticks) / TICKS)
        .ok_or_else(|| format!("/proc/{pid}/stat is not understood").into())
}

fn ticks(stat: &str) -> Option<u64> {
    // The program's name stands in brackets and may hold anything, so fields count from behind it;
    // `utime` and `stime` are the 14th and 15th of all, the name being the second.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(next()? + next()?)
}

/// Resident memory of a process, in bytes.
///
/// # Errors
/// There is no such process, or no procfs.
pub fn resident(pid: u32) -> Result<u64, Failure> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    kilobytes(&rollup)
        .map(|kilobytes| kilobytes * 1024)
        .ok_or_else(|| format!("/proc/{pid}/smaps_rollup is not understood").into())
}

fn kilobytes(rollup: &str) -> Option<u64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// Refuses to begin what the limit on open files would end half-way; servers inherit it.
///
/// # Errors
/// The limit is too low for so many connections.
pub fn check_open_files(connections: usize) -> Result<(), Failure> {
    let limits = fs::read_to_string("/proc/self/limits")?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().next()).unwrap_or("unlimited");
    let needed = connections + 100;
    match soft.parse::<usize>() {
        Ok(soft) if soft < needed => {
            Err(format!("{needed} open files are needed, the limit is {soft}: ulimit -n").into())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_any_name() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 134 0 0 0 21 13 0 0 20 0 1 0 99 8 0";
        assert_eq!(ticks(stat), Some(34));
        assert_eq!(ticks("7 (a) S 1"), None);
    }

    #[test]
    fn resident_memory_is_the_first_line_of_its_name() {
        let text = "55 ---p [rollup]\nRss:                1876 kB\nPss:                 281 kB\n";
        assert_eq!(kilobytes(text), Some(1876));
        assert_eq!(kilobytes("Pss: 1 kB\n"), None);
    }

    #[test]
    fn this_process_has_times_and_memory() {
        let pid = std::process::id();
        assert!(cpu(pid).is_ok());
        assert!(resident(pid).unwrap() > 100_000);
    }
}
