use hub_core::envelope::{Properties, Stored};
use hub_core::frame::LockToken;
use hub_core::id::SequenceNumber;
use hub_core::store::Version;
use hub_core::time::Timestamp;
use proptest::prelude::*;

use super::*;

use Property::{Application, System};

#[track_caller]
fn check(bag: &str, want: &[Property<'_>]) {
    // Whatever was in it before must not shine through.
    let mut parsed = Bag::new();
    let _ = parsed.parse("old%20key=old%20value&x").count();
    assert_eq!(parsed.parse(bag).collect::<Vec<_>>(), want, "{bag}");
}

#[test]
fn bags_of_the_sdks_are_read() {
    check(
        "%24.mid=m1&%24.ct=application%2Fjson&%24.ce=utf-8&a=1&b=x%20y",
        &[
            System(SystemProperty::MessageId, "m1"),
            System(SystemProperty::ContentType, "application/json"),
            System(SystemProperty::ContentEncoding, "utf-8"),
            Application("a", Some("1")),
            Application("b", Some("x y")),
        ],
    );
    check(
        "%24.on=out%201&a=b/",
        &[System(SystemProperty::OutputName, "out 1"), Application("a", Some("b"))],
    );
    check(
        "?$.cid=c&%24.uid=u",
        &[System(SystemProperty::CorrelationId, "c"), System(SystemProperty::UserId, "u")],
    );
    check("iothub-ack=full", &[System(SystemProperty::Ack, "full")]);
}

#[test]
fn every_system_key_is_read_in_both_spellings() {
    for (key, name) in KEYS {
        check(&format!("%24.{key}=v"), &[System(name, "v")]);
        check(&format!("$.{key}=v"), &[System(name, "v")]);
        check(&format!("%24%2E{key}=v"), &[System(name, "v")]);
    }
    check(
        "%24.tp=v&%24.cdid=d",
        &[Application("$.tp", Some("v")), Application("$.cdid", Some("d"))],
    );
}

#[test]
fn odd_bags_have_a_meaning() {
    check("", &[]);
    check("/", &[]);
    check("?", &[]);
    check("&&", &[]);
    check("LWT", &[Application("LWT", Some(""))]);
    check("=v", &[Application("", Some("v"))]);
    check("a=b=c", &[Application("a", Some("b=c"))]);
    check("a=b//", &[Application("a", Some("b/"))]);
    check("a+b=c+d", &[Application("a+b", Some("c+d"))]);
    check("k%C3%A9=%e2%82%AC", &[Application("ké", Some("€"))]);
    check("k=100%", &[Application("k", Some("100%"))]);
    check("k=%zz%2", &[Application("k", Some("%zz%2"))]);
    check("k=%+1%FF%C3%28", &[Application("k", Some("%+1%FF%C3("))]);
    check("k=%é", &[Application("k", Some("%é"))]);
    check("k=%F0%9F%98%80!", &[Application("k", Some("😀!"))]);
}

fn delivery(properties: Properties, ack: Ack) -> Delivery {
    let body = bytes::Bytes::from_static(b"hello");
    let enqueued = Timestamp::from_millis(1_893_456_000_000 - 3_600_000);
    Delivery {
        token: LockToken {
            sequence: SequenceNumber(1),
            version: Version(1),
            until: Timestamp::from_millis(60_001),
        },
        message: Stored { ack, enqueued, generation: 1, properties, body },
        expiry: Timestamp::from_millis(1_893_456_000_000),
        delivery_count: 0,
        redelivered: false,
    }
}

#[track_caller]
fn check_written(properties: &[Property<'_>], ack: Ack, ttl: Duration, want: &str) {
    let mut out = String::from("prefix/");
    let message = delivery(properties.iter().copied().collect(), ack);
    let to = "/devices/d1/messages/devicebound";
    write_delivery(&message, to, ttl, &mut out);
    assert_eq!(out, format!("prefix/{want}"));
}

#[test]
fn deliveries_look_like_captured_ones() {
    const TO: &str = "%24.to=%2Fdevices%2Fd1%2Fmessages%2Fdevicebound";
    let hour = Duration::from_secs(3600);
    check_written(&[], Ack::None, hour, TO);
    check_written(
        &[
            Application("p3", Some("a string")),
            System(SystemProperty::ContentType, "text/plain; charset=UTF-8"),
            System(SystemProperty::MessageId, "m1"),
            System(SystemProperty::To, "elsewhere"),
            System(SystemProperty::ExpiryTime, "whatever"),
            Application("empty", None),
            Application("é&=/+%$#?", Some("")),
        ],
        Ack::Full,
        2 * hour,
        &format!(
            "%24.mid=m1&{TO}&%24.ct=text%2Fplain%3B%20charset%3DUTF-8\
             &%24.exp=2030-01-01T00%3A00%3A00.0000000Z&iothub-ack=full&p3=a%20string&empty=\
             &%C3%A9%26%3D%2F%2B%25%24%23%3F="
        ),
    );
}

proptest! {
    #[test]
    fn what_is_encoded_decodes(text in ".{0,60}", keep in prop_oneof![Just(""), Just("*!")]) {
        let (mut encoded, mut decoded) = (String::new(), String::new());
        percent_encode(&text, keep.as_bytes(), &mut encoded);
        prop_assert!(encoded.is_ascii() && !encoded.contains(['&', '=', '/', '?', '#', '+', '$']));
        percent_decode(&encoded, &mut decoded);
        prop_assert_eq!(decoded, text);
    }

    #[test]
    fn any_text_is_a_bag(text in ".{0,200}") {
        let mut bag = Bag::new();
        // Decoding never makes text longer, so the size limit on messages holds for it.
        let bytes: usize = bag
            .parse(&text)
            .map(|property| match property {
                System(_, value) => value.len(),
                Application(name, value) => name.len() + value.map_or(0, str::len),
            })
            .sum();
        prop_assert!(bytes <= text.len());
    }

    #[test]
    fn a_written_bag_is_read_back(
        pairs in prop::collection::vec(("[^$]{1,20}", ".{0,20}"), 0..6),
        mid in prop::option::of(".{0,20}"),
    ) {
        prop_assume!(pairs.iter().all(|(key, _)| key != ACK));
        let mut properties: Vec<Property<'_>> = Vec::new();
        properties.extend(mid.as_deref().map(|m| System(SystemProperty::MessageId, m)));
        properties.extend(pairs.iter().map(|(k, v)| Application(k, Some(v))));
        let properties: Properties = properties.into_iter().collect();
        let mut out = String::new();
        let message = delivery(properties.clone(), Ack::None);
        write_delivery(&message, "/to", Duration::from_secs(3600), &mut out);
        let mut bag = Bag::new();
        let read: Properties = bag
            .parse(&out)
            .filter(|p| !matches!(p, System(SystemProperty::To, _)))
            .collect();
        prop_assert_eq!(read.application(), properties.application());
        prop_assert_eq!(read.system(SystemProperty::MessageId), mid.as_deref());
    }
}
