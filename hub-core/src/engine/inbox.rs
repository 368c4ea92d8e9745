//! What other nodes tell this one: taken out of its inbox, and handed to the machines.

use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::channel::oneshot;

use super::committer::Done;
use super::hub::Inner;
use super::line::lock;
use super::shard::{Answered, Shard};
use crate::device::{Answer, Input, Request};
use crate::error::{ErrorKind, HubError};
use crate::id::{Address, NodeId};
use crate::inbox::{Asked, Post, Replied};
use crate::store::{Change, Claim, Item, Op, QueueId, QueueKind, Scope};

/// Most posts taken out at once.
const PAGE: u32 = 256;
/// How long posts are hidden that were taken out: longer than it takes to remove them. They come
/// again only if they could not be removed.
const LOCK: Duration = Duration::from_secs(10);
/// How long to wait after a nudge for nothing, so that a store that nudges without end is not asked
/// without end.
const PAUSE: Duration = Duration::from_millis(5);

/// The nodes whose inboxes these changes push to.
pub(super) fn nudges_of(changes: &[Change]) -> Vec<NodeId> {
    let mut nodes: Vec<NodeId> = Vec::new();
    for op in changes.iter().flat_map(Change::ops) {
        if let Op::Push(push) = op
            && push.queue.kind == QueueKind::Inbox
            && !nodes.iter().any(|node| node.as_str() == &*push.queue.id)
        {
            nodes.extend(NodeId::new(&push.queue.id));
        }
    }
    nodes
}

/// Looks into the inbox at every nudge, and from time to time without one.
pub(super) async fn watch(hub: Weak<Inner>) {
    let Some(core) = hub.upgrade().map(|inner| inner.core.clone()) else { return };
    if core.membership.joined().await.is_err() {
        return;
    }
    loop {
        let Some(inner) = hub.upgrade() else { return };
        let found = empty(&inner).await;
        if found >= usize::try_from(core.limits.inbox_depth_max / 2).unwrap_or(usize::MAX) {
            // It may have been full, and some posts found no room.
            super::roster::review(&inner).await;
        }
        drop(inner);
        let again = core.clock.now().after(core.limits.inbox_poll_every);
        tokio::select! {
            () = core.store.nudged(&core.setup.node) => {
                if found == 0 {
                    tokio::time::sleep(PAUSE).await;
                }
            }
            () = core.clock.wait_until(again) => {}
        }
    }
}

/// Takes out all there is. Returns how much it was.
pub(super) async fn empty(inner: &Arc<Inner>) -> usize {
    let core = &inner.core;
    let mut found = 0;
    loop {
        let now = core.clock.now();
        let claim = Claim {
            scope: Scope::Queue(QueueId::inbox(&core.setup.node)),
            limit: PAGE,
            hide_until: now.after(LOCK),
        };
        let items = match core.store.claim(now, &[claim]).await {
            Ok(lists) => lists.into_iter().flatten().collect::<Vec<_>>(),
            Err(error) => {
                core.meter.store_failed(&error);
                tracing::debug!(%error, "the inbox could not be looked into");
                return found;
            }
        };
        found += items.len();
        let last = items.len() < usize::try_from(PAGE).unwrap_or(usize::MAX);
        for item in items {
            take(inner, &item);
        }
        if last {
            return found;
        }
    }
}

/// Acts on a post, and removes it.
fn take(inner: &Arc<Inner>, item: &Item) {
    let Some(post) = Post::decode(&item.body) else {
        tracing::warn!(queue = %item.at.queue().id, "a post of another node cannot be read");
        return remove(inner.shards.first(), item);
    };
    let shard = shard(inner, post.of());
    match (Input::of_post(post), shard) {
        (Ok((of, input)), Some(shard)) => {
            // Without a machine there is no connection here, and nobody who waits.
            if shard.has_machine(&of) {
                shard.input(&of, input);
            }
        }
        (Err(asked), Some(shard)) => answer(inner, shard, item, *asked),
        (_, None) => {}
    }
    remove(shard.or(inner.shards.first()), item);
}

/// Removes posts of nodes that do not fetch them.
pub(super) fn bury(inner: &Arc<Inner>, item: &Item) {
    let mut of = inner.shards.first();
    if let Some(Post::Call(asked)) = Post::decode(&item.body) {
        let shard = shard(inner, &asked.of);
        of = shard.or(of);
        if let Some(shard) = shard {
            // Past its deadline: it is answered, not made.
            answer(inner, shard, item, *asked);
        }
    }
    remove(of, item);
}

fn shard<'a>(inner: &'a Inner, of: &Address) -> Option<&'a Arc<Shard>> {
    inner.shards.get(usize::from(of.partition(inner.core.setup.partitions).0))
}

fn remove(shard: Option<&Arc<Shard>>, item: &Item) {
    let Some(shard) = shard else { return };
    // Nobody waits for it. If it is lost, the post comes again, and does no harm.
    let (nobody, _) = oneshot::channel();
    shard.committer.submit(Change::new().settle(&item.at), Done::Caller(nobody));
    shard.committer.kick(shard);
}

/// Makes a call for another node, or says why not.
fn answer(inner: &Arc<Inner>, shard: &Arc<Shard>, item: &Item, asked: Asked) {
    let core = &inner.core;
    let slot = core.remote_calls.take();
    let refusal = if item.claims > 1 {
        // Whoever claimed it first may have dispatched it. Never twice.
        Some(HubError::new(ErrorKind::DeviceDisconnected, "the device's node was interrupted"))
    } else if item.deadline <= core.clock.now() {
        Some(HubError::new(ErrorKind::DeviceNotOnline, "the device's node was not there in time"))
    } else if slot.is_none() {
        Some(HubError::new(ErrorKind::Throttled, "the device's node makes too many calls"))
    } else {
        None
    };
    let (shard, limits) = (shard.clone(), core.limits.clone());
    core.runtime.clone().spawn(async move {
        let _slot = slot;
        let result = match refusal {
            Some(error) => Err(error),
            None => call(&shard, &asked).await,
        };
        let post =
            Post::Answer(Box::new(Replied { of: asked.of, reply: asked.reply.clone(), result }));
        let push = post.push(&asked.reply.to, shard.core.clock.now(), &limits);
        let sent = shard.commit(Change::new().push(push), limits.inbox_ttl).await;
        if !matches!(sent, Ok(crate::store::Outcome::Committed(_))) {
            // It will end there by its deadline.
            tracing::warn!(node = %asked.reply.to, "the answer to a call found no room");
        }
    });
}

async fn call(shard: &Arc<Shard>, asked: &Asked) -> Result<(i32, bytes::Bytes), HubError> {
    let within = asked
        .response_timeout
        .saturating_add(asked.connect_timeout)
        .saturating_add(shard.core.limits.call_timeout);
    let (call, answer) = shard.ask(&asked.of, |call| Input::Ask(call, Request::from(asked)));
    match tokio::time::timeout(within, answer).await {
        Ok(Ok(Answered { answer: Answer::Method(reply), .. })) => Ok((reply.status, reply.payload)),
        Ok(Ok(Answered { answer: Answer::Failed(error), .. })) => Err(error),
        other => {
            if other.is_err() {
                shard.cancel(&asked.of, call);
            }
            // It may have been dispatched.
            Err(HubError::new(ErrorKind::DeviceDisconnected, "the device's node gave up"))
        }
    }
}

impl Shard {
    /// The devices that are connected here.
    pub(super) fn connected(&self) -> Vec<Address> {
        let state = lock(&self.state);
        let lines = state.lines.values().map(|line| &line.address);
        let here = |of: &&Address| state.node.device(of).is_some_and(|d| d.link().is_some());
        lines.filter(here).cloned().collect()
    }

    /// Whether a device has a machine here.
    fn has_machine(&self, of: &Address) -> bool {
        lock(&self.state).node.device(of).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use crate::time::Timestamp;

    #[test]
    fn a_batch_nudges_each_node_it_posts_to_once() {
        let of = Address::parse("d").unwrap();
        let limits = Limits::default();
        let push = |node: &str| {
            let node = NodeId::new(node).unwrap();
            Change::new().push(Post::Mail(of.clone()).push(&node, Timestamp::ZERO, &limits))
        };
        let changes = [push("a"), Change::new(), push("b").and(push("a"))];
        let nodes: Vec<_> = nudges_of(&changes).iter().map(ToString::to_string).collect();
        assert_eq!(nodes, ["a", "b"]);
    }
}
