//! What the bodies of messages say: who, and which.

/// A body that names its sender and its number, filled up to a size.
pub(crate) fn body(device: &str, number: u64, bytes: usize) -> Vec<u8> {
    let mut body = format!("{device} {number} ").into_bytes();
    body.resize(body.len().max(bytes), b'x');
    body
}

/// The device and the number in a body.
pub(crate) fn parse(body: &[u8]) -> Option<(&str, u64)> {
    let text = std::str::from_utf8(body).ok()?;
    let mut words = text.split(' ');
    let device = words.next()?;
    Some((device, words.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_says_who_and_which() {
        assert_eq!(parse(&body("device-1", 17, 100)), Some(("device-1", 17)));
        assert_eq!(parse(&body("device-1", 17, 0)), Some(("device-1", 17)));
        assert_eq!(parse(b"something else"), None);
    }
}
