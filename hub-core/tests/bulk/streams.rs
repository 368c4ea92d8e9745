//! Exporting and importing as streams.

use futures::{StreamExt as _, TryStreamExt as _, stream};
use hub_core::bulk::DeviceRecord;
use hub_core::engine::{ExportOptions, Hub};
use hub_core::error::ErrorKind;
use serde_json::{Value, json};

use crate::world::{World, address, bare, record, register};

async fn exported(hub: &Hub) -> Vec<Value> {
    let records: Vec<DeviceRecord> =
        hub.registry().export(ExportOptions::default()).try_collect().await.unwrap();
    records.iter().map(|record| serde_json::to_value(record).unwrap()).collect()
}

/// Edge devices, their modules, devices behind them, ids that lie between a device and its modules, and
/// more of them than a page has.
fn fleet() -> Vec<Value> {
    let mut lines = vec![
        json!({"id": "e2", "capabilities": {"iotEdge": true}, "tags": {"floor": 2}}),
        json!({"id": "e2", "moduleId": "m"}),
        json!({"id": "a", "deviceScope": "ms-azure-iot-edge://e2-1"}),
        json!({"id": "a", "moduleId": "m", "managedBy": "me"}),
        json!({"id": "a-1", "status": "disabled", "statusReason": "why"}),
        json!({"id": "x", "authentication": {"type": "selfSigned",
            "x509Thumbprint": {"primaryThumbprint": "AB".repeat(20)}}}),
        json!({"id": "y", "authentication": {"type": "certificateAuthority"}}),
    ];
    lines.extend((0..250).map(|n| {
        json!({
            "id": format!("d{n}"), "tags": {"n": n},
            "properties": {"desired": {"rate": n}, "reported": {"rate": [n, 0.5]}},
        })
    }));
    lines
}

#[tokio::test]
async fn a_hub_is_moved_to_another() {
    let (here, there) = (World::new().start(), World::new().start());
    let records = stream::iter(fleet().iter().map(record).collect::<Vec<_>>());
    let done: Vec<_> = here.registry().import(records).collect().await;
    assert_eq!(done.len(), 257);
    assert!(done.iter().all(|done| done.result.is_ok()), "{done:?}");
    assert!(done.iter().zip(0..).all(|(done, n)| done.index == n));

    let lines = exported(&here).await;
    // The edge device with its three modules first; then all others, a device before its modules.
    let ids: Vec<_> = lines.iter().map(|line| (&line["id"], &line["moduleId"])).take(8).collect();
    let (m, none) = (json!("m"), Value::Null);
    let want = ["$edgeAgent", "$edgeHub", "m"].map(|module| (json!("e2"), json!(module)));
    let mut want = vec![(json!("e2"), none.clone())].into_iter().chain(want).collect::<Vec<_>>();
    want.extend([(json!("a"), none.clone()), (json!("a-1"), none.clone()), (json!("a"), m)]);
    want.push((json!("d0"), none));
    assert_eq!(ids, want.iter().map(|(id, module)| (id, module)).collect::<Vec<_>>());
    assert_eq!(lines.len(), 257 + 2);

    let records = stream::iter(lines.iter().map(record).collect::<Vec<_>>());
    let done: Vec<_> = there.registry().import(records).collect().await;
    assert!(done.iter().all(|done| done.result.is_ok()), "{done:?}");
    assert_eq!(bare(exported(&there).await), bare(lines));
    let edge = there.registry().get(&address("e2")).await.unwrap().identity;
    let behind = there.registry().get(&address("a")).await.unwrap().identity;
    assert_eq!(behind.device_scope(), edge.device_scope());
}

#[tokio::test]
async fn keys_are_left_out_if_that_is_asked() {
    let hub = World::new().start();
    register(&hub, "d1").await;
    let export = hub.registry().export(ExportOptions::without_keys());
    let records: Vec<DeviceRecord> = export.try_collect().await.unwrap();
    let line = serde_json::to_value(&records[0]).unwrap();
    assert_eq!(line["authentication"]["symmetricKey"]["primaryKey"], Value::Null);
    // Imported again, the device keeps the keys that it has.
    let before = hub.registry().get(&address("d1")).await.unwrap().identity;
    hub.registry().apply(&record(&line)).await.unwrap();
    let after = hub.registry().get(&address("d1")).await.unwrap().identity;
    assert_eq!(after.authentication(), before.authentication());
}

#[tokio::test]
async fn a_record_that_is_refused_does_not_stop_the_others() {
    let hub = World::new().start();
    register(&hub, "old").await;
    let lines = [
        json!({"id": "old", "importMode": "create"}),
        json!({"id": "new", "moduleId": "m"}),
        json!({"id": "new"}),
        json!({"id": "new", "moduleId": "m"}),
        json!({"id": "none", "importMode": "delete"}),
        json!({"id": "old", "importMode": "delete"}),
        json!({"id": "old", "importMode": "create"}),
    ];
    let records = stream::iter(lines.iter().map(record).collect::<Vec<_>>());
    let done = hub.registry().import(records);
    let done: Vec<_> = done.map(|done| done.result.map_err(|e| e.kind()).err()).collect().await;
    use ErrorKind::{DeviceAlreadyExists, DeviceNotFound};
    let want = [
        Some(DeviceAlreadyExists),
        Some(DeviceNotFound),
        None,
        None,
        Some(DeviceNotFound),
        None,
        None,
    ];
    assert_eq!(done, want);
}

#[tokio::test]
async fn no_more_records_are_held_than_may_be() {
    use std::sync::atomic::{AtomicU64, Ordering};
    let world = World::on(std::sync::Arc::new(hub_store_memory::MemoryStore::new()), |limits| {
        limits.import_batch_max = 10;
    });
    let hub = world.start();
    let taken = AtomicU64::new(0);
    let records = stream::iter(0..100).map(|n| {
        taken.fetch_add(1, Ordering::SeqCst);
        record(&json!({"id": format!("d{n}")}))
    });
    let mut done = std::pin::pin!(hub.registry().import(records));
    for n in 0..100 {
        let one = done.next().await.unwrap();
        assert_eq!((one.index, one.result.is_ok()), (n, true));
        assert!(taken.load(Ordering::SeqCst) <= one.index + 20, "at {n}");
    }
    assert!(done.next().await.is_none());
    // One identity with its twin is one change: nobody sees the one without the other.
    let found = world.store.scan(hub_core::store::Kind::Twin, None, 1000.try_into().unwrap());
    assert_eq!(found.await.unwrap().len(), 100);
}
