//! Watching other nodes, by one's own clock.

use std::collections::BTreeMap;
use std::time::Duration;

use super::member::Member;
use crate::id::NodeId;
use crate::store::Version;
use crate::time::Timestamp;

/// What a node is held for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is left alone.
    Leave,
    /// What it says has expired, and it was silent for as long as it was watched.
    Dead,
}

/// When each node was last seen to change its document.
///
/// What a document says about its expiry is by the clock of whoever wrote it. A node that beats is
/// alive whatever its clock shows, so nobody is held for dead who was not watched for a while.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Watch {
    seen: BTreeMap<NodeId, (Version, Timestamp)>,
}

impl Watch {
    /// Judges one node. `silence` is how long it must have been silent.
    pub fn judge(
        &mut self,
        node: &NodeId,
        version: Version,
        member: &Member,
        now: Timestamp,
        silence: Duration,
    ) -> Verdict {
        let (last, since) = *self.seen.entry(node.clone()).or_insert((version, now));
        if last != version {
            self.seen.insert(node.clone(), (version, now));
            return Verdict::Leave;
        }
        let silent = now >= since.after(silence);
        if member.expires <= now && silent { Verdict::Dead } else { Verdict::Leave }
    }

    /// Forgets whoever is not among these.
    pub fn keep(&mut self, there: &[NodeId]) {
        self.seen.retain(|node, _| there.contains(node));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roster::Standing;

    const SILENCE: Duration = Duration::from_secs(4);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn member(expires: u64) -> Member {
        let standing = Standing::Live;
        Member {
            run: 1,
            standing,
            since: at(0),
            expires: at(expires),
            partitions: 1,
            connections: 0,
        }
    }

    #[test]
    fn a_node_is_dead_once_expired_and_silent_while_watched() {
        let (mut watch, node) = (Watch::default(), NodeId::new("n").unwrap());
        let mut judge = |version, expires, now| {
            watch.judge(&node, Version(version), &member(expires), at(now), SILENCE)
        };
        // Expired when first seen: perhaps its clock is behind.
        assert_eq!(judge(1, 10, 20), Verdict::Leave);
        assert_eq!(judge(1, 10, 23), Verdict::Leave);
        // It beats, with a clock that is far behind.
        assert_eq!(judge(2, 13, 24), Verdict::Leave);
        assert_eq!(judge(2, 13, 27), Verdict::Leave);
        assert_eq!(judge(2, 13, 28), Verdict::Dead);
        // Silent, and not expired.
        assert_eq!(judge(3, 40, 30), Verdict::Leave);
        assert_eq!(judge(3, 40, 39), Verdict::Leave);
        assert_eq!(judge(3, 40, 40), Verdict::Dead);
    }

    #[test]
    fn who_is_gone_is_forgotten() {
        let (mut watch, node) = (Watch::default(), NodeId::new("n").unwrap());
        watch.judge(&node, Version(1), &member(1), at(2), SILENCE);
        watch.keep(&[]);
        assert_eq!(watch, Watch::default());
    }
}
