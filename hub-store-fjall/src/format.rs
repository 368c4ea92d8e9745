//! The file that makes a directory a store: its format, and the store's id.

use std::io;

use crate::disk::{Disk, read_all, replace};
use crate::error::OpenError;

/// The file's name.
pub(crate) const FORMAT: &str = "format";
/// The file that is locked while a process has the store open.
pub(crate) const LOCK: &str = "lock";
const KNOWN: u32 = 1;

/// Reads the store's id, or begins a new store in a directory without files.
pub(crate) fn identify(disk: &dyn Disk, directory: &str) -> Result<u128, OpenError> {
    let path = disk.describe(FORMAT);
    let failed = |source| OpenError::io(&path, source);
    match disk.open(FORMAT) {
        Ok(file) => parse(&path, &read_all(&*file).map_err(failed)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let names = disk.list().map_err(failed)?;
            let new = format!("{FORMAT}.new");
            if names.iter().any(|name| *name != LOCK && *name != new) {
                return Err(OpenError::NotAStore { directory: directory.to_owned() });
            }
            let mut id = [0; 16];
            getrandom::fill(&mut id)
                .map_err(|error| failed(io::Error::other(format!("no random numbers: {error}"))))?;
            let id = u128::from_le_bytes(id);
            let text = format!("hub-store-fjall\nformat {KNOWN}\nid {id:032x}\n");
            let text = format!("{text}check {:08x}\n", crc32c::crc32c(text.as_bytes()));
            replace(disk, FORMAT, text.as_bytes()).map_err(failed)?;
            Ok(id)
        }
        Err(error) => Err(failed(error)),
    }
}

fn parse(path: &str, bytes: &[u8]) -> Result<u128, OpenError> {
    let damaged = || OpenError::damaged(path, "it does not name a format");
    let text = std::str::from_utf8(bytes).map_err(|_| damaged())?;
    let mut lines = text.lines();
    if lines.next() != Some("hub-store-fjall") {
        return Err(damaged());
    }
    let format = lines.next().and_then(|line| line.strip_prefix("format "));
    let found: u32 = format.and_then(|text| text.parse().ok()).ok_or_else(damaged)?;
    if found > KNOWN {
        return Err(OpenError::Newer { path: path.to_owned(), found, known: KNOWN });
    }
    let check = text.rfind("check ").and_then(|at| text.split_at_checked(at));
    let right = |(text, check): (&str, &str)| {
        check.trim_end() == format!("check {:08x}", crc32c::crc32c(text.as_bytes()))
    };
    if !check.is_some_and(right) {
        return Err(damaged());
    }
    let id = lines.next().and_then(|line| line.strip_prefix("id "));
    id.and_then(|text| u128::from_str_radix(text, 16).ok()).ok_or_else(damaged)
}
