//! Telling one connection of desired properties, in the order of their versions.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::limits::Limits;
use crate::time::Timestamp;

/// What to do about a notice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tell {
    /// Tell the device these, in this order. May be none.
    These(Vec<(u64, Bytes)>),
    /// Tell it all its desired properties: what it missed cannot be told any more.
    All,
}

/// Which versions of its desired properties one connection knows of.
///
/// Writes of this node are noticed at once, those of other nodes a moment later; so a later one may be
/// noticed before an earlier one. It then waits, for a while.
///
/// | notice | what the device is told |
/// |---|---|
/// | the first, or the next version | the notice, and those that waited for it |
/// | a later version | nothing yet |
/// | the same, when it has waited too long | all desired properties |
/// | a version the device knows | nothing |
/// | an earlier version that it was never told | all desired properties |
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Notices {
    /// The version the device knows.
    told: Option<u64>,
    /// From here to `told` it knows all: it was told them, or has read its twin.
    from: u64,
    waiting: BTreeMap<u64, Bytes>,
    late: Option<Timestamp>,
    /// It was never told of a version that was overtaken by the first one it was told of.
    gap: bool,
}

impl Notices {
    /// The desired properties have this version now, by this patch.
    pub fn notice(&mut self, version: u64, patch: Bytes, now: Timestamp, limits: &Limits) -> Tell {
        let told = match self.told {
            None => {
                self.from = version;
                version.saturating_sub(1)
            }
            Some(told) => told,
        };
        if version <= told {
            self.gap |= version < self.from;
            return if self.gap { Tell::All } else { Tell::These(Vec::new()) };
        }
        self.waiting.insert(version, patch);
        let mut these = Vec::new();
        self.told = Some(told);
        while let Some((version, patch)) = self.next() {
            self.told = Some(version);
            these.push((version, patch));
        }
        if self.waiting.is_empty() {
            self.late = None;
        } else if self.waiting.len() > limits.notices_waiting_max {
            return Tell::All;
        } else if self.late.is_none() || !these.is_empty() {
            self.late = Some(now.after(limits.notice_gap_max));
        }
        Tell::These(these)
    }

    fn next(&mut self) -> Option<(u64, Bytes)> {
        let (version, _) = self.waiting.first_key_value()?;
        (self.told.and_then(|told| told.checked_add(1)) == Some(*version)).then_some(())?;
        self.waiting.pop_first()
    }

    /// The device knows its desired properties as they are in this version: it has read them, or
    /// was told all of them. Returns what waited and comes next.
    pub fn knows(&mut self, version: u64) -> Vec<(u64, Bytes)> {
        let told = self.told.map_or(version, |told| told.max(version));
        self.told = Some(told);
        (self.from, self.gap) = (0, false);
        self.waiting = self.waiting.split_off(&told.saturating_add(1));
        let mut these = Vec::new();
        while let Some((version, patch)) = self.next() {
            self.told = Some(version);
            these.push((version, patch));
        }
        if self.waiting.is_empty() {
            self.late = None;
        }
        these
    }

    /// Time has passed. Whether a notice has waited too long.
    pub fn tick(&mut self, now: Timestamp) -> bool {
        self.late.take_if(|late| *late <= now).is_some()
    }

    /// Whether a device whose desired properties have this version has missed something. Of one that
    /// was told nothing yet and has read nothing, nobody knows.
    #[must_use]
    pub fn has_missed(&self, version: u64) -> bool {
        self.gap || self.told.is_some_and(|told| told < version)
    }

    /// When to call [`Notices::tick`] if nothing else happens.
    #[must_use]
    pub fn deadline(&self) -> Option<Timestamp> {
        self.late
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1000);

    fn notice(notices: &mut Notices, version: u64) -> Option<Vec<u64>> {
        match notices.notice(version, Bytes::new(), NOW, &Limits::default()) {
            Tell::These(these) => Some(these.into_iter().map(|(version, _)| version).collect()),
            Tell::All => None,
        }
    }

    #[test]
    fn notices_are_told_in_order_and_once() {
        let mut notices = Notices::default();
        assert_eq!(notice(&mut notices, 4), Some(vec![4]));
        assert_eq!(notice(&mut notices, 7), Some(vec![]));
        assert_eq!(notice(&mut notices, 6), Some(vec![]));
        assert_eq!(notice(&mut notices, 6), Some(vec![]));
        assert!(notices.deadline().is_some());
        assert_eq!(notice(&mut notices, 5), Some(vec![5, 6, 7]));
        assert_eq!(notices.deadline(), None);
        assert_eq!(notice(&mut notices, 5), Some(vec![]));
        assert_eq!(notice(&mut notices, 8), Some(vec![8]));
    }

    #[test]
    fn what_is_missed_for_good_is_made_up_for() {
        let mut notices = Notices::default();
        notice(&mut notices, 1);
        notice(&mut notices, 3);
        let late = NOW.after(Limits::default().notice_gap_max);
        assert!(!notices.tick(NOW) && notices.tick(late) && !notices.tick(late));
        assert!(notices.has_missed(3) && !notices.has_missed(1));
        assert_eq!(notices.knows(3), []);
        assert!(!notices.has_missed(3) && notices.has_missed(4));
        assert_eq!(notice(&mut notices, 2), Some(vec![]));
        assert_eq!(notice(&mut notices, 4), Some(vec![4]));
    }

    /// The first notice of a connection may have overtaken one, which nobody could know then.
    #[test]
    fn one_that_was_overtaken_by_the_first_is_made_up_for() {
        let mut notices = Notices::default();
        assert_eq!(notice(&mut notices, 6), Some(vec![6]));
        assert_eq!(notice(&mut notices, 5), None);
        assert_eq!(notices.knows(6), []);
        assert_eq!(notice(&mut notices, 5), Some(vec![]));
    }

    #[test]
    fn whoever_has_read_its_twin_needs_no_notice_of_it() {
        let mut notices = Notices::default();
        notices.knows(5);
        assert_eq!(notice(&mut notices, 5), Some(vec![]));
        assert_eq!(notice(&mut notices, 7), Some(vec![]));
        let these: Vec<_> = notices.knows(6).into_iter().map(|(version, _)| version).collect();
        assert_eq!(these, [7]);
        // An older view changes nothing.
        notices.knows(3);
        assert_eq!(notice(&mut notices, 8), Some(vec![8]));
    }

    #[test]
    fn too_many_do_not_wait() {
        let limits = Limits { notices_waiting_max: 3, ..Limits::default() };
        let mut notices = Notices::default();
        notices.knows(1);
        let mut tell = |version| notices.notice(version, Bytes::new(), NOW, &limits);
        for version in 3..=5 {
            assert_eq!(tell(version), Tell::These(Vec::new()));
        }
        assert_eq!(tell(6), Tell::All);
    }
}
