//! Direct methods.

use std::time::{Duration, Instant};

use crate::client::{Reply, Server, server};
use hub_core::engine::{DeviceClient, DeviceEvent};
use hub_core::frame::Interest;
use hub_core::id::Address;
use serde_json::{Value, json};

async fn listener(server: &Server, address: &str) -> DeviceClient {
    let mut device = server.hub.device(&Address::parse(address).unwrap()).await.unwrap();
    device.subscribe(Interest::Methods).await.unwrap();
    device
}

/// Answers calls with their own payload, and a status of 207.
fn echo(mut device: DeviceClient) {
    tokio::spawn(async move {
        while let DeviceEvent::Method(call, _, payload) = device.next().await {
            device.reply(call, 207, payload).await;
        }
    });
}

fn inner(reply: &Reply) -> Value {
    serde_json::from_str(reply.json()["Message"].as_str().unwrap()).unwrap()
}

#[tokio::test]
async fn a_call_brings_the_devices_answer() {
    let server = server().await;
    server.register("d1").await;
    server.register("d1/m1").await;
    echo(listener(&server, "d1").await);
    echo(listener(&server, "d1/m1").await);
    let service = server.policy("service");
    for payload in ["{\"x\":1.50}", "\"\"", "null", "[1,2]", "\"é\\u0001\""] {
        for path in ["/twins/d1/methods", "/twins/d1/modules/m1/methods"] {
            let body = format!("{{\"methodName\":\"echo\",\"payload\":{payload}}}");
            let reply = service.post(path, body).await.expect(200);
            let want = format!("{{\"status\":207,\"payload\":{payload}}}");
            assert_eq!(std::str::from_utf8(&reply.body).unwrap(), want);
        }
    }
    let absent = service.post("/twins/d1/methods?x", r#"{"methodName":"m"}"#).await.expect(200);
    assert_eq!(absent.json(), json!({"status": 207, "payload": null}));
}

#[tokio::test]
async fn who_is_not_there_is_told_from_who_does_not_exist() {
    let server = server().await;
    server.register("d1").await;
    let service = server.policy("service");
    let body = r#"{"methodName":"m"}"#;
    service.post("/twins/d2/methods", body).await.refuses(404, "DeviceNotFound");
    service.post("/twins/d1/modules/m/methods", body).await.refuses(404, "ModuleNotFound");
    let offline = service.post("/twins/d1/methods", body).await.refuses(404, "DeviceNotOnline");
    assert_eq!(inner(&offline)["errorCode"], 404_103);
    assert_eq!(inner(&offline)["info"]["timeout"], "00:00:00");
    let _deaf = server.hub.device(&Address::parse("d1").unwrap()).await.unwrap();
    service.post("/twins/d1/methods", body).await.refuses(404, "DeviceNotOnline");
}

#[tokio::test]
async fn a_silent_device_is_given_up_before_the_caller_gives_up() {
    let server = server().await;
    server.register("d1").await;
    let _device = listener(&server, "d1").await;
    let begun = Instant::now();
    let body = r#"{"methodName":"m","responseTimeoutInSeconds":5}"#;
    let late = server.policy("service").post("/twins/d1/methods", body).await;
    let took = begun.elapsed();
    let late = late.refuses(504, "GatewayTimeout");
    assert_eq!(inner(&late)["errorCode"], 504_101);
    assert_eq!(inner(&late)["info"]["timeout"], "00:00:05");
    assert!(took > Duration::from_millis(4500) && took < Duration::from_secs(10), "{took:?}");
}

#[tokio::test]
async fn a_caller_may_wait_for_the_device_to_come() {
    let server = server().await;
    server.register("d1").await;
    let service = server.policy("service");
    let call = tokio::spawn(async move {
        let body = r#"{"methodName":"m","payload":7,"connectTimeoutInSeconds":20}"#;
        service.post("/twins/d1/methods", body).await
    });
    // The call waits in the device's machine, which is what is looked for here.
    while server.hub.gauges().devices == 0 {
        tokio::task::yield_now().await;
    }
    echo(listener(&server, "d1").await);
    assert_eq!(call.await.unwrap().expect(200).json()["payload"], 7);
}

#[tokio::test]
async fn a_device_that_goes_or_answers_badly_is_an_error() {
    let server = server().await;
    server.register("d1").await;
    let mut device = listener(&server, "d1").await;
    let goes = tokio::spawn(async move {
        let DeviceEvent::Method(call, ..) = device.next().await else { panic!("no call") };
        device.reply(call, 200, "{not json").await;
        let DeviceEvent::Method(..) = device.next().await else { panic!("no call") };
        device.disconnect();
    });
    let service = server.policy("service");
    let body = r#"{"methodName":"m"}"#;
    service.post("/twins/d1/methods", body).await.refuses(502, "GenericBadGateway");
    let gone = service.post("/twins/d1/methods", body).await;
    gone.refuses(404, "DeviceConnectionClosedRemotely");
    goes.await.unwrap();
}

#[tokio::test]
async fn bad_calls_are_refused() {
    let server = server().await;
    server.register("d1").await;
    let service = server.policy("service");
    let abyss = format!("{{\"methodName\":\"m\",\"payload\":{}", "[".repeat(100_000));
    for body in [
        "",
        "{}",
        "[]",
        r#"{"methodName":""}"#,
        r#"{"methodName":"a b"}"#,
        r#"{"methodName":7}"#,
        r#"{"methodName":"m","payload":}"#,
        r#"{"methodName":"m","responseTimeoutInSeconds":4}"#,
        r#"{"methodName":"m","responseTimeoutInSeconds":301}"#,
        r#"{"methodName":"m","responseTimeoutInSeconds":"5"}"#,
        r#"{"methodName":"m","connectTimeoutInSeconds":301}"#,
        r#"{"methodName":"m","connectTimeoutInSeconds":-1}"#,
        &abyss,
    ] {
        let refused = service.post("/twins/d1/methods", body.to_owned()).await;
        let refused = refused.refuses(400, "ArgumentInvalid");
        assert_eq!(inner(&refused)["errorCode"], 400_004, "{body}");
    }
    for length in [131_073, 200_000] {
        let body = format!("{{\"methodName\":\"m\",\"payload\":\"{}\"}}", "x".repeat(length));
        service.post("/twins/d1/methods", body).await.refuses(413, "MessageTooLarge");
    }
}
