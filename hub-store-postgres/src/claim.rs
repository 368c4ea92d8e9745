//! Claims.

use std::collections::{BTreeMap, BTreeSet};

use hub_core::store::{Claim, Item, QueueId, Scope, StoreError};
use hub_core::time::Timestamp;

use crate::pool::Pool;
use crate::read::claimed;
use crate::session::{Call, Frame};
use crate::sql::Sql;
use crate::sqlstate::store_error;
use crate::values::{count, millis, queue_kind, text};

/// Claims that one statement can serve: neighbours on queues of which none is named twice, or one
/// claim over many queues. A statement does not see what it has locked itself, so claims that could
/// take the same items follow each other.
#[derive(Debug, PartialEq)]
enum Group<'a> {
    Queues(Vec<(&'a QueueId, &'a Claim)>),
    Many(&'a Claim),
}

fn groups(claims: &[Claim]) -> Vec<Group<'_>> {
    let mut groups = Vec::new();
    let mut seen = BTreeSet::new();
    for claim in claims {
        let Scope::Queue(queue) = &claim.scope else {
            groups.push(Group::Many(claim));
            continue;
        };
        match groups.last_mut() {
            Some(Group::Queues(members)) if seen.insert(queue) => members.push((queue, claim)),
            _ => {
                seen = BTreeSet::from([queue]);
                groups.push(Group::Queues(vec![(queue, claim)]));
            }
        }
    }
    groups
}

impl<'a> Group<'a> {
    fn len(&self) -> usize {
        match self {
            Self::Queues(members) => members.len(),
            Self::Many(_) => 1,
        }
    }

    /// Every claim has a version of its own, from `version` on.
    fn call(&self, now: Timestamp, version: i64) -> Call<'a> {
        match self {
            Self::Queues(members) => {
                let kinds: Vec<_> = members.iter().map(|(q, _)| queue_kind(q.kind)).collect();
                let ids: Vec<_> = members.iter().map(|(queue, _)| text(&queue.id)).collect();
                let limits = members.iter().map(|(_, claim)| i64::from(claim.limit));
                let limits: Vec<_> = limits.collect();
                let until: Vec<_> =
                    members.iter().map(|(_, claim)| millis(claim.hide_until)).collect();
                let versions: Vec<_> = (version..).take(members.len()).collect();
                let call = Call::new(Sql::ClaimQueues).with(kinds).with(ids).with(limits);
                call.with(until).with(versions).with(millis(now))
            }
            Self::Many(claim) => {
                let (sql, kind) = match &claim.scope {
                    Scope::Overdue(kind) => (Sql::ClaimOverdue, *kind),
                    Scope::Any(kind) => (Sql::ClaimAny, *kind),
                    Scope::Queue(queue) => (Sql::ClaimAny, queue.kind),
                };
                let call = Call::new(sql).with(queue_kind(kind)).with(i64::from(claim.limit));
                call.with(millis(claim.hide_until)).with(version).with(millis(now))
            }
        }
    }
}

/// Takes items for a while: all the claims of a call, or none of them.
pub(crate) async fn claim(
    pool: &Pool,
    now: Timestamp,
    claims: &[Claim],
) -> Result<Vec<Vec<Item>>, StoreError> {
    let wanted: Vec<_> = claims.iter().filter(|claim| claim.limit > 0).cloned().collect();
    if wanted.is_empty() {
        return Ok(claims.iter().map(|_| Vec::new()).collect());
    }
    let failed = |error| store_error("claim", error, false);
    let mut lease = pool.lease("claim").await?;
    let Some(session) = lease.session() else {
        return Err(StoreError::unavailable("claim", "no connection"));
    };
    let mut version = session.versions(count(wanted.len())).await.map_err(failed)?;
    let groups = groups(&wanted);
    let mut calls = Vec::with_capacity(groups.len());
    for group in &groups {
        calls.push(group.call(now, version));
        version = version.saturating_add(count(group.len()));
    }
    let frame = if calls.len() == 1 { Frame::None } else { Frame::Whole };
    // An answer that is missing leaves what was taken hidden for its time, and nobody has it.
    let rows = session.pipeline(frame, calls).await;
    let rows = rows.map_err(|error| store_error("claim", error, true))?;
    let mut lists = BTreeMap::new();
    let mut first = 0;
    for (group, rows) in groups.iter().zip(&rows) {
        claimed(rows, &mut lists, first).map_err(failed)?;
        first += group.len();
    }
    lease.done();
    // Rows come in the order in which they were updated.
    for list in lists.values_mut() {
        list.sort_unstable_by(|one: &Item, two: &Item| {
            (one.at.queue(), one.at.sequence()).cmp(&(two.at.queue(), two.at.sequence()))
        });
    }
    let mut place = 0;
    let all = claims.iter().map(|claim| {
        if claim.limit == 0 {
            return Vec::new();
        }
        place += 1;
        lists.remove(&(place - 1)).unwrap_or_default()
    });
    Ok(all.collect())
}

#[cfg(test)]
mod tests {
    use hub_core::store::QueueKind;

    use super::*;

    fn claim(scope: Scope) -> Claim {
        Claim { scope, limit: 1, hide_until: Timestamp::ZERO }
    }

    #[test]
    fn claims_that_could_meet_are_in_statements_of_their_own() {
        let queue =
            |id: &str| claim(Scope::Queue(QueueId { kind: QueueKind::Mailbox, id: id.into() }));
        let any = || claim(Scope::Any(QueueKind::Mailbox));
        let claims = [queue("a"), queue("b"), queue("a"), queue("c"), any(), any(), queue("c")];
        let lengths: Vec<_> = groups(&claims).iter().map(Group::len).collect();
        assert_eq!(lengths, [2, 2, 1, 1, 1]);
        assert!(groups(&[]).is_empty());
    }
}
