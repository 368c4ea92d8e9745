//! Threads that wait for the disk on behalf of readers.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use hub_core::store::StoreError;
use tokio::sync::{mpsc, oneshot};

use crate::core::run::Shared;

type Job = Box<dyn FnOnce(&Shared) + Send>;

/// Reads that wait for a thread.
const WAITING: usize = 256;
const THREADS: usize = 2;

/// Hands reads over to threads of their own.
#[derive(Debug)]
pub(crate) struct Readers {
    /// Nothing once they are closed.
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
}

/// An error of a read as the contract has it.
pub(crate) fn failed(operation: &'static str, error: io::Error) -> StoreError {
    match error.kind() {
        io::ErrorKind::InvalidData => StoreError::fatal(operation, error),
        _ => StoreError::unavailable(operation, error),
    }
}

/// The answer of a store whose threads have ended.
pub(crate) fn closed(operation: &'static str) -> StoreError {
    StoreError::fatal(operation, "the store is closed")
}

impl Readers {
    /// Starts the threads. They end when this is closed or dropped.
    pub(crate) fn start(shared: &Arc<Shared>) -> io::Result<(Self, Vec<JoinHandle<()>>)> {
        let (jobs, waiting) = mpsc::channel::<Job>(WAITING);
        let waiting = Arc::new(Mutex::new(waiting));
        let mut threads = Vec::new();
        for _ in 0..THREADS {
            let (waiting, shared) = (Arc::clone(&waiting), Arc::clone(shared));
            let run = move || {
                loop {
                    let job =
                        waiting.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
                    let Some(job) = job else { return };
                    job(&shared);
                }
            };
            threads.push(Builder::new().name("hub-store-read".into()).spawn(run)?);
        }
        Ok((Self { jobs: Mutex::new(Some(jobs)) }, threads))
    }

    /// Takes no more reads: the threads end when they have run those that wait.
    pub(crate) fn close(&self) {
        drop(self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Runs a read on one of the threads. Dropping the future drops the read or its answer.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        operation: &'static str,
        read: impl FnOnce(&Shared) -> io::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |shared| {
            // Whoever asked may be gone.
            drop(answer.send(read(shared)));
        });
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let jobs = jobs.ok_or_else(|| closed(operation))?;
        jobs.send(job).await.map_err(|_| closed(operation))?;
        // Kept any longer, it would keep the threads.
        drop(jobs);
        match answered.await {
            Ok(result) => result.map_err(|error| failed(operation, error)),
            Err(_) => Err(closed(operation)),
        }
    }
}
