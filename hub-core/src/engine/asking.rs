//! What machines ask the store for, and its answers on their way back.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::committer::{Done, Finish};
use super::once::{Boxed, poll_once};
use super::shard::Shard;
use crate::device::{Input, Purpose};
use crate::error::CloseReason;
use crate::id::Address;
use crate::node::Incarnation;
use crate::store::{Ask, Claim, Item, Outcome, Record, StoreError, StoreErrorKind};
use crate::time::Timestamp;

/// What a turn wants of the store, besides changes.
pub(super) enum Io {
    Read(Asker, Vec<Ask>),
    Claim(Asker, Purpose, Timestamp, Claim),
}

/// The machine that waits for an answer. A later one of the same device has not asked for it.
#[derive(Debug, Clone)]
pub(crate) struct Asker {
    pub(super) address: Address,
    pub(super) incarnation: Incarnation,
}

pub(super) type Todo = VecDeque<Io>;

type Loaded = Result<Vec<Option<Record>>, StoreError>;

/// How long after a failed read the next is tried.
const RETRY: Duration = Duration::from_millis(50);

impl Shard {
    /// Asks the store what the turn wants to know, and goes on with what it answers at once.
    pub(super) fn carry_out(self: &Arc<Self>, mut todo: Todo) {
        while let Some(io) = todo.pop_front() {
            match io {
                Io::Read(asker, asks) => {
                    let store = self.core.store.clone();
                    let read: Boxed<_> = Box::pin(async move { store.read(&asks).await });
                    match poll_once(read) {
                        Ok(Ok(records)) => {
                            self.step_of(&asker, Input::Loaded(records), &mut todo);
                        }
                        Ok(Err(_)) | Err(_) if self.core.is_failed() => {}
                        other => self.read_later(asker, other),
                    }
                }
                Io::Claim(asker, purpose, at, claim) => {
                    let store = self.core.store.clone();
                    let limit = claim.limit;
                    let claiming: Boxed<_> =
                        Box::pin(async move { store.claim(at, &[claim]).await });
                    match poll_once(claiming) {
                        Ok(result) => {
                            let input = self.claimed(purpose, limit, result);
                            self.step_of(&asker, input, &mut todo);
                        }
                        Err(later) => {
                            let this = self.clone();
                            self.core.runtime.spawn(async move {
                                let input = this.claimed(purpose, limit, later.await);
                                this.answered(&asker, input);
                            });
                        }
                    }
                }
            }
        }
    }

    fn read_later(self: &Arc<Self>, asker: Asker, first: Result<Loaded, Boxed<Loaded>>) {
        let this = self.clone();
        self.core.runtime.spawn(async move {
            let result = match first {
                Ok(result) => result,
                Err(later) => later.await,
            };
            let error = match result {
                Ok(records) => return this.answered(&asker, Input::Loaded(records)),
                Err(error) => error,
            };
            this.core.meter.store_failed(&error);
            if error.kind() == StoreErrorKind::Fatal {
                return this.fatal(&error);
            }
            tracing::debug!(device = %asker.address, %error, "a read failed and is tried again");
            // Nobody is told anything meanwhile; the machine asks the same again.
            tokio::time::sleep(RETRY).await;
            if !this.committer.is_abandoned() {
                this.answered(&asker, Input::ReadFailed);
            }
        });
    }

    fn claimed(
        &self,
        purpose: Purpose,
        limit: u32,
        result: Result<Vec<Vec<Item>>, StoreError>,
    ) -> Input {
        match result {
            Ok(lists) => Input::Claimed(purpose, limit, lists.into_iter().flatten().collect()),
            Err(error) => {
                self.core.meter.store_failed(&error);
                tracing::debug!(%error, "a claim failed");
                if error.kind() == StoreErrorKind::Fatal {
                    self.core.fail(&error);
                }
                Input::ClaimFailed(purpose)
            }
        }
    }
}

impl Finish for Shard {
    fn finish(self: &Arc<Self>, answered: impl Iterator<Item = (Done, Outcome)>) {
        let mut todo = Todo::new();
        for (done, outcome) in answered {
            match done {
                Done::Receipt { line, tag, bytes } => match outcome {
                    Outcome::Committed(_) => line.receipt(tag, bytes),
                    // An append has no guard and no bound to break.
                    _ => line.close(CloseReason::Internal),
                },
                Done::Device(asker) => {
                    self.step_of(&asker, Input::Outcome(outcome), &mut todo);
                }
                Done::Caller(caller) => {
                    let _ = caller.send(outcome);
                }
            }
        }
        // Changes that this brings go with the next batch of whoever called.
        self.carry_out(todo);
    }

    fn appended(&self, outbox: bool) {
        self.appended.notify_waiters();
        if outbox {
            self.core.router.appended.notify_waiters();
        }
    }

    fn to_configure(&self) {
        self.core.configurations_changed.notify_waiters();
    }

    fn fatal(&self, error: &StoreError) {
        self.core.fail(error);
        self.give_up();
    }

    fn degraded(&self, yes: bool) {
        self.core.degraded(yes);
    }
}
