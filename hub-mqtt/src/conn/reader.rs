//! From a stream of bytes to packets, keeping as little as possible.

use crate::codec::{DecodeError, Decoded, Packet, decode};

/// What one look at the bytes gave.
pub(super) enum Parsed {
    /// Everything complete was handed on; what is left is kept.
    All,
    /// The taker wants no more for now; what is left is kept.
    Paused,
}

/// Keeps what could not be handed on: most often nothing, else the beginning of a packet.
#[derive(Debug, Default)]
pub(super) struct Reader {
    kept: Vec<u8>,
    /// How many bytes must be there before the first packet of `kept` can be read.
    needs: usize,
}

impl Reader {
    /// A reader that begins with these bytes.
    pub(super) fn new(kept: Vec<u8>) -> Self {
        Self { kept, needs: 0 }
    }

    /// Whether a packet is ready without any more bytes.
    pub(super) fn has_packets(&self) -> bool {
        !self.kept.is_empty() && self.kept.len() >= self.needs
    }

    /// Reads the packets in what was kept and `fresh`. `take` is given each, and says whether it
    /// wants another one.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes are no packets. Nothing can be read after that.
    pub(super) fn read(
        &mut self,
        fresh: &[u8],
        limit: usize,
        mut take: impl FnMut(Packet<'_>) -> bool,
    ) -> Result<Parsed, DecodeError> {
        let mut fresh = fresh;
        // Bytes are moved only as far as the packet needs them that began in an earlier read.
        while !self.kept.is_empty() {
            let missing = self.needs.saturating_sub(self.kept.len());
            let (now, later) = fresh.split_at_checked(missing).unwrap_or((fresh, &[]));
            self.kept.extend_from_slice(now);
            fresh = later;
            if self.kept.len() < self.needs {
                return Ok(Parsed::All);
            }
            let kept = std::mem::take(&mut self.kept);
            let (used, needs, wants) = parse(&kept, limit, &mut take)?;
            self.needs = needs;
            if used < kept.len() {
                self.kept = kept;
                self.kept.drain(..used);
            }
            if !wants {
                self.kept.extend_from_slice(fresh);
                return Ok(Parsed::Paused);
            }
            if fresh.is_empty() {
                return Ok(Parsed::All);
            }
        }
        let (used, needs, wants) = parse(fresh, limit, &mut take)?;
        self.needs = needs;
        self.kept.extend_from_slice(fresh.get(used..).unwrap_or(&[]));
        Ok(if wants { Parsed::All } else { Parsed::Paused })
    }
}

/// Hands on the packets of `bytes`. Returns how many bytes they took, how many the next packet
/// needs, and whether more are wanted.
fn parse(
    bytes: &[u8],
    limit: usize,
    take: &mut impl FnMut(Packet<'_>) -> bool,
) -> Result<(usize, usize, bool), DecodeError> {
    let mut used = 0;
    loop {
        let rest = bytes.get(used..).unwrap_or(&[]);
        if rest.is_empty() {
            return Ok((used, 0, true));
        }
        match decode(rest, limit)? {
            Decoded::Incomplete(needs) => return Ok((used, needs, true)),
            Decoded::Packet(packet, length) => {
                used += length;
                if !take(packet) {
                    return Ok((used, 0, false));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::{Publish, Qos, publish, simple};

    const LIMIT: usize = 1000;

    /// A ping for 0, else a publish with a payload of that length.
    fn write(length: u16, out: &mut Vec<u8>) {
        if length == 0 {
            simple(out, Packet::PingReq);
            return;
        }
        let payload = vec![b'x'; usize::from(length)];
        let message = Publish {
            dup: false,
            qos: Qos::Zero,
            retain: false,
            id: None,
            topic: "t",
            payload: &payload,
        };
        publish(out, &message).unwrap();
    }

    fn length(packet: &Packet<'_>) -> u16 {
        match packet {
            Packet::Publish(publish) => publish.payload.len() as u16,
            _ => 0,
        }
    }

    #[test]
    fn a_trickle_keeps_one_packet_and_no_more() {
        let mut bytes = Vec::new();
        for n in [300, 0, 200] {
            write(n, &mut bytes);
        }
        let (mut reader, mut found) = (Reader::default(), Vec::new());
        for byte in &bytes {
            let taken = reader.read(&[*byte], LIMIT, |p| {
                found.push(length(&p));
                true
            });
            assert!(matches!(taken, Ok(Parsed::All)));
            assert!(reader.kept.len() < 310 && !reader.has_packets());
        }
        assert_eq!(found, [300, 0, 200]);
        assert_eq!(reader.kept.capacity(), 0);
    }

    #[test]
    fn garbage_is_an_error_wherever_it_comes() {
        let mut bytes = Vec::new();
        write(5, &mut bytes);
        bytes.extend(b"\xff\x00");
        for cut in 0..bytes.len() {
            let mut reader = Reader::default();
            let first = reader.read(&bytes[..cut], LIMIT, |_| true);
            let all = first.and_then(|_| reader.read(&bytes[cut..], LIMIT, |_| true));
            assert!(matches!(all, Err(DecodeError::Type(15))), "{cut}");
        }
        let oversize = Reader::default().read(b"\x30\xe9\x07", LIMIT, |_| true);
        assert!(matches!(oversize, Err(DecodeError::Oversize { size: 1001, .. })));
    }

    proptest! {
        /// However the bytes are cut, and however often the taker pauses, each packet comes once
        /// and in order.
        #[test]
        fn cuts_and_pauses_do_not_matter(
            lengths in prop::collection::vec(prop_oneof![Just(0_u16), 1_u16..300], 0..30),
            cuts in prop::collection::vec(1_usize..400, 1..40),
            pauses in prop::collection::vec(any::<bool>(), 1..40),
        ) {
            let mut bytes = Vec::new();
            lengths.iter().for_each(|n| write(*n, &mut bytes));
            let (mut reader, mut found) = (Reader::default(), Vec::new());
            let mut pauses = pauses.iter().copied().cycle();
            let mut cuts = cuts.iter().copied().cycle();
            let mut rest = bytes.as_slice();
            while !rest.is_empty() || reader.has_packets() {
                // As the driver does: no read while there are packets.
                let fresh = if reader.has_packets() {
                    &[][..]
                } else {
                    let (fresh, later) = rest.split_at(cuts.next().unwrap().min(rest.len()));
                    rest = later;
                    fresh
                };
                let parsed = reader.read(fresh, LIMIT, |packet| {
                    found.push(length(&packet));
                    pauses.next().unwrap()
                });
                prop_assert!(parsed.is_ok());
            }
            prop_assert_eq!(found, lengths);
            prop_assert!(reader.kept.is_empty());
        }
    }
}
