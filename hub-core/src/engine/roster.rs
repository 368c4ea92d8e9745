//! What a node does for its membership: it beats, watches the others, and repairs what dead ones left.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::task::JoinHandle;

use super::core::Core;
use super::hub::{Hub, Inner};
use super::membership::{JoinError, Joined, NodeStatus, join};
use super::once::Boxed;
use super::shard::Answered;
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
        let dead = look(&core, &mut watch).await;
        if idle && !dead.is_empty() {
            repair = Some(tokio::spawn(repair_others(hub.clone(), dead)));
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

/// Looks at all nodes. Returns those that are dead.
async fn look(core: &Core, watch: &mut Watch) -> Vec<(DocumentRef, Member)> {
    let nodes = match core.all_nodes().await {
        Ok(nodes) => nodes,
        Err(error) => {
            core.meter.store_failed(&error);
            return Vec::new();
        }
    };
    let silence = core.limits.node_beat_every * 2;
    let now = core.clock.now();
    let names: Vec<NodeId> = nodes.iter().map(|(node, ..)| node.clone()).collect();
    watch.keep(&names);
    let mut dead = Vec::new();
    for (node, version, member) in nodes {
        if node == core.setup.node {
            continue;
        }
        if watch.judge(&node, version, &member, now, silence) == Verdict::Dead {
            dead.push((DocumentRef::new(Key::new(Kind::Node, node.as_str()), version), member));
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

/// A node whose sessions are to be ended.
struct Dead {
    /// Its document, as it was read or marked.
    at: DocumentRef,
    /// What it said of itself; `None` of an earlier run of this node, which needs no mark.
    member: Option<Member>,
}

/// Nodes to repair, by name: the sessions of all are looked at once.
type AllDead = BTreeMap<Arc<str>, Dead>;

/// Repairs what an earlier run of this node left.
async fn repair_own(hub: Weak<Inner>, at: DocumentRef) {
    let name = at.key().id.clone();
    let mut dead = AllDead::from([(name, Dead { at, member: None })]);
    if repair_sessions(&hub, &mut dead).await.is_none() {
        tracing::warn!("not all sessions of an earlier run could be repaired");
    }
}

/// Repairs what dead nodes left, and forgets them.
async fn repair_others(hub: Weak<Inner>, found: Vec<(DocumentRef, Member)>) {
    let Some(core) = hub.upgrade().map(|inner| inner.core.clone()) else { return };
    let mut dead = AllDead::new();
    for (at, member) in found {
        if let Some(at) = mark(&core, &at, &member).await {
            tracing::warn!(node = %at.key().id, "a node is gone without a word; its sessions are repaired");
            dead.insert(at.key().id.clone(), Dead { at, member: Some(member) });
        }
    }
    let Some(repaired) = repair_sessions(&hub, &mut dead).await else {
        return tracing::warn!("not all sessions of dead nodes could be repaired yet");
    };
    for Dead { at, .. } in dead.into_values() {
        let Ok(node) = NodeId::new(&at.key().id) else { continue };
        let change = Change::new().remove(&at).clear(QueueId::inbox(&node));
        // Refused if it is back meanwhile.
        if let Ok(Outcome::Committed(_)) = core.commit_alone(change).await {
            tracing::info!(%node, repaired, "a dead node is forgotten");
        }
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

/// Ends the sessions that name these nodes. Returns how many, or nothing if not all could be.
async fn repair_sessions(hub: &Weak<Inner>, dead: &mut AllDead) -> Option<usize> {
    let (mut after, mut repaired) = (None::<String>, 0);
    let mut renew = hub.upgrade()?.core.clock.now().after(REPAIR / 2);
    while !dead.is_empty() {
        let inner = hub.upgrade()?;
        let core = &inner.core;
        if core.clock.now() >= renew {
            for Dead { at, member } in dead.values_mut() {
                if let Some(member) = member {
                    *at = mark(core, at, member).await?;
                }
            }
            renew = core.clock.now().after(REPAIR / 2);
        }
        let page = std::num::NonZeroU32::new(core.limits.list_page_max)?;
        let found = core.store.scan(Kind::Session, after.as_deref(), page).await.ok()?;
        let Some(last) = found.last() else { break };
        after = Some(last.at.key().id.to_string());
        let orphans: Vec<_> = found.iter().filter_map(|document| orphan(document, dead)).collect();
        for some in orphans.chunks(REPAIRED_AT_ONCE) {
            repaired += repair(&inner, some).await?;
        }
    }
    Some(repaired)
}

/// Ends these sessions, with the nodes that they name.
async fn repair(inner: &Inner, orphans: &[(Address, DocumentRef)]) -> Option<usize> {
    let mut waiting = Vec::with_capacity(orphans.len());
    for (address, node) in orphans {
        let number = address.partition(inner.core.setup.partitions).0;
        let shard = inner.shards.get(usize::from(number))?;
        let request = Request::Repair(node.clone());
        waiting.push(shard.ask(address, |call| Input::Ask(call, request)).1);
    }
    for answer in waiting {
        match tokio::time::timeout(inner.core.limits.call_timeout, answer).await {
            Ok(Ok(Answered { answer: Answer::Done, .. })) => {}
            _ => return None,
        }
    }
    Some(orphans.len())
}

/// Whose session it is that names a dead node.
fn orphan(document: &Document, dead: &AllDead) -> Option<(Address, DocumentRef)> {
    let node = Session::decode(&document.body)?.node?;
    let dead = dead.get(node.as_str())?;
    Some((Address::parse(&document.at.key().id).ok()?, dead.at.clone()))
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
            for address in shard.connected() {
                shard.input(&address, Input::Expel(CloseReason::Shutdown));
            }
        }
    }
}
