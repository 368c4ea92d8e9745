//! Nudges: they may come for nothing and may be missed, but not always.

use std::time::Duration;

use super::Fixture;
use super::probe::{Probe, node, twin};
use crate::id::NodeId;
use crate::store::{Batch, Change, Store};

/// Commits a batch that nudges a node.
async fn nudge<S: Store>(probe: &Probe<S>, nodes: &[NodeId]) {
    let batch = Batch { nudges: nodes.to_vec(), ..probe.batch(vec![Change::new()]) };
    probe.send(&batch).await;
}

/// Commits nudges until a wait has ended. One may be missed, all may not.
async fn nudge_until_ended<S: Store>(probe: &Probe<S>, name: &NodeId, wait: impl Future) {
    let nudges = async {
        loop {
            nudge(probe, &[node("another"), name.clone()]).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        _ = wait => {}
        () = nudges => {}
    }
}

/// A wait ends once a batch that names its node is committed, and what the batch did is there.
pub async fn s21_a_nudge_ends_a_wait_under_way<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    let name = node("node");
    nudge_until_ended(&probe, &name, probe.store().nudged(&name)).await;
    // With a document to look for: whoever is woken reads what woke it.
    let woken = async {
        while probe.document(&twin("d")).await.is_none() {
            probe.store().nudged(&name).await;
            tokio::task::yield_now().await;
        }
    };
    let create = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let changes = vec![Change::new().create(twin("d"), "x".into())];
        let batch = Batch { nudges: vec![name.clone()], ..probe.batch(changes) };
        probe.send(&batch).await;
        // Other nudges follow, should the first have been missed.
        nudge_until_ended(&probe, &name, std::future::pending::<()>()).await;
    };
    tokio::select! {
        () = woken => {}
        () = create => {}
    }
}

/// A nudge that nobody waited for ends the next wait, if the node has waited before.
pub async fn s21_a_nudge_between_two_waits_ends_the_second<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    let name = node("node");
    let mut ended = 0;
    for _ in 0..5 {
        nudge_until_ended(&probe, &name, probe.store().nudged(&name)).await;
        nudge(&probe, std::slice::from_ref(&name)).await;
        let wait = tokio::time::timeout(Duration::from_secs(2), probe.store().nudged(&name));
        ended += u32::from(wait.await.is_ok());
    }
    assert!(ended > 0, "five nudges between two waits, and none was heard");
}
