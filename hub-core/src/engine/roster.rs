//! What a node does for its membership: it beats, watches the others, and repairs what dead ones left.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::task::JoinHandle;

use super::core::Core;
use super::hub::{Hub, Inner};
use super::membership::{JoinError, Joined, NodeStatus, join};
use super::once::Boxed;
use crate::device::{Answer, Input, Request};
use crate::error::CloseReason;
use crate::id::{Address, NodeId};
use crate::roster::{Member, Standing, Verdict, Watch};
use crate::session::Session;
use crate::store::{
    Change, Document, DocumentRef, Key, Kind, Outcome, QueueId, StoreError, Version,
};
use crate::time::Timestamp;

/// How long a repair counts as under way without a sign.
const REPAIR: Duration = Duration::from_secs(60);
/// Connections that are looked at between two pauses.
const REVIEWED_AT_ONCE: usize = 256;
/// Sessions that are repaired at once.
const REPAIRED_AT_ONCE: usize = 64;
/// A pause of what has time.
const PAUSE: Duration = Duration::from_millis(5);

/// A join that was begun: ended, or to be waited for.
pub(super) type Joining = Result<Joined, Boxed<Result<Joined, JoinError>>>;

/// What a node keeps of its membership.
struct Seat {
    version: Version,
    since: Timestamp,
    /// Until when the others believe that it runs.
    until: Timestamp,
}

/// Joins, beats, and leaves.
pub(super) async fn keep(core: Arc<Core>, hub: Weak<Inner>, joining: Joining) {
    let since = core.clock.now();
    let joined = match joining {
        Ok(joined) => Ok(joined),
        Err(later) => later.await,
    };
    let joined = match joined {
        Ok(joined) => joined,
        Err(error) => {
            core.membership.refused(error.clone());
            return core.fail(&StoreError::fatal("join", error));
        }
    };
    core.membership.has_joined();
    let until = core.clock.now().after(core.limits.node_expiry);
    let mut seat = Seat { version: joined.version, since, until };
    let mut repair: Option<JoinHandle<()>> = None;
    if joined.again {
        let at = own(&core, &seat);
        repair = Some(tokio::spawn(repair_own(hub.clone(), at)));
    }
    let mut watch = Watch::default();
    loop {
        let next = core.clock.now().after(core.limits.node_beat_every);
        tokio::select! {
            in_order = core.membership.leaving() => {
                core.write_gone(seat.version, since, in_order).await;
                return core.membership.has_left();
            }
            () = core.clock.wait_until(next) => {}
        }
        match beat(&core, &mut seat).await {
            Ok(Beat::InTime) => {}
            Ok(Beat::Late) => {
                tracing::warn!(node = %core.setup.node, "this node was held for dead; it looks at all its connections");
                if let Some(inner) = hub.upgrade() {
                    review(&inner).await;
                }
            }
            Ok(Beat::Fenced) => {
                let error = JoinError::NameTaken(core.setup.node.clone());
                core.membership.refused(error.clone());
                return core.fail(&StoreError::fatal("beat", error));
            }
            Err(error) => return core.fail(&error),
        }
        let idle = repair.as_ref().is_none_or(JoinHandle::is_finished);
        if let Some((at, member)) = look(&core, &mut watch).await
            && idle
        {
            repair = Some(tokio::spawn(repair_other(hub.clone(), at, member)));
        }
    }
}

fn own(core: &Core, seat: &Seat) -> DocumentRef {
    DocumentRef::new(Key::new(Kind::Node, core.setup.node.as_str()), seat.version)
}

enum Beat {
    InTime,
    /// Others may have held it for dead, and repaired its sessions.
    Late,
    /// Another process took its name.
    Fenced,
}

async fn beat(core: &Core, seat: &mut Seat) -> Result<Beat, StoreError> {
    let mut late = core.clock.now() >= seat.until;
    let mut guard = Some(seat.version);
    loop {
        let member = core.member(seat.since);
        let until = member.expires;
        let change = Change::new().write(own(core, seat).key(), guard, member.encode());
        match core.commit_alone(change).await? {
            Outcome::Committed(issued) => {
                late |= core.clock.now() >= seat.until;
                (seat.version, seat.until) = (issued.version, until);
                return Ok(if late { Beat::Late } else { Beat::InTime });
            }
            _ => late = true,
        }
        guard = match read_own(core).await {
            Some((_, member))
                if !core.membership.is_own(&member) && member.is_live(core.clock.now()) =>
            {
                return Ok(Beat::Fenced);
            }
            Some((version, _)) => Some(version),
            None => None,
        };
    }
}

async fn read_own(core: &Core) -> Option<(Version, Member)> {
    loop {
        match core.own_document().await {
            Ok(found) => return found,
            Err(error) => {
                core.meter.store_failed(&error);
                if error.kind() == crate::store::StoreErrorKind::Fatal {
                    return None;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Looks at all nodes. Returns one that is dead, if there is one.
async fn look(core: &Core, watch: &mut Watch) -> Option<(DocumentRef, Member)> {
    let nodes = match core.all_nodes().await {
        Ok(nodes) => nodes,
        Err(error) => {
            core.meter.store_failed(&error);
            return None;
        }
    };
    let silence = core.limits.node_beat_every * 2;
    let now = core.clock.now();
    let names: Vec<NodeId> = nodes.iter().map(|(node, ..)| node.clone()).collect();
    watch.keep(&names);
    let mut dead = None;
    for (node, version, member) in nodes {
        if node == core.setup.node {
            continue;
        }
        if watch.judge(&node, version, &member, now, silence) == Verdict::Dead {
            dead = Some((DocumentRef::new(Key::new(Kind::Node, node.as_str()), version), member));
        }
    }
    dead
}

/// Every connection of this node is looked at: whether its session is still its own.
pub(super) async fn review(inner: &Arc<Inner>) {
    for shard in &inner.shards {
        for (count, line) in shard.lines().into_iter().enumerate() {
            shard.input(&line.address, Input::Changed);
            if count % REVIEWED_AT_ONCE == REVIEWED_AT_ONCE - 1 {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Repairs what an earlier run of this node left.
async fn repair_own(hub: Weak<Inner>, at: DocumentRef) {
    let mut at = at;
    if repair_sessions(&hub, &mut at, None).await.is_none() {
        tracing::warn!(node = %at.key().id, "not all sessions of an earlier run could be repaired");
    }
}

/// Repairs what a dead node left, and forgets it.
async fn repair_other(hub: Weak<Inner>, at: DocumentRef, member: Member) {
    let Some(core) = hub.upgrade().map(|inner| inner.core.clone()) else { return };
    let node = at.key().id.clone();
    let Some(mut at) = mark(&core, &at, &member).await else { return };
    tracing::warn!(%node, "a node is gone without a word; its sessions are repaired");
    let Some(repaired) = repair_sessions(&hub, &mut at, Some(&member)).await else {
        return tracing::warn!(%node, "not all sessions of a dead node could be repaired yet");
    };
    let Ok(name) = NodeId::new(&node) else { return };
    let change = Change::new().remove(&at).clear(QueueId::inbox(&name));
    if let Ok(Outcome::Committed(_)) = core.commit_alone(change).await {
        tracing::info!(%node, repaired, "a dead node is forgotten");
    }
}

/// Marks a node as lost, so that no other node does the same work. `None` if another was faster, or
/// the node is back.
async fn mark(core: &Core, at: &DocumentRef, member: &Member) -> Option<DocumentRef> {
    let expires = core.clock.now().after(REPAIR);
    let lost = Member { standing: Standing::Lost, expires, ..member.clone() };
    match core.commit_alone(Change::new().replace(at, lost.encode())).await {
        Ok(Outcome::Committed(issued)) => Some(DocumentRef::new(at.key().clone(), issued.version)),
        _ => None,
    }
}

/// Ends the sessions that name a node. Returns how many, or nothing if not all could be. `lost` is
/// the node as it was, if it is another one: the mark is renewed meanwhile.
async fn repair_sessions(
    hub: &Weak<Inner>,
    at: &mut DocumentRef,
    lost: Option<&Member>,
) -> Option<usize> {
    let (mut after, mut repaired) = (None::<String>, 0);
    let mut renew = None::<Timestamp>;
    loop {
        let inner = hub.upgrade()?;
        let core = &inner.core;
        let now = core.clock.now();
        if let Some(member) = lost
            && now >= *renew.get_or_insert(now.after(REPAIR / 2))
        {
            *at = mark(core, at, member).await?;
            renew = None;
        }
        let page = std::num::NonZeroU32::new(core.limits.list_page_max)?;
        let found = core.store.scan(Kind::Session, after.as_deref(), page).await.ok()?;
        let Some(last) = found.last() else { return Some(repaired) };
        after = Some(last.at.key().id.to_string());
        let orphans: Vec<Address> =
            found.iter().filter_map(|document| orphan(document, &at.key().id)).collect();
        for some in orphans.chunks(REPAIRED_AT_ONCE) {
            let waiting: Vec<_> = some
                .iter()
                .map(|address| {
                    let shard = inner
                        .shards
                        .get(usize::from(address.partition(core.setup.partitions).0))?;
                    let request = Request::Repair(at.clone());
                    Some(shard.ask(address, |call| Input::Ask(call, request)).1)
                })
                .collect();
            for answer in waiting {
                match tokio::time::timeout(core.limits.call_timeout, answer?).await {
                    Ok(Ok(Answer::Done)) => repaired += 1,
                    _ => return None,
                }
            }
        }
    }
}

fn orphan(document: &Document, node: &str) -> Option<Address> {
    let session = Session::decode(&document.body)?;
    let named = session.node.is_some_and(|named| named.as_str() == node);
    named.then(|| Address::parse(&document.at.key().id).ok()).flatten()
}

/// Begins to join. A store that answers at once lets it end at once.
pub(super) fn begin(core: &Arc<Core>) -> Result<Joining, JoinError> {
    match super::once::poll_once(Box::pin(join(core.clone()))) {
        Ok(Ok(joined)) => {
            core.membership.has_joined();
            Ok(Ok(joined))
        }
        Ok(Err(error)) => Err(error),
        Err(later) => Ok(Err(later)),
    }
}

impl Hub {
    /// Ends when this node is part of the hub: devices may connect. With a store that answers at
    /// once it is when [`HubBuilder::start`](super::HubBuilder::start) returns.
    ///
    /// # Errors
    /// [`JoinError`], after which the hub has failed.
    pub async fn joined(&self) -> Result<(), JoinError> {
        self.core().membership.joined().await
    }

    /// The nodes of the hub, as they were last seen: this one, and those on the same store.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeStatus> {
        self.core().membership.nodes()
    }

    /// How many connections the hub has over all its nodes: those of this one now, those of the others
    /// as of their last beat.
    #[must_use]
    pub fn connections_of_all_nodes(&self) -> u64 {
        let own = u64::try_from(self.connections()).unwrap_or(u64::MAX);
        let others = self.nodes().into_iter().filter(|node| node.live && node.node != *self.node());
        others.map(|node| node.connections).fold(own, u64::saturating_add)
    }

    /// Closes what is still connected, for a shutdown.
    pub(super) fn expel_all(&self) {
        for shard in &self.inner.shards {
            for line in shard.lines() {
                shard.input(&line.address, Input::Expel(CloseReason::Shutdown));
            }
        }
    }
}
