//! The threads: one that writes, one that makes segments, one that writes checkpoints.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use hub_core::store::{Nudges, StoreError};
use tokio::sync::{OwnedSemaphorePermit, mpsc as queue, oneshot};

use crate::core::checkpoint::Checkpoint;
use crate::core::command::{Answer, Command};
use crate::core::run::{Core, Shared, remove, write_index};
use crate::journal::segment::{Segment, Wish};
use crate::journal::writer::Ahead;

/// Bytes of commands taken into one group.
const GROUP_BYTES: usize = 8 * 1024 * 1024;
/// Commands taken into one group.
const GROUP_COMMANDS: usize = 4096;
/// How often a store at rest looks whether a checkpoint would be good, and how long after a failed
/// one it is tried again.
const REST: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_millis(500);

/// A command, and who waits for its answer.
pub(crate) struct Request {
    pub(crate) command: Command,
    pub(crate) answer: oneshot::Sender<Answer>,
    /// Room in the queue, given back with the answer.
    pub(crate) room: Option<OwnedSemaphorePermit>,
}

/// What the writer hears.
pub(crate) enum Message {
    Request(Request),
    /// A look at what the other threads have done.
    Wake,
    /// Time has passed.
    Rest,
    /// The last message.
    Close(oneshot::Sender<()>),
}

/// What the state thread is told.
struct Write(Checkpoint);

/// What the state thread says.
enum Said {
    Done(Box<Checkpoint>),
    Failed(String),
}

/// What the segment thread is told.
enum Make {
    Segment(Wish, Sender<io::Result<Segment>>),
    Index(u64, Vec<u8>),
    Remove(Vec<Arc<Segment>>),
}

/// The writer thread's own things.
struct Writer {
    core: Core,
    messages: queue::Receiver<Message>,
    nudges: Arc<Nudges>,
    said: Receiver<Said>,
    write: Option<Sender<Write>>,
    make: Option<Sender<Make>>,
    threads: Vec<JoinHandle<()>>,
}

/// Starts the threads. They end when all senders of messages are gone, or at `Close`.
pub(crate) fn start(
    core: Core,
    messages: queue::Receiver<Message>,
    wake: queue::WeakSender<Message>,
    nudges: Arc<Nudges>,
    mut threads: Vec<JoinHandle<()>>,
) -> io::Result<()> {
    let shared = Arc::clone(&core.shared);
    let (write, to_write) = mpsc::channel();
    let (saying, said) = mpsc::channel();
    let state = {
        let shared = Arc::clone(&shared);
        move || keep_state(&shared, &to_write, &saying, &wake)
    };
    threads.push(Builder::new().name("hub-store-state".into()).spawn(state)?);
    let (make, to_make) = mpsc::channel();
    let segments = move || keep_segments(&shared, &to_make);
    threads.push(Builder::new().name("hub-store-log".into()).spawn(segments)?);
    let (write, make) = (Some(write), Some(make));
    let writer = Writer { core, messages, nudges, said, write, make, threads };
    Builder::new().name("hub-store-write".into()).spawn(move || writer.run())?;
    Ok(())
}

impl Writer {
    fn run(mut self) {
        let mut requests = Vec::new();
        self.tend(false);
        let farewell = loop {
            let Some(message) = self.messages.blocking_recv() else { break None };
            let (mut close, mut rest) = (None, false);
            let mut bytes = 0;
            let mut next = Some(message);
            while let Some(message) = next {
                match message {
                    Message::Request(request) => {
                        bytes += request.command.bytes();
                        requests.push(request);
                    }
                    Message::Wake => {}
                    Message::Rest => rest = true,
                    Message::Close(done) => {
                        close = Some(done);
                        break;
                    }
                }
                let full = bytes >= GROUP_BYTES || requests.len() >= GROUP_COMMANDS;
                next = if full { None } else { self.messages.try_recv().ok() };
            }
            self.group(&mut requests);
            self.tend(rest);
            if close.is_some() {
                break close;
            }
        };
        self.end(farewell);
    }

    /// Runs what waits as one group.
    fn group(&mut self, requests: &mut Vec<Request>) {
        if requests.is_empty() {
            return;
        }
        let mut commands = Vec::with_capacity(requests.len());
        let mut waiting = Vec::with_capacity(requests.len());
        for Request { command, answer, room } in requests.drain(..) {
            commands.push(command);
            waiting.push((answer, room));
        }
        let ran = self.core.run(&commands);
        self.nudges.nudge(&ran.nudges);
        for ((waiter, room), answer) in waiting.into_iter().zip(ran.answers) {
            drop(room);
            // Whoever asked may be gone: the effect stays.
            drop(waiter.send(answer));
        }
    }

    /// Everything beside the groups.
    fn tend(&mut self, rest: bool) {
        while let Ok(said) = self.said.try_recv() {
            self.hear(said);
        }
        // A checkpoint under way has to end before memory takes more.
        while self.core.checkpointing
            && self.core.checkpoint_error.is_none()
            && self.core.is_brimming()
        {
            match self.said.recv() {
                Ok(said) => self.hear(said),
                Err(_) => return,
            }
        }
        if self.core.wants_checkpoint() || (rest && self.core.could_checkpoint()) {
            let checkpoint = self.core.checkpoint();
            if let Some(write) = &self.write {
                // The thread ends only after this one.
                drop(write.send(Write(checkpoint)));
            }
        }
        let Some(make) = &self.make else { return };
        if let Some(wish) = self.core.wish() {
            let (made, waiting) = mpsc::channel();
            if make.send(Make::Segment(wish, made)).is_ok() {
                self.core.journal.ahead = Ahead::Asked(waiting);
            }
        }
        for (number, bytes) in std::mem::take(&mut self.core.indexes) {
            drop(make.send(Make::Index(number, bytes)));
        }
        let spent = self.core.spent();
        if !spent.is_empty() {
            drop(make.send(Make::Remove(spent)));
        }
    }

    fn hear(&mut self, said: Said) {
        match said {
            Said::Done(checkpoint) => self.core.checkpointed(&checkpoint),
            Said::Failed(error) => {
                tracing::warn!(%error, "the state could not be written; it is tried again");
                self.core.checkpoint_error = Some(error);
            }
        }
    }

    /// Ends the other threads; closes what is open.
    fn end(mut self, farewell: Option<oneshot::Sender<()>>) {
        self.messages.close();
        while let Ok(message) = self.messages.try_recv() {
            match message {
                Message::Request(request) => {
                    let closed = StoreError::fatal("commit", "the store is closed");
                    drop(request.answer.send(Err(closed)));
                }
                Message::Close(done) => {
                    let _ = done.send(());
                }
                Message::Wake | Message::Rest => {}
            }
        }
        self.write = None;
        self.make = None;
        for thread in self.threads.drain(..) {
            drop(thread.join());
        }
        while let Ok(said) = self.said.try_recv() {
            self.hear(said);
        }
        if farewell.is_some() && self.core.poisoned().is_none() && self.core.could_checkpoint() {
            // Not needed, but the next opening has less to read.
            let checkpoint = self.core.checkpoint();
            if checkpoint.write(&self.core.shared).is_ok() {
                self.core.checkpointed(&checkpoint);
            }
        }
        self.core.shared.close();
        if let Some(done) = farewell {
            let _ = done.send(());
        }
    }
}

/// Writes checkpoints, and tries those that failed again.
fn keep_state(
    shared: &Shared,
    to_write: &Receiver<Write>,
    saying: &Sender<Said>,
    wake: &queue::WeakSender<Message>,
) {
    let tell = |message| {
        // When its queue is full, the writer is awake.
        if let Some(wake) = wake.upgrade() {
            drop(wake.try_send(message));
        }
    };
    let mut again: Option<Checkpoint> = None;
    loop {
        let wait = if again.is_some() { AGAIN } else { REST };
        let checkpoint = match to_write.recv_timeout(wait) {
            Ok(Write(checkpoint)) => checkpoint,
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => match again.take() {
                Some(checkpoint) => match shared.tree.revive() {
                    Ok(()) => checkpoint,
                    Err(error) => {
                        again = Some(checkpoint);
                        drop(saying.send(Said::Failed(error.to_string())));
                        tell(Message::Wake);
                        continue;
                    }
                },
                None => {
                    tell(Message::Rest);
                    continue;
                }
            },
        };
        let said = match checkpoint.write(shared) {
            Ok(()) => Said::Done(Box::new(checkpoint)),
            Err(error) => {
                again = Some(checkpoint);
                Said::Failed(error.to_string())
            }
        };
        if saying.send(said).is_err() {
            return;
        }
        tell(Message::Wake);
    }
}

/// Makes segments ahead of their use, writes index files, removes what has expired.
fn keep_segments(shared: &Shared, to_make: &Receiver<Make>) {
    let disk = &*shared.disk;
    while let Ok(make) = to_make.recv() {
        let done = match make {
            Make::Segment(wish, made) => {
                // When the writer does not wait any more, the segment stays for the next opening.
                drop(made.send(wish.make(disk)));
                Ok(())
            }
            Make::Index(number, bytes) => write_index(disk, number, &bytes),
            Make::Remove(spent) => remove(disk, &spent),
        };
        if let Err(error) = done {
            tracing::warn!(%error, "a file of the log could not be written or removed");
        }
    }
}
