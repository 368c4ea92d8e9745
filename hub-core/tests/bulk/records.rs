//! What each mode does.

use hub_core::engine::Imported;
use hub_core::error::ErrorKind;
use serde_json::{Value, json};

use crate::world::{World, address, record, register};

/// `+`: it is as the record says; `=`: it is as it was; `-`: it is gone; a kind: it was refused.
#[tokio::test]
async fn modes_do_what_the_table_says() {
    use ErrorKind::{DeviceAlreadyExists, DeviceNotFound, PreconditionFailed};
    let hub = World::new().start();
    let registry = hub.registry();
    for (n, (mode, absent, matching, stale)) in [
        ("create", Ok('+'), Err(DeviceAlreadyExists), Err(DeviceAlreadyExists)),
        ("update", Err(DeviceNotFound), Ok('+'), Ok('+')),
        ("updateIfMatchETag", Err(DeviceNotFound), Ok('+'), Err(PreconditionFailed)),
        ("createOrUpdate", Ok('+'), Ok('+'), Ok('+')),
        ("createOrUpdateIfMatchETag", Ok('+'), Ok('+'), Err(PreconditionFailed)),
        ("delete", Err(DeviceNotFound), Ok('-'), Ok('-')),
        ("deleteIfMatchETag", Err(DeviceNotFound), Ok('-'), Err(PreconditionFailed)),
        ("updateTwin", Err(DeviceNotFound), Ok('t'), Ok('t')),
        ("updateTwinIfMatchETag", Err(DeviceNotFound), Ok('t'), Err(PreconditionFailed)),
    ]
    .into_iter()
    .enumerate()
    {
        for (case, want) in [("absent", absent), ("matching", matching), ("stale", stale)] {
            let device = address(&format!("{case}{n}"));
            let (mut etag, mut twin_etag) = ("AAAA".to_owned(), "AAAA".to_owned());
            if case != "absent" {
                register(&hub, device.as_str()).await;
            }
            if case == "matching" {
                let state = registry.twin(&device).await.unwrap();
                (etag, twin_etag) = (state.registration.identity.etag(), state.twin.etag());
            }
            let line = json!({
                "id": device.as_str(), "importMode": mode, "eTag": etag, "twinETag": twin_etag,
                "statusReason": "new", "tags": {"a": 1},
            });
            let got = registry.apply(&record(&line)).await;
            let state = registry.twin(&device).await.ok();
            let reason = state.as_ref().and_then(|s| s.registration.identity.status_reason());
            let tags = state.as_ref().map(|state| state.twin.tags().to_value());
            let is = match (state.is_some(), reason, tags) {
                (false, ..) => '-',
                (true, Some("new"), Some(tags)) if tags == json!({"a": 1}) => '+',
                (true, None, Some(tags)) if tags == json!({"a": 1}) => 't',
                (true, None, Some(tags)) if tags == json!({}) => '=',
                other => panic!("{mode} {case}: {other:?}"),
            };
            match want {
                Ok(wanted) => {
                    assert_eq!(got, Ok(Imported::default()), "{mode} {case}");
                    assert_eq!(is, wanted, "{mode} {case}");
                }
                Err(kind) => {
                    assert_eq!(got.unwrap_err().kind(), kind, "{mode} {case}");
                    assert_eq!(is, if case == "absent" { '-' } else { '=' }, "{mode} {case}");
                }
            }
        }
    }
}

#[tokio::test]
async fn reported_properties_are_taken_over_where_nobody_has_reported() {
    let hub = World::new().start();
    let line = |n: u64| {
        record(&json!({
            "id": "d1",
            "properties": {"desired": {"n": n, "$version": 77}, "reported": {"n": n}},
        }))
    };
    for (n, reported) in [(1, 1), (2, 1)] {
        hub.registry().apply(&line(n)).await.unwrap();
        let twin = hub.registry().twin(&address("d1")).await.unwrap().twin;
        assert_eq!(twin.desired().to_value(), json!({"n": n}));
        assert_eq!(twin.reported().to_value(), json!({"n": reported}));
    }
}

#[tokio::test]
async fn an_identity_is_registered_also_if_its_twin_cannot_be() {
    let hub = World::new().start();
    for n in 0..2 {
        let line = record(&json!({"id": "d1", "statusReason": n.to_string(), "tags": {"a.b": 1}}));
        let done = hub.registry().apply(&line).await.unwrap();
        assert_eq!(done.without_twin.unwrap().kind(), ErrorKind::ArgumentInvalid);
        let found = hub.registry().get(&address("d1")).await.unwrap();
        assert_eq!(found.identity.status_reason(), Some(n.to_string().as_str()));
    }
    let line = record(&json!({"id": "d1", "importMode": "updateTwin", "tags": {"a.b": 1}}));
    let refused = hub.registry().apply(&line).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ArgumentInvalid);
}

#[tokio::test]
async fn a_scope_names_an_edge_device_of_whatever_generation() {
    let hub = World::new().start();
    let scope = "ms-azure-iot-edge://e1-637131779299310000";
    let line = |id: &str, edge: bool, scope: &str, parents: Value| {
        record(&json!({
            "id": id, "capabilities": {"iotEdge": edge}, "deviceScope": scope,
            "parentScopes": parents,
        }))
    };
    let child = line("d1", false, scope, json!([scope]));
    let refused = hub.registry().apply(&child).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ArgumentInvalid);
    for _ in 0..2 {
        hub.registry().apply(&line("e1", true, scope, json!([]))).await.unwrap();
        let own = "ms-azure-iot-edge://e2-1";
        hub.registry().apply(&line("e2", true, own, json!([scope]))).await.unwrap();
        hub.registry().apply(&child).await.unwrap();
    }
    let get = async |id: &str| hub.registry().get(&address(id)).await.unwrap().identity;
    let edge = get("e1").await;
    assert_ne!(edge.device_scope(), Some(scope));
    assert_eq!(get("d1").await.device_scope(), edge.device_scope());
    let nested = get("e2").await;
    assert_eq!(nested.parent_scopes().collect::<Vec<_>>(), [edge.device_scope().unwrap()]);
}
