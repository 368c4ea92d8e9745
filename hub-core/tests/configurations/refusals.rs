//! What bad input gets: the documented error, and nothing is changed.

use std::collections::BTreeMap;

use hub_core::ErrorKind;
use hub_core::configuration::ConfigurationSpec;
use hub_core::registry::{IdentitySpec, IfMatch};
use serde_json::json;

use crate::world::{World, address, create, desired, id, make, spec};

#[tokio::test]
async fn refused_configurations_leave_nothing() {
    let world = World::with(|limits| limits.configurations_max = 2);
    let hub = world.start();
    let all = hub.configurations();
    let refused = async |spec: ConfigurationSpec, if_match: Option<&str>| {
        let if_match = if_match.map(IfMatch::parse);
        let error = hub.configurations().put(&spec, if_match.as_ref()).await.unwrap_err();
        (error.kind(), error.message().to_owned())
    };
    let good = || spec("c1", "*", json!({"a": 1}));
    let (kind, message) = refused(good().target("tags.a = "), None).await;
    assert_eq!(kind, ErrorKind::ConfigurationTargetInvalid);
    assert!(message.starts_with("line 1, column 10: expected"), "{message}");
    let outside = json!({"deviceContent": {"tags.a": 1}});
    assert_eq!(
        refused(good().content(outside), None).await.0,
        ErrorKind::ConfigurationContentInvalid
    );
    let (kind, message) = refused(good().metric("m", "SELECT a FROM nowhere"), None).await;
    assert_eq!(kind, ErrorKind::ConfigurationMetricInvalid);
    assert!(message.starts_with("m: line 1, column 15"), "{message}");
    assert_eq!(refused(good(), Some("*")).await.0, ErrorKind::ConfigurationNotFound);
    let missing = all.get(&id("c1")).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::ConfigurationNotFound);
    assert_eq!(
        all.delete(&id("c1"), None).await.unwrap_err().kind(),
        ErrorKind::ConfigurationNotFound
    );
    let made = make(&hub, good()).await;
    assert_eq!(refused(good(), None).await.0, ErrorKind::ConfigurationAlreadyExists);
    assert_eq!(refused(good(), Some("bm9uZQ==")).await.0, ErrorKind::PreconditionFailed);
    let other = spec("c1", "*", json!({"a": 2}));
    assert_eq!(refused(other, Some("*")).await.0, ErrorKind::ConfigurationContentImmutable);
    let stale = IfMatch::parse("bm9uZQ==");
    assert_eq!(
        all.delete(&id("c1"), Some(&stale)).await.unwrap_err().kind(),
        ErrorKind::PreconditionFailed
    );
    make(&hub, spec("c2", "*", json!({}))).await;
    assert_eq!(refused(spec("c3", "*", json!({})), None).await.0, ErrorKind::TooManyConfigurations);
    // An update needs no room.
    let update = ConfigurationSpec::new(id("c1")).priority(3);
    let after = all.put(&update, Some(&IfMatch::parse(&made.etag()))).await.unwrap();
    assert_ne!(after.etag(), made.etag());
    let names: Vec<String> = all
        .list(Some(5))
        .await
        .unwrap()
        .iter()
        .map(|state| state.configuration.id.to_string())
        .collect();
    assert_eq!(names, ["c1", "c2"]);
    assert_eq!(all.list(Some(1)).await.unwrap().len(), 1);
}

#[tokio::test]
async fn queries_are_tried_without_a_configuration() {
    let hub = World::new().start();
    let metrics = [("good", "SELECT deviceId FROM devices"), ("bad", "SELECT FROM devices")];
    let metrics: BTreeMap<String, String> =
        metrics.map(|(name, text)| (name.to_owned(), text.to_owned())).into();
    let trial = hub.configurations().test_queries(Some("tags.a ="), &metrics);
    assert!(trial.target.unwrap().message().starts_with("line 1, column 9"));
    assert_eq!(trial.metrics.keys().collect::<Vec<_>>(), ["bad"]);
    for good in [None, Some("*"), Some(""), Some("from devices.modules where tags.a = 1")] {
        let trial = hub.configurations().test_queries(good, &BTreeMap::new());
        assert_eq!(trial, hub_core::engine::QueryTrial::default(), "{good:?}");
    }
}

#[tokio::test]
async fn a_content_is_applied_to_one_device() {
    let hub = World::new().start();
    let all = hub.configurations();
    create(&hub, "plain").await;
    let mut edge = IdentitySpec::new(address("edge"));
    edge.iot_edge = Some(true);
    hub.registry().put(&edge, None).await.unwrap();
    let (plain, device) = (address("plain").device_id(), address("edge").device_id());
    let content = json!({"modulesContent": {
        "$edgeAgent": {"properties.desired": {
            "schemaVersion": "1.0",
            "modules": {"tempSensor": {"type": "docker"}},
        }},
        "$edgeHub": {"properties.desired.routes.r1": "FROM /* INTO $upstream"},
        "filter": {"properties.desired": {"limit": 25}},
    }});
    all.apply_content(&device, &content).await.unwrap();
    assert_eq!(desired(&hub, "edge/filter").await, json!({"limit": 25}));
    assert_eq!(
        desired(&hub, "edge/$edgeHub").await,
        json!({"routes": {"r1": "FROM /* INTO $upstream"}})
    );
    assert_eq!(desired(&hub, "edge/$edgeAgent").await["schemaVersion"], "1.0");
    let sensor = hub.registry().get(&address("edge/tempSensor")).await.unwrap();
    assert_eq!(sensor.identity.managed_by(), Some("IotEdge"));
    // All of the desired properties replace them.
    let again = json!({"modulesContent": {"filter": {"properties.desired": {"max": 1}}}});
    all.apply_content(&device, &again).await.unwrap();
    assert_eq!(desired(&hub, "edge/filter").await, json!({"max": 1}));
    let own = json!({"deviceContent": {"properties.desired.a.b": 1}});
    all.apply_content(&plain, &own).await.unwrap();
    assert_eq!(desired(&hub, "plain").await, json!({"a": {"b": 1}}));
    for (to, bad) in [
        (&plain, again.clone()),
        (&device, json!({})),
        (&device, json!({"moduleContent": {}})),
        (&device, json!({"modulesContent": {"a/b": {"properties.desired": {}}}})),
        (&device, json!({"modulesContent": {"filter": {"tags": {}}}})),
        (&device, json!({"modulesContent": {"new": 1}})),
    ] {
        let error = all.apply_content(to, &bad).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConfigurationContentInvalid, "{bad}");
    }
    let nobody = address("nobody").device_id();
    let missing = all.apply_content(&nobody, &own).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::DeviceNotFound);
    let missing = hub.registry().get(&address("edge/new")).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::ModuleNotFound);
}
