//! How far a job has come.

/// How many devices a job has, and what became of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Statistics {
    /// Devices it has found.
    pub devices: u64,
    /// Of these, those whose part failed.
    pub failed: u64,
    /// Those whose part succeeded.
    pub succeeded: u64,
    /// Those that are worked on now.
    pub running: u64,
    /// Those still to do. None once the job has ended: what was left of it then is cancelled, and
    /// counts in `devices` only.
    pub pending: u64,
}

impl Statistics {
    /// Of the depths of the queues, how many of the first two are taken now, and whether the job has
    /// ended.
    #[must_use]
    pub fn new(
        todo: u32,
        waiting: u32,
        succeeded: u32,
        failed: u32,
        taken: u32,
        over: bool,
    ) -> Self {
        let left = u64::from(todo) + u64::from(waiting);
        let running = u64::from(taken).min(left);
        let (succeeded, failed) = (u64::from(succeeded), u64::from(failed));
        let pending = if over { 0 } else { left - running };
        Self { devices: left + succeeded + failed, failed, succeeded, running, pending }
    }
}
