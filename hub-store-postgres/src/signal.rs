//! Nudges between processes: `LISTEN` and `NOTIFY` on a connection of their own.
//!
//! A nudge goes out after its batch was committed, not with it. `NOTIFY` takes a lock that all
//! notifying transactions of a server share until their commit is on disk; a transaction of its own,
//! which nobody waits for and which waits for no disk, holds it for an instant. One that is lost with
//! the connection is a nudge missed, which callers make up for by polling.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hub_core::id::NodeId;
use hub_core::store::Nudges;
use tokio::sync::Notify;
use tokio_postgres::{Client, Notification};

use crate::migrate::number_of;
use crate::session::Connector;

/// First and longest pause between two tries to connect.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// The name under which the nodes of a hub are nudged.
pub(crate) fn channel(schema: &str) -> String {
    format!("hub_{:016x}", number_of(schema))
}

/// The nudges of one store.
#[derive(Debug)]
pub(crate) struct Signals {
    here: Nudges,
    channel: String,
    state: Mutex<State>,
    waiting: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Nodes that wait in this process, or did.
    local: BTreeSet<NodeId>,
    /// Nodes elsewhere that are to be nudged.
    outgoing: BTreeSet<NodeId>,
}

impl Signals {
    pub(crate) fn new(schema: &str) -> Arc<Self> {
        Arc::new(Self {
            here: Nudges::default(),
            channel: channel(schema),
            state: Mutex::default(),
            waiting: Notify::new(),
        })
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes nodes, here and elsewhere.
    pub(crate) fn nudge(&self, nodes: &[NodeId]) {
        if nodes.is_empty() {
            return;
        }
        self.here.nudge(nodes);
        let mut state = self.state();
        let State { local, outgoing } = &mut *state;
        // A node is in one process. Who waits here need not be looked for elsewhere.
        outgoing.extend(nodes.iter().filter(|node| !local.contains(*node)).cloned());
        let any = !outgoing.is_empty();
        drop(state);
        if any {
            self.waiting.notify_one();
        }
    }

    pub(crate) async fn wait(&self, node: &NodeId) {
        let known = self.state().local.contains(node);
        if !known {
            self.state().local.insert(node.clone());
        }
        self.here.wait(node).await;
    }

    fn heard(&self, notification: &Notification) {
        if let Ok(node) = NodeId::new(notification.payload()) {
            self.here.nudge(&[node]);
        }
    }

    /// Listens and notifies for as long as the store is there.
    pub(crate) async fn run(self: Arc<Self>, connector: Connector) {
        let mut pause = PAUSES.0;
        loop {
            let this = Arc::clone(&self);
            let connected = connector.bare(move |notification| this.heard(&notification)).await;
            match connected {
                Ok((client, mut driver)) => {
                    let served = self.serve(&client, &mut pause);
                    tokio::select! {
                        _ = served => {}
                        _ = &mut driver => {}
                    }
                    driver.abort();
                }
                Err(error) => tracing::debug!(%error, "no connection for nudges"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    async fn serve(
        &self,
        client: &Client,
        pause: &mut Duration,
    ) -> Result<(), tokio_postgres::Error> {
        // Waiting for the disk would gain nothing: what is told is told to those who are there.
        let listen = format!("SET synchronous_commit = off; LISTEN \"{}\"", self.channel);
        client.batch_execute(&listen).await?;
        let notify =
            client.prepare("SELECT pg_notify($1, node) FROM unnest($2::text[]) AS node").await?;
        *pause = PAUSES.0;
        // Whoever was nudged meanwhile was not heard.
        let local: Vec<_> = self.state().local.iter().cloned().collect();
        self.here.nudge(&local);
        loop {
            let nodes: Vec<_> = std::mem::take(&mut self.state().outgoing).into_iter().collect();
            if nodes.is_empty() {
                self.waiting.notified().await;
                continue;
            }
            let names: Vec<_> = nodes.iter().map(NodeId::as_str).collect();
            if let Err(error) = client.execute(&notify, &[&self.channel, &names]).await {
                self.state().outgoing.extend(nodes);
                return Err(error);
            }
        }
    }
}
