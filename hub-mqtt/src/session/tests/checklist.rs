//! What emulators of the service got wrong, and what the protocol forbids.

use hub_core::error::{CloseReason, DisconnectCause, ErrorKind, HubError};
use hub_core::frame::{Guarantee, Interest, MethodRef};

use super::*;
use crate::codec::{DecodeError, Will};
use crate::topics::TopicError;

fn all() -> Subscriptions {
    Interest::ALL
        .into_iter()
        .fold(Subscriptions::NONE, |found, interest| found.with(interest, Guarantee::AtLeastOnce))
}

fn stored(subscriptions: Subscriptions) -> Rig {
    let mut rig = Rig::begin(connect("d1", "h/d1/?x=y"), Some(subscriptions));
    rig.writes(&["CONNACK 1 Accepted"]);
    rig
}

#[test]
fn b08_a_stored_session_delivers_without_a_subscribe() {
    stored(all()).hub(offer(3, 1, true)).writes(&[&format!("PUBLISH q1 id3 dup {OFFERED}")]);
    stored(all())
        .hub(Outbound::Desired(2, Bytes::from_static(b"{}")))
        .writes(&["PUBLISH q1 id65535 $iothub/twin/PATCH/properties/desired/?$version=2 {}"]);
    let clean = codec::Connect { clean_session: true, ..connect("d1", "h/d1/?x=y") };
    let mut rig = Rig::begin(clean, Some(all()));
    rig.writes(&["CONNACK 0 Accepted"]).hub(offer(3, 1, true)).writes(&[]);
}

#[test]
fn a_get_without_a_subscription_is_acknowledged_and_not_answered() {
    let mut rig = Rig::new();
    rig.writes(&["CONNACK 0 Accepted"]);
    rig.publish(Qos::One, 6, "$iothub/twin/GET/?$rid=1", " ").writes(&["PUBACK 6"]).tells(&[]);
    rig.publish(Qos::One, 7, &format!("{REPORTED}?$rid=2"), "{}").tells(&["report #1 {} if None"]);
    rig.hub(Outbound::Receipt(Tag(1))).writes(&["PUBACK 7"]).ends(None);
    assert!(rig.session.asked.is_empty());
}

#[test]
fn a_request_in_the_same_read_as_its_subscribe_is_answered() {
    let mut rig = Rig::new();
    rig.subscribe(1, &[(RESPONSES, Qos::Zero)]);
    rig.publish(Qos::Zero, 0, "$iothub/twin/GET/?$rid=1", "");
    rig.tells(&["subscribe #1 [(TwinResponses, AtMostOnce)]", "get twin #2"]);
}

#[test]
fn a_refused_twin_request_has_a_status_and_a_body() {
    let mut rig = stored(all());
    rig.publish(Qos::One, 9, &format!("{REPORTED}?$rid=r&$version=0"), "[]");
    rig.tells(&["report #1 [] if Some(0)"]);
    rig.hub(Outbound::Refused(Tag(1), HubError::argument("a patch is an object")));
    rig.writes(&[
        "PUBACK 9",
        "PUBLISH q1 id65535 $iothub/twin/res/400/?$rid=r {\"errorCode\":400004,\"trackingId\":\"00000000000000070000000000000001-G:0-TimeStamp:01/02/2024 03:04:05\",\"message\":\"a patch is an object\",\"timestampUtc\":\"2024-01-02T03:04:05.0000000Z\"}",
    ]);
    rig.publish(Qos::Zero, 0, &format!("{REPORTED}?$rid=s&$version=0"), "{}");
    let stale = HubError::new(ErrorKind::PreconditionFailed, "version is 2");
    rig.hub(Outbound::Refused(Tag(2), stale));
    let wire = String::from_utf8_lossy(&rig.turn.wire).into_owned();
    assert!(wire.contains("$iothub/twin/res/412/?$rid=s"), "{wire}");
    assert!(wire.contains("{\"errorCode\":412001,"), "{wire}");
    rig.ends(None);
}

#[test]
fn a_report_without_an_id_is_acknowledged_and_not_answered() {
    let mut rig = stored(all());
    rig.publish(Qos::One, 2, REPORTED, "{}").writes(&[]).tells(&["report #1 {} if None"]);
    rig.hub(Outbound::Reported(Tag(1), 2)).writes(&["PUBACK 2"]);
    rig.publish(Qos::One, 3, REPORTED, "x");
    rig.hub(Outbound::Refused(Tag(2), HubError::argument("x"))).writes(&["PUBACK 3"]).ends(None);
}

#[test]
fn telemetry_of_one_read_is_one_batch_and_its_acks_leave_together() {
    let mut rig = Rig::new();
    rig.writes(&["CONNACK 0 Accepted"]);
    let publish = |id, topic| Publish {
        dup: id == 2,
        qos: if id == 3 { Qos::Zero } else { Qos::One },
        retain: id == 2,
        id: PacketId::new(id).filter(|_| id != 3),
        topic,
        payload: b"x",
    };
    for id in 1..=4 {
        rig.step(Input::Packet(Packet::Publish(publish(id, EVENTS))));
    }
    rig.tells(&[]);
    rig.step(Input::ReadEnd);
    rig.tells(&["telemetry #1 [x|mqtt-retain=true x|x|x]"]).writes(&[]);
    rig.hub(Outbound::Receipt(Tag(1))).writes(&["PUBACK 1", "PUBACK 2", "PUBACK 4"]);
    rig.step(Input::ReadEnd);
    rig.tells(&[]);
}

#[test]
fn b08_acknowledgements_leave_in_the_order_of_the_publishes() {
    let mut rig = stored(all());
    let report = format!("{REPORTED}?$rid=1");
    for (id, topic) in [
        (1, EVENTS),
        (2, "$iothub/twin/GET/?$rid=0"),
        (3, &report),
        (4, "$iothub/methods/res/200/?$rid=5"),
        (5, EVENTS),
    ] {
        let publish = Publish {
            dup: false,
            qos: Qos::One,
            retain: false,
            id: PacketId::new(id),
            topic,
            payload: b"",
        };
        rig.step(Input::Packet(Packet::Publish(publish)));
    }
    rig.step(Input::ReadEnd);
    rig.tells(&[
        "telemetry #1 []",
        "get twin #2",
        "report #3  if None",
        "reply 5 200 ",
        "telemetry #4 []",
    ]);
    rig.hub(Outbound::Receipt(Tag(4))).writes(&[]);
    rig.hub(Outbound::Reported(Tag(3), 1));
    rig.writes(&["PUBLISH q1 id65535 $iothub/twin/res/204/?$rid=1&$version=1 "]);
    rig.hub(Outbound::Receipt(Tag(1)));
    rig.writes(&["PUBACK 1", "PUBACK 2", "PUBACK 3", "PUBACK 4", "PUBACK 5"]);
}

#[test]
fn what_is_done_at_once_splits_a_batch_and_loses_nothing() {
    let mut rig = Rig::new();
    rig.turn.wire.clear();
    for (id, topic) in [(1, EVENTS), (2, "$iothub/twin/GET/?$rid=1"), (3, EVENTS)] {
        let id = PacketId::new(id);
        let publish =
            Publish { dup: false, qos: Qos::One, retain: false, id, topic, payload: b"x" };
        rig.step(Input::Packet(Packet::Publish(publish)));
    }
    rig.step(Input::ReadEnd);
    rig.tells(&["telemetry #1 [x]", "telemetry #2 [x]"]).writes(&[]);
    rig.hub(Outbound::Receipt(Tag(1))).writes(&["PUBACK 1", "PUBACK 2"]);
    rig.hub(Outbound::Receipt(Tag(2))).writes(&["PUBACK 3"]);
}

#[test]
fn b08_a_message_is_completed_by_its_puback_once() {
    let mut rig = stored(all());
    rig.hub(offer(1, 4, false)).hub(offer(2, 5, true));
    rig.writes(&[&format!("PUBLISH q1 id1 {OFFERED}"), &format!("PUBLISH q1 id2 dup {OFFERED}")]);
    let [one, two] = [1, 2].map(|id| PacketId::new(id).unwrap());
    // Out of order is not how SDKs do it, and harms nobody.
    rig.packet(Packet::PubAck(two)).tells(&["settle 2.5 Complete"]);
    rig.packet(Packet::PubAck(two)).tells(&[]);
    // The lock of the first ran out: the same id again, and one acknowledgement is enough.
    rig.hub(offer(1, 6, true)).writes(&[&format!("PUBLISH q1 id1 dup {OFFERED}")]);
    rig.packet(Packet::PubAck(one)).packet(Packet::PubAck(one)).tells(&["settle 1.6 Complete"]);
    rig.ends(None);
}

#[test]
fn a_message_of_qos_0_is_completed_when_it_is_written() {
    let mut rig = stored(Subscriptions::NONE.with(Interest::Messages, Guarantee::AtMostOnce));
    rig.hub(offer(1, 4, true)).hub(offer(2, 5, false));
    rig.writes(&[&format!("PUBLISH q0 {OFFERED}"), &format!("PUBLISH q0 {OFFERED}")]).tells(&[]);
    rig.step(Input::Written);
    rig.tells(&["settle 1.4 Complete", "settle 2.5 Complete"]);
    rig.step(Input::Written);
    rig.tells(&[]);
}

/// Whoever acknowledges a notice has it; a PUBACK of anything else says nothing of the kind.
#[test]
fn a_notice_that_is_acknowledged_was_heard() {
    let mut rig = stored(all());
    rig.hub(Outbound::Desired(7, Bytes::from_static(b"{}")));
    rig.hub(Outbound::Call(MethodRef(1), "m".into(), Bytes::new()));
    rig.turn.wire.clear();
    let acknowledged = |id| Packet::PubAck(PacketId::new(id).unwrap());
    rig.packet(acknowledged(65534)).tells(&[]);
    rig.packet(acknowledged(65535)).tells(&["heard 7"]);
    rig.packet(acknowledged(65535)).tells(&[]);
}

#[test]
fn nothing_is_pushed_to_who_does_not_listen() {
    let mut rig = Rig::new();
    rig.writes(&["CONNACK 0 Accepted"]);
    rig.hub(offer(1, 1, false)).hub(Outbound::Desired(2, Bytes::new()));
    rig.hub(Outbound::Call(MethodRef(1), "m".into(), Bytes::new())).writes(&[]).tells(&[]);
    rig.subscribe(1, &[(DEVICEBOUND, Qos::One)]).hub(Outbound::Receipt(Tag(1)));
    rig.writes(&["SUBACK 1 [1]"]).hub(offer(1, 2, true));
    rig.writes(&[&format!("PUBLISH q1 id1 dup {OFFERED}")]);
    rig.turn.up.clear();
    rig.unsubscribe(2, &[DEVICEBOUND, "devices/+/messages/devicebound/#", "never/subscribed"]);
    rig.tells(&["unsubscribe #2 [Messages]"]).hub(offer(2, 3, false)).writes(&[]);
    rig.hub(Outbound::Receipt(Tag(2))).writes(&["UNSUBACK 2"]);
}

#[test]
fn a_bag_too_long_for_a_topic_is_rejected_not_retried() {
    let mut rig = stored(all());
    let Outbound::Offer(mut delivery) = offer(1, 4, false) else { panic!() };
    let value = "/".repeat(30_000);
    delivery.message.properties = [Property::Application("k", Some(&value))].into_iter().collect();
    rig.hub(Outbound::Offer(delivery)).writes(&[]).tells(&["settle 1.4 Reject"]).ends(None);
    assert_eq!(rig.turn.undeliverable, 1);
}

#[test]
fn qos_2_is_granted_as_1_and_refused_as_publish() {
    let mut rig = Rig::new();
    rig.turn.wire.clear();
    rig.subscribe(1, &[(DEVICEBOUND, Qos::Two), (METHODS, Qos::Zero)]);
    rig.hub(Outbound::Receipt(Tag(1))).writes(&["SUBACK 1 [1, 0]"]);
    rig.publish(Qos::Two, 2, EVENTS, "x").writes(&[]).ends(Some(End::QosTwo));
}

#[test]
fn what_breaks_the_protocol_ends_this_session() {
    type Act = fn(&mut Rig) -> &mut Rig;
    let cases: [(Act, End); 12] = [
        (|r| r.publish(Qos::One, 1, "a/b", ""), End::Topic(TopicError::Unknown)),
        (
            |r| r.publish(Qos::One, 1, "devices/d2/messages/events/", ""),
            End::Topic(TopicError::Unknown),
        ),
        (|r| r.publish(Qos::One, 1, "$iothub/twin/GET/", ""), End::Topic(TopicError::NoRequestId)),
        (|r| r.subscribe(1, &[("a/#", Qos::One)]), End::Filter),
        (|r| r.subscribe(1, &[(METHODS, Qos::One); 11]), End::TooManyFilters),
        (|r| r.packet(Packet::Connect(connect("d1", "h/d1"))), End::Unexpected),
        (|r| r.packet(Packet::PubRel(PacketId::MIN)), End::Unexpected),
        (|r| r.packet(Packet::PingResp), End::Unexpected),
        (
            |r| {
                r.step(Input::Over(End::Malformed(DecodeError::Type(0))));
                r
            },
            End::Malformed(DecodeError::Type(0)),
        ),
        (|r| r.publish(Qos::One, 1, EVENTS, &"x".repeat(262_145)), End::TooLarge(262_145)),
        (
            |r| {
                r.subscribe(1, &[(METHODS, Qos::One)]);
                r.hub(Outbound::Refused(Tag(1), HubError::new(ErrorKind::Forbidden, "no")))
            },
            End::Refused(ErrorKind::Forbidden),
        ),
        (
            |r| {
                r.publish(Qos::One, 1, EVENTS, "x");
                r.hub(Outbound::Refused(Tag(1), HubError::new(ErrorKind::Unavailable, "no")))
            },
            End::Refused(ErrorKind::Unavailable),
        ),
    ];
    for (act, want) in cases {
        let mut rig = Rig::new();
        rig.writes(&["CONNACK 0 Accepted"]);
        act(&mut rig);
        rig.ends(Some(want)).writes(&[]);
        assert_ne!(want.cause(), DisconnectCause::Clean);
        // Nothing has an effect any more.
        rig.turn.clear();
        rig.publish(Qos::One, 1, EVENTS, "x").packet(Packet::PingReq).writes(&[]).tells(&[]);
    }
}

#[test]
fn what_came_before_the_end_still_counts() {
    let mut rig = Rig::new();
    rig.turn.wire.clear();
    let publish = Publish {
        dup: false,
        qos: Qos::One,
        retain: false,
        id: PacketId::new(1),
        topic: EVENTS,
        payload: b"x",
    };
    rig.step(Input::Packet(Packet::Publish(publish)));
    rig.step(Input::Packet(Packet::Publish(Publish { topic: "a", ..publish })));
    rig.tells(&["telemetry #1 [x]"]).ends(Some(End::Topic(TopicError::Unknown)));
}

#[test]
fn the_will_is_telemetry_of_who_goes_without_a_goodbye() {
    let will = Will {
        topic: "devices/d1/messages/events/k=v",
        payload: b"bye",
        qos: Qos::One,
        retain: true,
    };
    let begin = || {
        let will = Some(will);
        let mut rig = Rig::begin(codec::Connect { will, ..connect("d1", "h/d1/?x=y") }, None);
        rig.turn.wire.clear();
        rig
    };
    for end in [End::Lost, End::Silent, End::Unexpected, End::Stuck] {
        let mut rig = begin();
        rig.publish(Qos::Zero, 0, EVENTS, "x").tells(&["telemetry #1 [x]"]);
        rig.step(Input::Over(end));
        rig.tells(&["telemetry #2 [k=v iothub-MessageType=Will mqtt-retain=true bye]"]);
    }
    for end in [
        End::Goodbye,
        End::Closed(CloseReason::TakenOver),
        End::Closed(CloseReason::IdentityDisabled),
        End::Closed(CloseReason::Shutdown),
        End::Refused(ErrorKind::Unavailable),
    ] {
        let mut rig = begin();
        rig.step(Input::Over(end));
        rig.tells(&[]).ends(Some(end));
    }
}

#[test]
fn silence_is_one_and_a_half_keep_alives_and_bounded() {
    let after = |keep_alive| {
        let rig = Rig::begin(codec::Connect { keep_alive, ..connect("d1", "h/d1/?x=y") }, None);
        rig.session.deadline().since(rig.now)
    };
    assert_eq!(after(60), Duration::from_secs(90));
    assert_eq!(after(1177), Duration::from_millis(1_765_500));
    assert_eq!(after(1178), Duration::from_secs(1767));
    assert_eq!(after(u16::MAX), Duration::from_secs(1767));
    assert_eq!(after(0), Duration::from_secs(1767));

    let mut rig = Rig::new();
    rig.turn.wire.clear();
    let begin = rig.now;
    rig.now = begin.after(Duration::from_secs(89));
    rig.step(Input::Tick);
    rig.packet(Packet::PingReq).writes(&["PINGRESP"]).ends(None);
    rig.now = begin.after(Duration::from_secs(178));
    rig.step(Input::Tick);
    rig.ends(None);
    // A clock that goes back does not shorten the wait.
    rig.now = begin;
    rig.packet(Packet::PubAck(PacketId::MIN));
    assert_eq!(rig.session.deadline(), begin.after(Duration::from_secs(179)));
    rig.now = begin.after(Duration::from_secs(179));
    rig.step(Input::Tick);
    rig.ends(Some(End::Silent));
}

#[test]
fn who_never_acknowledges_is_cut_off() {
    let mut rig = stored(all());
    for version in 0..rig.limits.link_window as u64 {
        rig.hub(Outbound::Desired(version, Bytes::new())).ends(None);
    }
    rig.hub(Outbound::Desired(0, Bytes::new())).ends(Some(End::Unacknowledged));
    assert_eq!(End::Unacknowledged.cause(), DisconnectCause::Closed(CloseReason::PeerStuck));
}

#[test]
fn the_hub_may_close() {
    let mut rig = stored(all());
    rig.hub(Outbound::Close(CloseReason::TakenOver));
    rig.writes(&[]).tells(&[]).ends(Some(End::Closed(CloseReason::TakenOver)));
}

#[test]
fn an_idle_session_is_small() {
    assert!(size_of::<Session>() <= 320, "{}", size_of::<Session>());
}
