//! What the rows of an answer look like.

use hub_core::engine::QueryRows;
use hub_core::envelope::Message;
use hub_core::registry::{AuthenticationSpec, IdentitySpec, Status};
use hub_core::security::Thumbprint;
use serde_json::{Value, json};

use crate::{address, create, hub_with, page, rows, write};

#[tokio::test]
async fn whole_twins_come_with_their_identity() {
    let hub = hub_with(|_| ());
    create(&hub, "d1").await;
    create(&hub, "d1/m1").await;
    write(&hub, "d1", &json!({"tags": {"a": 1}})).await;
    for (from, id) in [("devices", "d1"), ("devices.modules", "d1/m1")] {
        let answer = page(&hub, &format!("SELECT * FROM {from}"), 10, None).await;
        let QueryRows::Twins(twins) = answer.rows else { panic!() };
        assert_eq!(twins, [hub.registry().twin(&address(id)).await.unwrap()]);
        assert_eq!(answer.continuation, None);
    }
    let answer = page(&hub, "SELECT * FROM devices.jobs", 10, None).await;
    assert_eq!((answer.rows, answer.continuation), (QueryRows::Jobs(Vec::new()), None));
}

#[tokio::test]
async fn fields_of_the_identity_the_session_and_the_queue_are_found() {
    let hub = hub_with(|_| ());
    let mut spec = IdentitySpec::new(address("d1"));
    spec.status = Some(Status::Disabled);
    spec.status_reason = Some("spare".into());
    spec.iot_edge = Some(true);
    hub.registry().put(&spec, None).await.unwrap();
    let mut spec = IdentitySpec::new(address("d2"));
    let print = Thumbprint::new(&"AB".repeat(32)).unwrap();
    spec.authentication =
        Some(AuthenticationSpec::SelfSigned { primary: Some(print), secondary: None });
    hub.registry().put(&spec, None).await.unwrap();
    create(&hub, "d3").await;
    hub.send(&address("d3"), Message::new("x")).await.unwrap();
    let _device = hub.device(&address("d3")).await.unwrap();
    let print = "AB".repeat(32);
    for (condition, want) in [
        ("status = 'disabled'", vec!["d1"]),
        ("status != 'disabled'", vec!["d2", "d3"]),
        ("statusReason = 'spare'", vec!["d1"]),
        ("is_defined(statusReason)", vec!["d1"]),
        ("statusUpdateTime < '0002'", vec!["d1", "d2", "d3"]),
        ("connectionState = 'Connected'", vec!["d3"]),
        ("connectionState = 'Disconnected' AND status = 'enabled'", vec!["d2"]),
        ("lastActivityTime > '2020-01-01T00:00:00Z'", vec!["d3"]),
        ("cloudToDeviceMessageCount = 1", vec!["d3"]),
        ("authenticationType = 'selfSigned'", vec!["d2"]),
        (&format!("x509Thumbprint.primaryThumbprint = '{print}'"), vec!["d2"]),
        ("x509Thumbprint.secondaryThumbprint = null", vec!["d1", "d2", "d3"]),
        ("capabilities.iotEdge", vec!["d1"]),
        ("NOT capabilities.iotEdge", vec!["d2", "d3"]),
        ("starts_with(deviceScope, 'ms-azure-iot-edge://d1-')", vec!["d1"]),
        ("modelId = ''", vec!["d1", "d2", "d3"]),
        ("is_defined(moduleId)", vec![]),
        ("is_string(deviceEtag) AND etag = 'AAAAAAAAAAE=' AND version = 2", vec!["d1", "d2", "d3"]),
        ("properties.desired.$version = 1", vec!["d1", "d2", "d3"]),
        ("is_defined(properties.reported.$metadata.$lastUpdated)", vec!["d1", "d2", "d3"]),
        ("deviceId IN ['d3', 'd1', 'x']", vec!["d1", "d3"]),
        ("true", vec!["d1", "d2", "d3"]),
        ("jobId = 'x'", vec![]),
    ] {
        let found = rows(&hub, &format!("SELECT deviceId FROM devices WHERE {condition}")).await;
        let want: Value = want.iter().map(|id| json!({ "deviceId": id })).collect();
        assert_eq!(found, want, "{condition}");
    }
}

#[tokio::test]
async fn members_are_named_and_absent_ones_left_out() {
    let hub = hub_with(|_| ());
    create(&hub, "d1").await;
    write(
        &hub,
        "d1",
        &json!({"tags": {"o": {"k": [1, {"x": 2.5}]}, "s": "é"}, "properties": {"desired": {"v": 1}}}),
    )
    .await;
    let found = rows(
        &hub,
        "SELECT DEVICEID, tags.o.k, tags.o.k[1].x AS x, tags.s AS [[a b]], tags.gone, capabilities, \
         parentScopes, x509Thumbprint, properties.desired.v, properties.desired.$version AS at, \
         cloudToDeviceMessageCount AS n, status, version FROM devices",
    )
    .await;
    assert_eq!(
        found,
        json!([{
            "deviceId": "d1",
            "k": [1, {"x": 2.5}],
            "x": 2.5,
            "a b": "é",
            "capabilities": {"iotEdge": false},
            "parentScopes": [],
            "x509Thumbprint": {"primaryThumbprint": null, "secondaryThumbprint": null},
            "v": 1,
            "at": 2,
            "n": 0,
            "status": "enabled",
            "version": 3,
        }])
    );
    let found = rows(&hub, "SELECT tags, properties, properties.reported AS r FROM devices").await;
    assert_eq!(found[0]["tags"]["o"]["k"][0], 1);
    assert_eq!(found[0]["properties"]["desired"]["$metadata"]["v"]["$lastUpdatedVersion"], 2);
    assert_eq!(found[0]["r"]["$version"], 1);
    let found = rows(&hub, "SELECT tags.gone FROM devices").await;
    assert_eq!(found, json!([{}]), "one row for each twin, also where it has nothing to show");
}

async fn fleet() -> hub_core::Hub {
    let hub = hub_with(|_| ());
    for (id, tags) in [
        ("d1", json!({"site": "a", "n": 1, "on": true})),
        ("d2", json!({"site": "b", "n": 2.5})),
        ("d3", json!({"site": "a", "n": 4, "o": {"x": 1}})),
        ("d4", json!({"n": "many"})),
        ("d5", json!({"site": 7, "n": -1})),
        ("d6", json!({"site": "b", "o": {"x": 1}})),
    ] {
        create(&hub, id).await;
        write(&hub, id, &json!({ "tags": tags })).await;
    }
    hub
}

#[tokio::test]
async fn aggregates_look_at_what_they_can_add() {
    let hub = fleet().await;
    let text = "SELECT COUNT() AS c, SUM(tags.n) AS s, AVG(tags.n) AS a, MIN(tags.n) AS l, \
                MAX(tags.n) AS g FROM devices";
    assert_eq!(
        rows(&hub, text).await,
        json!([{"c": 6, "s": 6.5, "a": 1.625, "l": -1, "g": "many"}])
    );
    let none = format!("{text} WHERE tags.site = 'nowhere'");
    assert_eq!(rows(&hub, &none).await, json!([{"c": 0, "s": 0}]));
    assert_eq!(rows(&hub, "SELECT COUNT() FROM devices.modules").await, json!([{"count": 0}]));
    let text = "SELECT MAX(tags.o), MIN(tags.on) FROM devices";
    assert_eq!(rows(&hub, text).await, json!([{"min": true}]));
}

#[tokio::test]
async fn groups_have_one_row_each() {
    let hub = fleet().await;
    let text = "SELECT tags.site AS site, COUNT() AS n FROM devices GROUP BY tags.site";
    assert_eq!(
        rows(&hub, text).await,
        json!([{"n": 1}, {"site": 7, "n": 1}, {"site": "a", "n": 2}, {"site": "b", "n": 2}]),
        "what lacks the field is a group without it"
    );
    let ordered = format!("{text} ORDER BY n DESC, site DESC");
    assert_eq!(
        rows(&hub, &ordered).await,
        json!([{"site": "b", "n": 2}, {"site": "a", "n": 2}, {"site": 7, "n": 1}, {"n": 1}])
    );
    let text = "SELECT tags.o, tags.site, SUM(tags.n) FROM devices WHERE is_defined(tags.o) \
                GROUP BY tags.site, tags.o";
    assert_eq!(
        rows(&hub, text).await,
        json!([{"o": {"x": 1}, "site": "a", "sum": 4}, {"o": {"x": 1}, "site": "b", "sum": 0}])
    );
    let text = "SELECT tags.o FROM devices WHERE is_defined(tags.o) GROUP BY tags.o";
    assert_eq!(rows(&hub, text).await, json!([{"o": {"x": 1}}]));
    let text = "SELECT tags.x, COUNT() FROM devices WHERE false GROUP BY tags.x";
    assert_eq!(rows(&hub, text).await, json!([]));
}

#[tokio::test]
async fn rows_are_ordered_by_kind_and_value() {
    let hub = fleet().await;
    let text = "SELECT deviceId FROM devices ORDER BY tags.n";
    let ids = |found: Value| -> Vec<String> {
        let rows = found.as_array().unwrap();
        rows.iter().map(|row| row["deviceId"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(rows(&hub, text).await), ["d6", "d5", "d1", "d2", "d3", "d4"]);
    let text = "SELECT deviceId FROM devices ORDER BY tags.n DESC";
    assert_eq!(ids(rows(&hub, text).await), ["d4", "d3", "d2", "d1", "d5", "d6"]);
    let text = "SELECT deviceId FROM devices ORDER BY tags.site DESC, deviceId DESC";
    assert_eq!(ids(rows(&hub, text).await), ["d6", "d2", "d3", "d1", "d5", "d4"]);
    let text = "SELECT TOP 2 deviceId FROM devices WHERE tags.n > 0 ORDER BY tags.n DESC";
    assert_eq!(ids(rows(&hub, text).await), ["d3", "d2"]);
}
