//! This node as one of several: its document, and how it comes and goes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::core::Core;
use crate::id::NodeId;
use crate::roster::{Member, Standing};
use crate::store::{
    Ask, Batch, BatchId, Change, Document, DocumentRef, Key, Kind, Outcome, QueueId, Record,
    StoreError, StoreErrorKind, Version,
};
use crate::time::Timestamp;

/// Why a node cannot be part of the hub.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// Another process runs under this name.
    #[error("another process runs as node {0}; each node needs a name of its own")]
    NameTaken(NodeId),
    /// The other nodes have another number of partitions.
    #[error(
        "this node has {ours} partitions, and node {node}, which runs on the same store, {theirs}"
    )]
    Partitions {
        /// One of the others.
        node: NodeId,
        /// How many this one has.
        ours: u16,
        /// How many that one has.
        theirs: u16,
    },
    /// The store has failed for good.
    #[error("the store has failed")]
    Store,
    /// The hub is gone.
    #[error("the hub is gone")]
    Gone,
}

/// A node of the hub, as it was last seen.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeStatus {
    /// Its name.
    pub node: NodeId,
    /// Since when it runs.
    pub since: Timestamp,
    /// Whether it does, as far as its document tells.
    pub live: bool,
    /// How many connections it held then.
    pub connections: u64,
}

/// How far a node has come.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Joining,
    Joined,
    Refused(JoinError),
    /// How it is to leave: with everything in order, or with something left to repair.
    Leaving {
        in_order: bool,
    },
    Left,
}

/// What a hub knows of its own membership.
pub(crate) struct Membership {
    run: u64,
    batches: AtomicU64,
    state: watch::Sender<State>,
    nodes: watch::Sender<Vec<NodeStatus>>,
}

/// The documents of all nodes are read so many at a time.
const PAGE: std::num::NonZeroU32 = std::num::NonZeroU32::MIN.saturating_add(255);
/// Stands where batch ids of shards have the number of the shard.
const SHARD: u128 = 0xffff << 48;
/// Pauses between two tries of what the store could not do.
const RETRY: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

impl Membership {
    pub(crate) fn new(run: u64) -> Self {
        Self {
            run,
            batches: AtomicU64::new(0),
            state: watch::Sender::new(State::Joining),
            nodes: watch::Sender::new(Vec::new()),
        }
    }

    /// Ends when this node is part of the hub, or cannot be.
    pub(crate) async fn joined(&self) -> Result<(), JoinError> {
        let mut state = self.state.subscribe();
        let state = state.wait_for(|state| *state != State::Joining).await;
        match state.as_deref() {
            Ok(State::Refused(error)) => Err(error.clone()),
            Ok(_) => Ok(()),
            Err(_) => Err(JoinError::Gone),
        }
    }

    /// Whether devices may connect to it.
    pub(crate) fn is_joined(&self) -> bool {
        *self.state.borrow() == State::Joined
    }

    pub(super) fn has_joined(&self) {
        self.state.send_if_modified(|state| {
            let joins = *state == State::Joining;
            if joins {
                *state = State::Joined;
            }
            joins
        });
    }

    pub(super) fn refused(&self, error: JoinError) {
        self.state.send_replace(State::Refused(error));
    }

    /// Leaves the hub, and waits until that is written. `false` if it had never joined.
    pub(crate) async fn leave(&self, in_order: bool) -> bool {
        let leaves = self.state.send_if_modified(|state| {
            let joined = *state == State::Joined;
            if joined {
                *state = State::Leaving { in_order };
            }
            joined
        });
        let mut state = self.state.subscribe();
        leaves && state.wait_for(|state| *state == State::Left).await.is_ok()
    }

    /// Ends when this node is to leave, with how.
    pub(super) async fn leaving(&self) -> bool {
        let mut state = self.state.subscribe();
        let leaves = |state: &State| matches!(state, State::Leaving { .. } | State::Left);
        let state = state.wait_for(leaves).await;
        matches!(state.as_deref(), Ok(State::Leaving { in_order: true }))
    }

    pub(super) fn has_left(&self) {
        self.state.send_replace(State::Left);
    }

    pub(crate) fn nodes(&self) -> Vec<NodeStatus> {
        self.nodes.borrow().clone()
    }

    pub(super) fn is_own(&self, member: &Member) -> bool {
        member.run == self.run
    }
}

impl Core {
    /// What this node says of itself now.
    pub(super) fn member(&self, since: Timestamp) -> Member {
        Member {
            run: self.membership.run,
            standing: Standing::Live,
            since,
            expires: self.clock.now().after(self.limits.node_expiry),
            partitions: self.setup.partitions,
            connections: u64::try_from(self.connections.load(Ordering::Relaxed)).unwrap_or(0),
        }
    }

    /// Commits a change of the roster. It does not wait in line with what devices do, so that a node
    /// that has much to do is not held for dead.
    pub(super) async fn commit_alone(&self, change: Change) -> Result<Outcome, StoreError> {
        let number = self.membership.batches.fetch_add(1, Ordering::Relaxed);
        let id = u128::from(self.membership.run) << 64 | SHARD | u128::from(number);
        let batch = Batch { id: BatchId(id), changes: vec![change], nudges: Vec::new() };
        let (mut pause, most) = RETRY;
        loop {
            match self.store.commit(&batch).await {
                Ok(outcomes) => {
                    return outcomes.into_iter().next().ok_or_else(|| {
                        StoreError::fatal("commit", "there is not one outcome per change")
                    });
                }
                Err(error) if error.kind() == StoreErrorKind::Fatal => return Err(error),
                Err(error) => {
                    self.meter.store_failed(&error);
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(most);
                }
            }
        }
    }

    /// The documents of all nodes.
    pub(super) async fn all_nodes(&self) -> Result<Vec<(NodeId, Version, Member)>, StoreError> {
        let mut found = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let page = self.store.scan(Kind::Node, after.as_deref(), PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.at.key().id.to_string());
            found.extend(page.iter().filter_map(decode));
            if page.len() < usize::try_from(PAGE.get()).unwrap_or(usize::MAX) {
                break;
            }
        }
        let now = self.clock.now();
        let status = |(node, _, member): &(NodeId, Version, Member)| NodeStatus {
            node: node.clone(),
            since: member.since,
            live: member.is_live(now),
            connections: member.connections,
        };
        self.membership.nodes.send_replace(found.iter().map(status).collect());
        Ok(found)
    }

    /// The document of this node.
    pub(super) async fn own_document(&self) -> Result<Option<(Version, Member)>, StoreError> {
        let key = Key::new(Kind::Node, self.setup.node.as_str());
        let records = self.store.read(&[Ask::Document(key)]).await?;
        Ok(match records.into_iter().next().flatten() {
            Some(Record::Document(document)) => {
                decode(&document).map(|(_, version, member)| (version, member))
            }
            _ => None,
        })
    }
}

fn decode(document: &Document) -> Option<(NodeId, Version, Member)> {
    let node = NodeId::new(&document.at.key().id).ok()?;
    Some((node, document.at.version(), Member::decode(&document.body)?))
}

/// A node that has joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Joined {
    pub(super) version: Version,
    /// There was a document of an earlier run, which may have left sessions behind.
    pub(super) again: bool,
}

/// Makes this node part of the hub.
///
/// A document of the same name that has not expired is of a process that runs, or of one that
/// ended without a word a moment ago. Whoever runs renews it; so it is watched for one and a half
/// beats. Renewed, the name is taken. Silent, it is taken over; should its process only have been
/// stopped, it finds out at its next beat and gives up.
pub(super) async fn join(core: Arc<Core>) -> Result<Joined, JoinError> {
    let node = &core.setup.node;
    let key = Key::new(Kind::Node, node.as_str());
    let silence = core.limits.node_beat_every.mul_f32(1.5);
    let mut rival: Option<(Version, Instant)> = None;
    loop {
        let nodes = match core.all_nodes().await {
            Ok(nodes) => nodes,
            Err(error) if error.kind() == StoreErrorKind::Fatal => return Err(JoinError::Store),
            Err(error) => {
                core.meter.store_failed(&error);
                tokio::time::sleep(RETRY.1).await;
                continue;
            }
        };
        let now = core.clock.now();
        let ours = core.setup.partitions;
        for (other, _, member) in &nodes {
            if member.is_live(now) && member.partitions != ours {
                let theirs = member.partitions;
                return Err(JoinError::Partitions { node: other.clone(), ours, theirs });
            }
        }
        let found = nodes.iter().find(|(name, ..)| name == node);
        let guard = found.map(|(_, version, _)| *version);
        if let Some((_, version, member)) = found.filter(|(.., member)| member.is_live(now)) {
            match rival {
                Some((first, _)) if first != *version => {
                    return Err(JoinError::NameTaken(node.clone()));
                }
                Some((_, since)) if since.elapsed() >= silence => {
                    tracing::warn!(%node, since = %member.since, "taking over the name of a node that is silent");
                }
                _ => {
                    rival.get_or_insert_with(|| (*version, Instant::now()));
                    tokio::time::sleep(silence / 6).await;
                    continue;
                }
            }
        }
        let change = Change::new().write(&key, guard, core.member(now).encode());
        match core.commit_alone(change).await {
            Ok(Outcome::Committed(issued)) => {
                return Ok(Joined { version: issued.version, again: guard.is_some() });
            }
            // Somebody else wrote it: it is looked at again.
            Ok(_) => {}
            Err(_) => return Err(JoinError::Store),
        }
    }
}

impl Core {
    /// Writes that this node is gone: in order, nothing of it is left; else others repair what is.
    pub(super) async fn write_gone(&self, version: Version, since: Timestamp, in_order: bool) {
        let at = DocumentRef::new(Key::new(Kind::Node, self.setup.node.as_str()), version);
        let change = if in_order {
            Change::new().remove(&at).clear(QueueId::inbox(&self.setup.node))
        } else {
            let expired = Member { expires: self.clock.now(), ..self.member(since) };
            Change::new().replace(&at, expired.encode())
        };
        if let Err(error) = self.commit_alone(change).await {
            tracing::warn!(%error, "this node could not say that it is gone");
        }
    }
}
