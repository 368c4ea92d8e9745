//! A flipped bit anywhere in the journal's files is detected and named, and what it says is never
//! served.

use hub_core::conformance::store::Random;
use hub_core::id::Partition;

use super::crashes::{GROUPS, reference};
use super::rig::{PARTITIONS, Rig};
use crate::disk::Disk;

#[test]
fn a_flipped_bit_is_detected_or_without_effect() {
    let (mut refused, mut named, mut harmless) = (0, 0, 0);
    for seed in 50..56 {
        let reference = reference(seed);
        let mut rig = Rig::new();
        rig.open().unwrap();
        let mut last = rig.core().journal.position();
        for group in &reference.groups {
            last = rig.core().journal.position();
            rig.group(group);
        }
        let end = rig.core().journal.position();
        if last.segment != end.segment {
            last = crate::journal::Position { segment: end.segment, offset: 512 };
        }
        let names = rig.disk.list().unwrap();
        let mut random = Random::new(seed);
        for _ in 0..250 {
            let name = random.pick(&names).unwrap();
            let bit = rig.disk.with_bytes(name, |bytes| {
                let bit = random.below(bytes.len() as u64 * 8) as usize;
                bytes[bit / 8] ^= 1 << (bit % 8);
                bit
            });
            let place = format!("seed {seed}, bit {bit} of {name}");
            // The last group cannot be told from one that was torn when the power went.
            let in_last = *name == crate::journal::segment::name(last.segment)
                && (last.offset..end.offset).contains(&(bit as u64 / 8));
            let before = rig.core().keep;
            match rig.open() {
                Err(error) => {
                    refused += 1;
                    let said = error.to_string();
                    assert!(
                        said.contains(name.as_str()) && !said.contains('\n'),
                        "{place}: {said}"
                    );
                }
                Ok(()) => {
                    let entries: Result<Vec<_>, _> =
                        (0..PARTITIONS).map(|of| rig.entries(Partition(of))).collect();
                    match entries {
                        Err(error) => {
                            named += 1;
                            assert!(error.to_string().contains(name.as_str()), "{place}: {error}");
                        }
                        Ok(_) => {
                            harmless += 1;
                            let seen = rig.see(reference.batches);
                            let right = seen == reference.seen[GROUPS]
                                || (in_last && seen == reference.seen[GROUPS - 1]);
                            assert!(right, "{place}");
                        }
                    }
                }
            }
            rig.disk.with_bytes(name, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
            rig.open().unwrap_or_else(|error| panic!("{place}, flipped back: {error}"));
            assert_eq!(rig.core().keep, before, "{place}");
        }
    }
    assert!(refused > 50 && named > 5 && harmless > 50, "{refused} {named} {harmless}");
}
