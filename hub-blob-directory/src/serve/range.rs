//! Ranges of bytes, as clients ask for them.

use std::ops::Range;

use super::problem::Problem;

/// The bytes that a range names, of a blob of this size.
///
/// # Errors
/// `InvalidHeaderValue` for what is no single range from a first byte on, `InvalidRange` for one that
/// begins behind the end.
pub(super) fn resolve(text: &str, size: u64) -> Result<Range<u64>, Problem> {
    let bad = || Problem::header_value("Range");
    let digits = |text: &str| -> Option<u64> {
        let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        // More digits than fit are behind every end.
        plain.then(|| text.parse().unwrap_or(u64::MAX))
    };
    let (first, last) = text
        .trim()
        .strip_prefix("bytes=")
        .and_then(|range| range.split_once('-'))
        .ok_or_else(bad)?;
    let first = digits(first.trim()).ok_or_else(bad)?;
    let end = match last.trim() {
        "" => size,
        last => digits(last).ok_or_else(bad)?.saturating_add(1).min(size),
    };
    if first >= size {
        return Err(Problem::range(size));
    }
    if end <= first {
        return Err(bad());
    }
    Ok(first..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_cut_at_the_end() {
        let of = |text, size| resolve(text, size).map_err(|problem| problem.code());
        assert_eq!(of("bytes=0-4", 10), Ok(0..5));
        assert_eq!(of("bytes=3-3", 10), Ok(3..4));
        assert_eq!(of("bytes=3-", 10), Ok(3..10));
        assert_eq!(of("bytes=0-33554431", 10), Ok(0..10));
        assert_eq!(of("bytes=9-99999999999999999999999", 10), Ok(9..10));
        assert_eq!(of("bytes=10-", 10), Err("InvalidRange"));
        assert_eq!(of("bytes=0-9", 0), Err("InvalidRange"));
        for bad in
            ["", "bytes", "bytes=", "bytes=-5", "bytes=5-4", "bytes=a-b", "bytes=0-1,3-4", "x=0-1"]
        {
            assert_eq!(of(bad, 10), Err("InvalidHeaderValue"), "{bad}");
        }
    }
}
