//! What is overdue is found within the sweep time, also for a device that nobody holds.

use super::{Invariant, ensure};
use crate::fact::SKEW_MAX;
use crate::world::World;

/// How long a sweep and the burial may take beside the wait for the sweep.
const SLACK: u64 = 300;

pub(crate) struct Overdue;

impl Invariant for Overdue {
    fn name(&self) -> &'static str {
        "overdue items are found within the sweep time"
    }

    fn finish(&mut self, world: &World) -> Result<(), String> {
        let every = u64::try_from(world.limits.sweep_every.as_millis()).unwrap_or(0);
        let late = world.now - every - SLACK - 2 * SKEW_MAX;
        let found = world.store.items.iter().find(|((queue, _), item)| {
            queue.kind == hub_core::store::QueueKind::Mailbox
                && item.visible.max(item.deadline).as_millis() < late
        });
        ensure(found.is_none(), || format!("{found:?} is overdue and still there"))
    }
}
