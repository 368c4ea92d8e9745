//! What a hub does by itself: deadlines, sweeps, feedback batches, abandoned uploads, retention.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::task::JoinHandle;

use super::core::Core;
use super::hub::Inner;
use super::roster::Joining;
use super::shard::Shard;
use super::{inbox, roster};
use crate::delivery::Emitter;
use crate::device::Input;
use crate::id::{Address, SequenceNumber};
use crate::route::outbox;
use crate::store::{Change, Claim, Item, Outcome, QueueKind, Scope, Seek};
use crate::upload::expire;

/// How often the log is trimmed.
const TRIM_EVERY: Duration = Duration::from_secs(10);
/// How long after its expiry a message surely has ended somewhere.
const OUTCOME_LATE: Duration = Duration::from_secs(60);
/// How long a sweep hides what it took: longer than it takes to bury it.
const SWEEP_LOCK: Duration = Duration::from_secs(60);

pub(super) fn start(inner: &Arc<Inner>, joining: Joining) -> Vec<JoinHandle<()>> {
    let mut tasks: Vec<_> =
        inner.shards.iter().map(|shard| tokio::spawn(deadlines(Arc::downgrade(shard)))).collect();
    tasks.push(tokio::spawn(sweep(Arc::downgrade(inner))));
    tasks.push(tokio::spawn(feedback(Arc::downgrade(inner))));
    if inner.core.blobs.is_some() {
        tasks.push(tokio::spawn(abandoned_uploads(Arc::downgrade(inner))));
        tasks.push(tokio::spawn(abandoned_blobs(Arc::downgrade(inner))));
    }
    tasks.push(tokio::spawn(retention(Arc::downgrade(inner))));
    tasks.push(tokio::spawn(forgotten(Arc::downgrade(inner))));
    tasks.push(tokio::spawn(roster::keep(inner.core.clone(), Arc::downgrade(inner), joining)));
    tasks.push(tokio::spawn(inbox::watch(Arc::downgrade(inner))));
    tasks.push(tokio::spawn(failure(inner.core.clone(), Arc::downgrade(inner))));
    #[cfg(feature = "metrics")]
    tasks.push(tokio::spawn(gauges(Arc::downgrade(inner))));
    tasks
}

/// A store that one shard has lost is lost for all.
async fn failure(core: Arc<Core>, hub: Weak<Inner>) {
    loop {
        let failure = core.failure.notified();
        tokio::pin!(failure);
        failure.as_mut().enable();
        if core.is_failed() {
            break;
        }
        failure.await;
    }
    if let Some(inner) = hub.upgrade() {
        inner.shards.iter().for_each(|shard| shard.give_up());
    }
}

/// Tells the gauges how things stand. By the machine's time: it is the operator's.
#[cfg(feature = "metrics")]
async fn gauges(hub: Weak<Inner>) {
    /// How often. Shorter than any scrape.
    const EVERY: Duration = Duration::from_secs(1);
    loop {
        let Some(inner) = hub.upgrade() else { return };
        inner.core.meter.sample(&inner.resources(true), inner.core.shards_degraded());
        drop(inner);
        tokio::time::sleep(EVERY).await;
    }
}

/// One task per shard sleeps to its earliest deadline.
async fn deadlines(shard: Weak<Shard>) {
    loop {
        let Some(shard) = shard.upgrade() else { return };
        let next = shard.tick();
        let clock = shard.core.clock.clone();
        tokio::select! {
            () = clock.wait_until(next) => {}
            () = shard.rearm.notified() => {}
        }
    }
}

/// Messages of devices that nobody holds expire here, and posts for nodes that do not fetch them.
async fn sweep(hub: Weak<Inner>) {
    loop {
        let (clock, every) = match hub.upgrade() {
            Some(inner) => (inner.core.clock.clone(), inner.core.limits.sweep_every),
            None => return,
        };
        clock.wait_until(clock.now().after(every)).await;
        let Some(inner) = hub.upgrade() else { return };
        let limit = inner.core.limits.sweep_items_max;
        while sweep_once(&inner, limit).await == usize::try_from(limit).unwrap_or(usize::MAX) {}
    }
}

async fn sweep_once(inner: &Arc<Inner>, limit: u32) -> usize {
    let now = inner.core.clock.now();
    let overdue =
        |kind| Claim { scope: Scope::Overdue(kind), limit, hide_until: now.after(SWEEP_LOCK) };
    let claims = [overdue(QueueKind::Mailbox), overdue(QueueKind::Inbox)];
    let taken = match inner.core.store.claim(now, &claims).await {
        Ok(lists) => lists.into_iter().flatten().collect::<Vec<_>>(),
        Err(error) => {
            inner.core.meter.store_failed(&error);
            tracing::warn!(%error, "the sweep could not ask the store");
            return 0;
        }
    };
    let count = taken.len();
    let mut by_device: BTreeMap<Address, Vec<Item>> = BTreeMap::new();
    for item in taken {
        if item.at.queue().kind == QueueKind::Inbox {
            inbox::bury(inner, &item);
        } else if let Ok(address) = Address::parse(&item.at.queue().id) {
            by_device.entry(address).or_default().push(item);
        }
    }
    for (address, items) in by_device {
        let shard = usize::from(address.partition(inner.core.setup.partitions).0);
        if let Some(shard) = inner.shards.get(shard) {
            shard.input(&address, Input::Overdue(items));
        }
    }
    count
}

/// Gathers feedback records into batches.
async fn feedback(hub: Weak<Inner>) {
    let mut emitter: Option<Emitter> = None;
    loop {
        let Some(inner) = hub.upgrade() else { return };
        let core = inner.core.clone();
        drop(inner);
        let emitter = emitter.get_or_insert_with(|| Emitter::new(core.clock.now()));
        let again = core.clock.now().after(core.limits.sweep_every);
        tokio::select! {
            () = core.clock.wait_until(again) => {}
            () = core.feedback.notified() => {}
        }
        for _ in 0..core.feedback_waiting.swap(0, Ordering::Relaxed) {
            emitter.noticed();
        }
        let now = core.clock.now();
        let limit = emitter.due(now, &core.limits);
        if limit == 0 {
            continue;
        }
        let claim = Claim {
            scope: Scope::Any(QueueKind::FeedbackPending),
            limit,
            hide_until: now.after(core.limits.feedback_lock),
        };
        let lists = match core.store.claim(now, &[claim]).await {
            Ok(lists) => lists,
            Err(error) => {
                core.meter.store_failed(&error);
                continue;
            }
        };
        let items: Vec<_> = lists.into_iter().flatten().collect();
        if let Some(change) = emitter.emit(&items, now, &core.limits)
            && let Some(inner) = hub.upgrade()
            && let Some(shard) = inner.shards.first()
        {
            let (sender, receiver) = futures::channel::oneshot::channel();
            shard.committer.submit(change, super::committer::Done::Caller(sender));
            shard.committer.kick(shard);
            if let Ok(Outcome::Conflict | Outcome::Full(_)) = receiver.await {
                // The records stay where they are and come again when their lock ends.
                tracing::warn!("a feedback batch could not be made");
            }
            core.feedback_ready.notify_waiters();
        }
    }
}

/// Uploads that nobody finished end here, so that the device may begin others.
async fn abandoned_uploads(hub: Weak<Inner>) {
    loop {
        let (clock, every) = match hub.upgrade() {
            Some(inner) => (inner.core.clock.clone(), inner.core.limits.sweep_every),
            None => return,
        };
        clock.wait_until(clock.now().after(every)).await;
        let Some(inner) = hub.upgrade() else { return };
        let limit = inner.core.limits.sweep_items_max;
        let now = inner.core.clock.now();
        let scope = Scope::Overdue(QueueKind::Upload);
        let claim = Claim { scope, limit, hide_until: now.after(SWEEP_LOCK) };
        let taken = match inner.core.store.claim(now, &[claim]).await {
            Ok(lists) => lists.into_iter().flatten().collect::<Vec<_>>(),
            Err(error) => {
                inner.core.meter.store_failed(&error);
                continue;
            }
        };
        let within = inner.core.limits.call_timeout;
        // Each for itself: what somebody else gives up must not hold up the others. One that cannot
        // be given up now comes again when its lock ends.
        let ends = taken.iter().filter_map(|item| {
            let change = expire(std::slice::from_ref(item), now)?;
            let owner = Address::parse(&item.at.queue().id).ok()?;
            let shard = usize::from(owner.partition(inner.core.setup.partitions).0);
            Some(inner.shards.get(shard)?.commit(change, within))
        });
        futures::future::join_all(ends).await;
    }
}

/// What is left of uploads that were cut off goes here.
async fn abandoned_blobs(hub: Weak<Inner>) {
    /// How often.
    const EVERY: Duration = Duration::from_secs(600);
    loop {
        let Some(inner) = hub.upgrade() else { return };
        let core = inner.core.clone();
        drop(inner);
        let Some(blobs) = &core.blobs else { return };
        // Whoever touched it before that has no address any more.
        let untouched_since = core.clock.now().before(core.limits.upload_ttl);
        match blobs.sweep(untouched_since).await {
            Ok(0) => {}
            Ok(removed) => tracing::debug!(removed, "abandoned uploads were removed"),
            Err(error) => tracing::warn!(%error, "abandoned uploads were not removed"),
        }
        core.clock.wait_until(core.clock.now().after(EVERY)).await;
    }
}

/// Dead letters and changes of twins that are old enough go here, also when none are kept any more.
async fn forgotten(hub: Weak<Inner>) {
    /// How often.
    const EVERY: Duration = Duration::from_secs(10);
    loop {
        let Some(inner) = hub.upgrade() else { return };
        let clock = inner.core.clock.clone();
        drop(inner);
        clock.wait_until(clock.now().after(EVERY)).await;
        loop {
            let Some(inner) = hub.upgrade() else { return };
            let limit = inner.core.limits.sweep_items_max;
            match forget_once(&inner, limit).await {
                Some(taken) if taken >= limit && limit > 0 => {}
                _ => break,
            }
        }
    }
}

/// How many items of the kind that had most were old enough. `None` if the store could not say.
async fn forget_once(inner: &Arc<Inner>, limit: u32) -> Option<u32> {
    let now = inner.core.clock.now();
    let overdue =
        |kind| Claim { scope: Scope::Overdue(kind), limit, hide_until: now.after(SWEEP_LOCK) };
    let claims = [overdue(QueueKind::DeadLetter), overdue(QueueKind::TwinHistory)];
    let lists = match inner.core.store.claim(now, &claims).await {
        Ok(lists) => lists,
        Err(error) => {
            inner.core.meter.store_failed(&error);
            return None;
        }
    };
    let within = inner.core.limits.call_timeout;
    let mut most = 0;
    for items in &lists {
        most = most.max(u32::try_from(items.len()).unwrap_or(u32::MAX));
        // Each for itself: one that was removed meanwhile must not hold up the others.
        let ends = items.iter().filter_map(|item| {
            let shard = inner.shards.first()?;
            Some(shard.commit(Change::new().settle(&item.at), within))
        });
        futures::future::join_all(ends).await;
    }
    Some(most)
}

/// Forgets what is older than the log's retention.
async fn retention(hub: Weak<Inner>) {
    loop {
        let Some(inner) = hub.upgrade() else { return };
        let core = inner.core.clone();
        let shards = inner.shards.clone();
        drop(inner);
        core.clock.wait_until(core.clock.now().after(TRIM_EVERY)).await;
        core.outcomes.forget(core.clock.now().before(OUTCOME_LATE));
        let oldest = core.clock.now().before(core.limits.log_retention);
        for shard in &shards {
            for log in [shard.partition, outbox::partition(shard.partition)] {
                let below = match core.store.seek(log, Seek::Time(oldest)).await {
                    Ok(below) => below,
                    Err(error) => {
                        core.meter.store_failed(&error);
                        continue;
                    }
                };
                if below <= SequenceNumber(1) {
                    continue;
                }
                if let Err(error) = core.store.trim(log, below).await {
                    core.meter.store_failed(&error);
                    tracing::warn!(%error, partition = log.0, "the log was not trimmed");
                }
            }
        }
    }
}
