//! The names of nodes, and who may be one.

use std::time::Duration;

use hub_core::engine::{BuildError, Health, JoinError};
use hub_core::hello::Refusal;
use hub_core::id::NodeId;

use crate::world::{World, address, connect, register, soon, until};

fn taken(name: &str) -> JoinError {
    JoinError::NameTaken(NodeId::new(name).unwrap())
}

#[tokio::test]
async fn a_second_node_of_the_same_name_is_refused() {
    let world = World::polling();
    let first = world.start("a").await;
    let second = world.try_start("a").unwrap();
    assert_eq!(soon(second.hub.joined()).await, Err(taken("a")));
    soon(second.hub.failed()).await;
    assert_eq!(second.hub.health(), Health::Failed);
    // The first goes on.
    register(&first.hub, "d1").await;
    connect(&first, "d1").await.disconnect();
    assert_eq!(first.hub.health(), Health::Ok);
}

/// Until it is known whether the name is free, nobody is let in.
#[tokio::test]
async fn nobody_is_let_in_before_the_node_has_joined() {
    let world = World::polling();
    let first = world.start("a").await;
    register(&first.hub, "d1").await;
    let second = world.try_start("a").unwrap();
    let refused = second.hub.device(&address("d1")).await.unwrap_err();
    assert!(matches!(refused, Refusal::Unavailable(_)), "{refused:?}");
    assert!(soon(second.hub.joined()).await.is_err());
}

/// A process that was killed is started again under its name, before anybody held it for dead. What
/// it left is repaired.
#[tokio::test]
async fn a_name_can_be_used_again_after_a_crash() {
    let world = World::with(|limits| limits.node_expiry = Duration::from_secs(3600));
    let first = world.start("a").await;
    register(&first.hub, "d1").await;
    register(&first.hub, "d2").await;
    let (device, other) = (connect(&first, "d1").await, connect(&first, "d2").await);
    first.control.stall();
    drop(first);
    drop((device, other));
    assert_eq!(world.holder("d1").await.as_deref(), Some("a"));
    let again = world.start("a").await;
    // One is back before the repair, the other never.
    let device = connect(&again, "d1").await;
    until(|| async { world.holder("d2").await.is_none() }).await;
    assert_eq!(world.holder("d1").await.as_deref(), Some("a"));
    device.disconnect();
}

/// A process that was only stopped finds its name taken when it goes on, and gives up.
#[tokio::test]
async fn a_node_whose_name_was_taken_over_gives_up() {
    let world = World::with(|limits| limits.node_expiry = Duration::from_secs(3600));
    let first = world.start("a").await;
    register(&first.hub, "d1").await;
    let device = connect(&first, "d1").await;
    first.control.stall();
    let second = world.start("a").await;
    first.control.resume();
    soon(first.hub.failed()).await;
    assert_eq!(first.hub.joined().await, Err(taken("a")));
    drop(device);
    connect(&second, "d1").await.disconnect();
    assert_eq!(second.hub.health(), Health::Ok);
}

#[tokio::test]
async fn a_name_is_free_after_a_shutdown() {
    let world = World::with(|limits| limits.node_expiry = Duration::from_secs(3600));
    for _ in 0..3 {
        let node = world.start("a").await;
        assert!(soon(node.hub.shutdown(Duration::from_secs(10))).await.drained);
        assert!(!world.has_document("a").await);
    }
}

#[tokio::test]
async fn nodes_agree_on_the_partitions() {
    let world = World::polling();
    let _first = world.start("a").await;
    let (builder, _) = world.builder("b");
    let wrong = builder.partitions(3).start().map(drop).unwrap_err();
    let BuildError::Join(JoinError::Partitions { ours, theirs, .. }) = wrong else {
        panic!("{wrong:?}");
    };
    assert_eq!((ours, theirs), (3, 2));
}

#[tokio::test]
async fn each_node_sees_all_nodes() {
    let world = World::polling();
    let (a, b) = world.pair().await;
    let names = |hub: &hub_core::Hub| {
        let live = hub.nodes().into_iter().filter(|node| node.live);
        live.map(|node| node.node.to_string()).collect::<Vec<_>>()
    };
    until(|| async { names(&a.hub) == ["a", "b"] && names(&b.hub) == ["a", "b"] }).await;
    let device = connect(&b, "d1").await;
    until(|| async { a.hub.connections_of_all_nodes() == 1 }).await;
    drop(device);
    soon(b.hub.shutdown(Duration::from_secs(10))).await;
    until(|| async { names(&a.hub) == ["a"] }).await;
}
