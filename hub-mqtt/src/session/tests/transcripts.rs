//! Conversations captured from stock SDKs: what the device sends is theirs, packet by packet.

use hub_core::envelope::{Ack, Properties, SystemProperty};
use hub_core::frame::MethodRef;

use super::*;

const GET: &str = "$iothub/twin/GET/?$rid=e828af62-e817-4e3a-bff5-c717962e39e7";
const PATCH: &str =
    "$iothub/twin/PATCH/properties/reported/?$rid=c39e5aa5-5b2f-43cc-a22d-f7a0b5de9dc2";
const TWIN: &[u8] = br#"{"desired":{"a":1,"$version":2},"reported":{"b":2,"$version":7}}"#;

#[test]
fn python_with_handlers_then_telemetry_twin_message_and_method() {
    let username = "localhost/d1/?api-version=2019-10-01&DeviceClientType=azure-iot-device-iothub-py%2F2.14.0%283.11.7%3BLinux%3Bx86_64%29";
    let mut rig = Rig::begin(connect("d1", username), None);
    rig.writes(&["CONNACK 0 Accepted"]);
    for (id, tag, filter) in [(1, 1, DEVICEBOUND), (2, 2, METHODS), (3, 3, DESIRED)] {
        rig.subscribe(id, &[(filter, Qos::One)]).writes(&[]);
        rig.turn.up.clear();
        rig.hub(Outbound::Receipt(Tag(tag))).writes(&[&format!("SUBACK {id} [1]")]);
    }
    let topic = format!("{EVENTS}%24.mid=m1&%24.ct=application%2Fjson&%24.ce=utf-8&a=1&b=x%20y");
    rig.publish(Qos::One, 4, &topic, r#"{"t":1}"#).writes(&[]).tells(&[
        r#"telemetry #4 [message-id=m1 content-type=application/json content-encoding=utf-8 a=1 b=x y {"t":1}]"#,
    ]);
    rig.hub(Outbound::Receipt(Tag(4))).writes(&["PUBACK 4"]);
    rig.subscribe(5, &[(RESPONSES, Qos::One)]);
    rig.tells(&["subscribe #5 [(TwinResponses, AtLeastOnce)]"]);
    rig.hub(Outbound::Receipt(Tag(5))).writes(&["SUBACK 5 [1]"]);
    rig.publish(Qos::One, 6, GET, " ").writes(&["PUBACK 6"]).tells(&["get twin #6"]);
    rig.hub(Outbound::Twin(Tag(6), Bytes::from_static(TWIN))).writes(&[
        r#"PUBLISH q1 id65535 $iothub/twin/res/200/?$rid=e828af62-e817-4e3a-bff5-c717962e39e7 {"desired":{"a":1,"$version":2},"reported":{"b":2,"$version":7}}"#,
    ]);
    rig.packet(Packet::PubAck(PacketId::MAX)).writes(&[]).tells(&[]);
    rig.publish(Qos::One, 7, PATCH, r#"{"x": 1}"#);
    rig.writes(&[]).tells(&[r#"report #7 {"x": 1} if None"#]);
    rig.hub(Outbound::Reported(Tag(7), 8)).writes(&[
        "PUBACK 7",
        "PUBLISH q1 id65534 $iothub/twin/res/204/?$rid=c39e5aa5-5b2f-43cc-a22d-f7a0b5de9dc2&$version=8 ",
    ]);
    let Outbound::Offer(mut delivery) = offer(1, 9, false) else { panic!() };
    delivery.message.ack = Ack::Full;
    let properties: Properties = [
        Property::System(SystemProperty::MessageId, "m1"),
        Property::Application("p3", Some("a string")),
    ]
    .into_iter()
    .collect();
    delivery.message.properties = properties;
    rig.hub(Outbound::Offer(delivery)).writes(&[
        "PUBLISH q1 id1 devices/d1/messages/devicebound/%24.mid=m1&%24.to=%2Fdevices%2Fd1%2Fmessages%2Fdevicebound&iothub-ack=full&p3=a%20string hello",
    ]);
    rig.packet(Packet::PubAck(PacketId::MIN)).tells(&["settle 1.9 Complete"]);
    rig.hub(Outbound::Call(MethodRef(10), "doit".into(), Bytes::from_static(br#"{"x":1}"#)));
    rig.writes(&[r#"PUBLISH q1 id65533 $iothub/methods/POST/doit/?$rid=a {"x":1}"#]);
    rig.publish(Qos::One, 9, "$iothub/methods/res/200/?$rid=a", r#"{"ok": 1}"#);
    rig.writes(&["PUBACK 9"]).tells(&[r#"reply 10 200 {"ok": 1}"#]);
    rig.packet(Packet::Disconnect).writes(&[]).tells(&[]).ends(Some(End::Goodbye));
}

#[test]
fn node_with_qos_0_for_twins_and_methods() {
    let username = "localhost/d1/?api-version=2021-04-12&DeviceClientType=azure-iot-device%2F1.18.4%20(node%20v20.20.2%3B%20Debian%2012%3B%20x64)";
    let mut rig = Rig::begin(codec::Connect { keep_alive: 180, ..connect("d1", username) }, None);
    rig.writes(&["CONNACK 0 Accepted"]);
    rig.subscribe(50036, &[(DEVICEBOUND, Qos::One)])
        .tells(&["subscribe #1 [(Messages, AtLeastOnce)]"]);
    rig.hub(Outbound::Receipt(Tag(1))).writes(&["SUBACK 50036 [1]"]);
    rig.subscribe(50037, &[(METHODS, Qos::Zero)]).tells(&["subscribe #2 [(Methods, AtMostOnce)]"]);
    rig.hub(Outbound::Receipt(Tag(2))).writes(&["SUBACK 50037 [0]"]);
    let topic = format!("{EVENTS}%24.mid=m1&%24.ct=application%2Fjson&%24.ce=utf-8&b=x%20y");
    rig.publish(Qos::One, 50038, &topic, r#"{"t":1}"#).hub(Outbound::Receipt(Tag(3)));
    rig.writes(&["PUBACK 50038"]);
    rig.turn.up.clear();
    rig.subscribe(50039, &[(RESPONSES, Qos::Zero)]).hub(Outbound::Receipt(Tag(4)));
    rig.writes(&["SUBACK 50039 [0]"]);
    rig.turn.up.clear();
    rig.publish(Qos::Zero, 0, GET, " ").writes(&[]).tells(&["get twin #5"]);
    rig.hub(Outbound::Twin(Tag(5), Bytes::from_static(b"{}")));
    rig.writes(&["PUBLISH q0 $iothub/twin/res/200/?$rid=e828af62-e817-4e3a-bff5-c717962e39e7 {}"]);
    rig.subscribe(50040, &[(DESIRED, Qos::Zero)]).hub(Outbound::Receipt(Tag(6)));
    rig.writes(&["SUBACK 50040 [0]"]);
    rig.turn.up.clear();
    rig.publish(Qos::Zero, 0, PATCH, r#"{"x":1}"#).writes(&[]);
    rig.tells(&[r#"report #7 {"x":1} if None"#]);
    rig.hub(Outbound::Reported(Tag(7), 8)).writes(&[
        "PUBLISH q0 $iothub/twin/res/204/?$rid=c39e5aa5-5b2f-43cc-a22d-f7a0b5de9dc2&$version=8 ",
    ]);
    rig.hub(Outbound::Desired(13, Bytes::from_static(br#"{"a":null,"$version":13}"#)));
    rig.writes(&[
        r#"PUBLISH q0 $iothub/twin/PATCH/properties/desired/?$version=13 {"a":null,"$version":13}"#,
    ]);
    rig.hub(Outbound::Call(MethodRef(1), "doit".into(), Bytes::from_static(b"null")));
    rig.writes(&["PUBLISH q0 $iothub/methods/POST/doit/?$rid=1 null"]);
    rig.publish(Qos::Zero, 0, "$iothub/methods/res/200/?$rid=1", "");
    rig.writes(&[]).tells(&["reply 1 200 "]);
    rig.packet(Packet::Disconnect).ends(Some(End::Goodbye));
}

#[test]
fn a_module_has_its_own_topics() {
    let mut rig = Rig::begin(connect("d1/m1", "h/d1/m1/?api-version=2021-04-12"), None);
    rig.writes(&["CONNACK 0 Accepted"]);
    let own = "devices/d1/modules/m1/messages/events/%24.on=out%201&a=b/";
    rig.publish(Qos::One, 1, own, "x").tells(&["telemetry #1 [iothub-outputname=out 1 a=b x]"]);
    rig.subscribe(
        2,
        &[("devices/d1/modules/m1/inputs/#", Qos::One), ("devices/d1/modules/m1/#", Qos::Zero)],
    );
    rig.tells(&["subscribe #2 [(Inputs, AtLeastOnce), (Inputs, AtMostOnce)]"]);
    rig.hub(Outbound::Receipt(Tag(2))).writes(&["SUBACK 2 [1, 0]"]);
}
