//! Digital twins: reading, patching, commands.

use http::Method;
use hub_core::engine::DeviceEvent;
use hub_core::frame::Interest;
use serde_json::{Value, json};

use crate::client::server;

#[tokio::test]
async fn a_digital_twin_is_read_and_patched() {
    let server = server().await;
    let client = server.policy("service");
    // An id that has to be escaped in a path.
    let device = server.register("d#1").await;
    let path = "/digitaltwins/d%231";
    let reply = client.get(path).await.expect(200);
    let etag = reply.header("etag").unwrap().to_owned();
    assert_eq!(etag, "\"AAAAAAAAAAE=\"");
    assert_eq!(reply.json(), json!({"$dtId": "d#1", "$metadata": {"$model": ""}}));
    let add = json!([
        {"op": "add", "path": "/interval", "value": 5},
        {"op": "add", "path": "/thermostat1/targetTemperature", "value": 20.5},
    ]);
    let send = async |if_match: &str, operations: &Value| {
        let headers = [("if-match", if_match)];
        client.send(Method::PATCH, path, &headers, operations.to_string()).await
    };
    let written = send(&etag, &add).await.expect(202);
    assert!(written.body.is_empty());
    assert_eq!(written.header("location"), Some(path));
    let next = written.header("etag").unwrap();
    assert_eq!(client.get(path).await.header("etag"), Some(next));
    let twin = client.get("/twins/d%231").await.json();
    assert_eq!(
        twin["properties"]["desired"]["thermostat1"],
        json!({"__t": "c", "targetTemperature": 20.5})
    );
    let mut link = server.hub.device(&device).await.unwrap();
    let report = json!({
        "serial": "x",
        "thermostat1": {"__t": "c", "targetTemperature": {"value": 20.5, "ac": 200, "av": 2}},
    });
    link.report(report.to_string()).await.unwrap();
    let digital = client.get(path).await.json();
    assert_eq!(
        (&digital["serial"], &digital["thermostat1"]["targetTemperature"]),
        (&json!("x"), &json!(20.5))
    );
    let about = &digital["thermostat1"]["$metadata"]["targetTemperature"];
    assert_eq!((&about["ackCode"], &about["desiredValue"]), (&json!(200), &json!(20.5)));
    assert_eq!(digital["$metadata"]["interval"]["desiredValue"], 5);
    send(&etag, &add).await.refuses(412, "PreconditionFailed");
    // Unquoted etags are taken, too.
    send(next.trim_matches('"'), &json!([])).await.expect(202);
    send("*", &json!({})).await.refuses(400, "InvalidDigitalTwinJsonPatch");
    send("*", &json!([{"op": "copy", "path": "/a"}]))
        .await
        .refuses(400, "InvalidDigitalTwinJsonPatch");
    send("*", &json!([{"op": "remove", "path": "/gone"}]))
        .await
        .refuses(400, "InvalidDigitalTwinPatchPath");
    send("*", &json!([{"op": "add", "path": "/a", "value": [1]}]))
        .await
        .refuses(400, "InvalidDigitalTwinPayload");
    client.get("/digitaltwins/d9").await.refuses(404, "DeviceNotFound");
    let bad = "/digitaltwins/d%201";
    client.get(bad).await.refuses(400, "ArgumentInvalid");
}

#[tokio::test]
async fn commands_are_direct_methods() {
    let server = server().await;
    let client = server.policy("service");
    let address = server.register("d1").await;
    let mut device = server.hub.device(&address).await.unwrap();
    device.subscribe(Interest::Methods).await.unwrap();
    let answering = tokio::spawn(async move {
        for (want, payload, status, answer) in [
            ("reboot", "{\"delay\":3}", 202, "{\"done\":true}"),
            ("thermostat1*getMaxMinReport", "\"2020\"", 200, "null"),
            ("reset", "null", 500, "\"no\""),
        ] {
            let DeviceEvent::Method(call, name, sent) = device.next().await else { panic!() };
            assert_eq!((name.as_str(), &sent[..]), (want, payload.as_bytes()));
            device.reply(call, status, answer).await;
        }
        device
    });
    for (path, body, status, answer) in [
        (
            "commands/reboot?api-version=2021-04-12&responseTimeoutInSeconds=10",
            "{\"delay\":3}",
            "202",
            "{\"done\":true}",
        ),
        ("components/thermostat1/commands/getMaxMinReport", "\"2020\"", "200", "null"),
        ("commands/reset", "", "500", "\"no\""),
    ] {
        let reply = client.post(&format!("/digitaltwins/d1/{path}"), body).await.expect(200);
        assert_eq!(reply.header("x-ms-command-statuscode"), Some(status));
        assert!(reply.header("x-ms-request-id").is_some());
        assert_eq!(reply.body, answer);
    }
    drop(answering.await.unwrap());
    for (path, status, code) in [
        ("d1/commands/x?api-version=2021-04-12&responseTimeoutInSeconds=4", 400, "ArgumentInvalid"),
        (
            "d1/commands/x?api-version=2021-04-12&connectTimeoutInSeconds=301",
            400,
            "ArgumentInvalid",
        ),
        ("d9/commands/x", 404, "DeviceNotFound"),
    ] {
        client.post(&format!("/digitaltwins/{path}"), "1").await.refuses(status, code);
    }
    client.post("/digitaltwins/d1/commands/x", "{").await.refuses(400, "ArgumentInvalid");
}
