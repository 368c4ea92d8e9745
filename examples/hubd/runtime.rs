//! The runtime that hubd serves on, chosen so that many busy connections are treated alike.

use std::num::NonZero;
use std::thread::available_parallelism;

use tokio::runtime::{Builder, Runtime};

/// How many tasks run between two looks at the sockets. Twice the runtime's own choice: a task here
/// is one connection's batch and takes microseconds, so a look is dear beside it.
const EVENT_INTERVAL: u32 = 128;

/// Every how many tasks one comes from the queue that all threads share. A worker's own queue holds
/// 256 tasks, and what is woken beyond that goes to the shared one. With the runtime's own choice a
/// few hundred lively connections keep the worker to themselves, and every further one waits for
/// tenths of a second.
const GLOBAL_QUEUE_INTERVAL: u32 = 4;

/// One thread on one processor, whose single queue is fair by itself; else a thread each.
///
/// # Errors
///
/// The operating system grants no thread or no event queue.
pub(crate) fn build() -> std::io::Result<Runtime> {
    let mut builder = match available_parallelism().map_or(1, NonZero::get) {
        1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    builder
        .enable_all()
        .event_interval(EVENT_INTERVAL)
        .global_queue_interval(GLOBAL_QUEUE_INTERVAL)
        .build()
}
