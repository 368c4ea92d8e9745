use proptest::prelude::*;

use super::*;

fn value(bytes: &[u8]) -> Result<Value<'_>, DecodeError> {
    let mut rest = bytes;
    let value = read(&mut rest)?;
    assert!(rest.is_empty());
    Ok(value)
}

/// Vectors of §1.6, each form of each type.
#[test]
fn every_type_is_read_in_every_form() {
    let number = |bytes: &[u8]| value(bytes).unwrap().as_i64().unwrap();
    for (bytes, want) in [
        (&b"\x43"[..], 0),
        (b"\x44", 0),
        (b"\x50\xff", 255),
        (b"\x52\x07", 7),
        (b"\x53\x08", 8),
        (b"\x60\x01\x02", 258),
        (b"\x70\0\0\x01\0", 256),
        (b"\x80\0\0\0\0\0\0\x01\0", 256),
        (b"\x51\xff", -1),
        (b"\x54\xfe", -2),
        (b"\x55\xfd", -3),
        (b"\x61\xff\xff", -1),
        (b"\x71\xff\xff\xff\xff", -1),
        (b"\x81\xff\xff\xff\xff\xff\xff\xff\xfe", -2),
    ] {
        assert_eq!(number(bytes), want, "{bytes:?}");
    }
    assert_eq!(value(b"\x40"), Ok(Value::Null));
    for (bytes, want) in
        [(&b"\x41"[..], true), (b"\x42", false), (b"\x56\x01", true), (b"\x56\x00", false)]
    {
        assert_eq!(value(bytes), Ok(Value::Bool(want)));
    }
    assert_eq!(value(b"\xa1\x02hi"), Ok(Value::Text("hi")));
    assert_eq!(value(b"\xb1\0\0\0\x02hi"), Ok(Value::Text("hi")));
    assert_eq!(value(b"\xa3\x02hi"), Ok(Value::Symbol("hi")));
    assert_eq!(value(b"\xb3\0\0\0\x02hi"), Ok(Value::Symbol("hi")));
    assert_eq!(value(b"\xa0\x01\xff"), Ok(Value::Binary(b"\xff")));
    assert_eq!(value(b"\xb0\0\0\0\x01\xff"), Ok(Value::Binary(b"\xff")));
    assert_eq!(value(b"\x73\0\0\0A"), Ok(Value::Char('A')));
    assert_eq!(value(b"\x83\0\0\0\0\0\0\0\x05"), Ok(Value::Timestamp(5)));
    assert_eq!(value(b"\x72\x3f\x80\0\0"), Ok(Value::Float(1.0)));
    assert_eq!(value(b"\x82\x3f\xf0\0\0\0\0\0\0"), Ok(Value::Float(1.0)));
    assert_eq!(value(&[&[0x98][..], &[7; 16]].concat()), Ok(Value::Uuid([7; 16])));
    for empty in [&b"\x45"[..], b"\xc0\x01\x00", b"\xd0\0\0\0\x04\0\0\0\0"] {
        assert!(matches!(value(empty), Ok(Value::List(items)) if items.is_empty()), "{empty:?}");
    }
    let Ok(Value::Array(mut items)) = value(b"\xe0\x07\x02\xa1\x01a\x02bc") else { panic!() };
    assert_eq!(items.take(), Ok(Some(Value::Text("a"))));
    assert_eq!(items.take(), Ok(Some(Value::Text("bc"))));
    assert_eq!(items.take(), Ok(None));
}

#[test]
fn what_is_no_value_is_refused() {
    for (bytes, want) in [
        (&b""[..], DecodeError::Short),
        (b"\x70\0\0", DecodeError::Short),
        (b"\xa1\x05hi", DecodeError::Short),
        (b"\xb1\xff\xff\xff\xff", DecodeError::Short),
        (b"\x99", DecodeError::Code(0x99)),
        (b"\xa1\x01\xff", DecodeError::Text),
        (b"\x73\0\x11\0\0", DecodeError::Text),
        (b"\x56\x02", DecodeError::Type),
        // Descriptors within descriptors, which would be a way to make the hub recurse.
        (b"\x00\x00\x00\x00", DecodeError::Descriptor),
        (b"\x00\x53\x70\x00\x53\x70\x45", DecodeError::Descriptor),
        (b"\x00\xa1\x01a\x45", DecodeError::Descriptor),
        // Counts that nothing stands behind.
        (b"\xc0\x01\xff", DecodeError::Count),
        (b"\xd0\0\0\0\x04\xff\xff\xff\xff", DecodeError::Count),
        (b"\xf0\0\0\0\x05\xff\xff\xff\xff\x40", DecodeError::Count),
        (b"\xe0\x02\x01\x00", DecodeError::Descriptor),
    ] {
        assert_eq!(read(&mut { bytes }), Err(want), "{bytes:02x?}");
    }
}

#[test]
fn a_map_is_searched_by_its_keys() {
    let mut out = Vec::new();
    let map = write::map(&mut out);
    out.symbol("a");
    out.long(1);
    out.text("b");
    out.text("two");
    map.end(&mut out, 4);
    let Ok(Value::Map(items)) = value(&out) else { panic!() };
    assert_eq!(items.find("b"), Ok(Some(Value::Text("two"))));
    assert_eq!(items.find("c"), Ok(None));
    // A key without a value.
    let Ok(Value::Map(mut items)) = value(b"\xc1\x02\x01\x41") else { panic!() };
    assert_eq!(items.take_pair(), Err(DecodeError::Count));
}

#[test]
fn a_frame_is_read_when_it_is_there() {
    let mut frame = Vec::new();
    empty_frame(&mut frame);
    assert_eq!(frame, b"\0\0\0\x08\x02\0\0\0");
    for cut in 0..8 {
        let needs = 8;
        assert_eq!(decode(&frame[..cut], 512), Ok(Decoded::Incomplete(needs)), "{cut}");
    }
    let whole = Frame { body: FrameBody::Amqp(0, b""), length: 8 };
    assert_eq!(decode(&frame, 512), Ok(Decoded::Frame(whole)));
    // An extended header is passed over.
    let extended = b"\0\0\0\x0d\x03\x01\0\x05extrx";
    let body = Frame { body: FrameBody::Sasl(b"x"), length: 13 };
    assert_eq!(decode(extended, 512), Ok(Decoded::Frame(body)));
    for (bytes, want) in [
        (&b"\0\0\0\x07\x02\0\0\0"[..], DecodeError::Head),
        (b"\0\0\0\x08\x01\0\0\0", DecodeError::Head),
        (b"\0\0\0\x08\x03\0\0\0", DecodeError::Head),
        (b"\0\0\0\x08\x02\x02\0\0", DecodeError::Head),
        (b"\0\0\x02\x01", DecodeError::Oversize { size: 513, limit: 512 }),
        (b"HTTP", DecodeError::Oversize { size: 0x4854_5450, limit: 512 }),
    ] {
        assert_eq!(decode(bytes, 512), Err(want), "{bytes:?}");
    }
}

fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    match decode(&out, 1 << 20) {
        Ok(Decoded::Frame(Frame { body: FrameBody::Amqp(_, body), length })) => {
            assert_eq!(length, out.len());
            body.to_vec()
        }
        other => panic!("{other:?}"),
    }
}

/// How many fields a performative was written with.
fn fields(body: &[u8]) -> usize {
    match read(&mut { body }) {
        Ok(Value::Described(described)) => match described.value() {
            Ok(Value::List(items)) => items.len(),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

/// One of the clients reads fields by position, and fails on a list that ends early.
#[test]
fn performatives_are_written_with_all_of_their_fields() {
    let error = crate::problem::AmqpError::new("amqp:not-found", "no");
    let reply = AttachReply {
        name: "n",
        handle: 0,
        role: Role::Sender,
        snd_settle_mode: 1,
        rcv_settle_mode: 0,
        source: Some(b"\x00\x53\x28\x45"),
        target: None,
        max_message_size: 0,
    };
    let head = TransferHead { handle: 1, delivery_id: 2, tag: b"t", settled: true, more: false };
    for (count, body) in [
        (10, written(|out| open(out, "c", 512, 0, 0))),
        (8, written(|out| begin(out, 1, 2, 3, 4))),
        (14, written(|out| attach(out, 1, &reply))),
        (11, written(|out| flow(out, 1, (0, 1), (2, 3), None, false))),
        (11, written(|out| flow(out, 1, (0, 1), (2, 3), Some((4, 5, 6)), true))),
        (11, written(|out| transfer(out, 1, &head, b""))),
        (6, written(|out| disposition(out, 1, Role::Receiver, (1, 2), Outcome::Accepted))),
        (
            6,
            written(|out| {
                disposition(out, 1, Role::Sender, (1, 2), Outcome::Rejected(Some(&error)))
            }),
        ),
        (3, written(|out| detach(out, 1, 2, Some(&error)))),
        (3, written(|out| detach(out, 1, 2, None))),
        (1, written(|out| end(out, 1, Some(&error)))),
        (1, written(|out| close(out, None))),
    ] {
        assert_eq!(fields(&body), count, "{body:02x?}");
    }
}

#[test]
fn what_is_written_is_read() {
    let body = written(|out| open(out, "me", 1024, 7, 240));
    let want = Open {
        container_id: "me",
        hostname: None,
        max_frame_size: 1024,
        channel_max: 7,
        idle_time_out: Some(240),
    };
    assert_eq!(performative(&body), Ok(Performative::Open(want)));
    let head =
        TransferHead { handle: 300, delivery_id: 70_000, tag: b"tag", settled: false, more: true };
    let body = written(|out| transfer(out, 1, &head, b"payload"));
    let want = Transfer {
        handle: 300,
        delivery_id: Some(70_000),
        delivery_tag: Some(b"tag"),
        settled: Some(false),
        more: true,
        aborted: false,
    };
    assert_eq!(performative(&body), Ok(Performative::Transfer(want, b"payload")));
    let error = crate::problem::AmqpError::new("amqp:not-found", "no");
    let body =
        written(|out| disposition(out, 1, Role::Receiver, (1, 2), Outcome::Rejected(Some(&error))));
    let want = Disposition {
        role: Role::Receiver,
        first: 1,
        last: 2,
        settled: true,
        state: State::Rejected(Some(("amqp:not-found", Some("no")))),
    };
    assert_eq!(performative(&body), Ok(Performative::Disposition(want)));
    let body = written(|out| detach(out, 1, 2, Some(&error)));
    let want = Detach { handle: 2, closed: true, condition: Some("amqp:not-found") };
    assert_eq!(performative(&body), Ok(Performative::Detach(want)));
}

/// What clients leave out has the standard's default.
#[test]
fn short_lists_are_read() {
    // An open with two fields, as rhea sends it.
    let body = b"\x00\x53\x10\xc0\x07\x02\xa1\x01c\xa1\x01h";
    let Ok(Performative::Open(open)) = performative(&body[..]) else { panic!() };
    assert_eq!((open.container_id, open.hostname), ("c", Some("h")));
    assert_eq!((open.max_frame_size, open.channel_max), (u32::MAX, u16::MAX));
    for (code, want) in [
        (0x17, Performative::End(End { condition: None })),
        (0x18, Performative::Close(Close { condition: None })),
    ] {
        assert_eq!(performative(&[0, 0x53, code, 0x45]), Ok(want));
    }
    assert_eq!(performative(b"\x00\x53\x16\x45"), Err(DecodeError::Missing));
    assert_eq!(performative(b"\x00\x53\x19\x45"), Err(DecodeError::Performative));
    assert_eq!(performative(b"\x45"), Err(DecodeError::Performative));
}

#[test]
fn the_security_layer_reads_what_clients_choose() {
    let init = |fields: &[u8]| {
        let mut body = vec![0, 0x53, 0x41, 0xc0];
        body.push(u8::try_from(fields.len()).unwrap());
        body.extend_from_slice(fields);
        sasl_init(&body).map(|init| (init.mechanism, init.response.to_vec()))
    };
    assert_eq!(init(b"\x01\xa3\x07MSSBCBS"), Ok((Some(Mechanism::Cbs), vec![])));
    assert_eq!(init(b"\x02\xa3\x09ANONYMOUS\xa0\x00"), Ok((Some(Mechanism::Anonymous), vec![])));
    assert_eq!(
        init(b"\x02\xa3\x05PLAIN\xa0\x03\0a\0"),
        Ok((Some(Mechanism::Plain), b"\0a\0".to_vec()))
    );
    assert_eq!(init(b"\x01\xa3\x04NTLM"), Ok((None, vec![])));
    assert_eq!(init(b"\x00"), Err(DecodeError::Missing));
    let plain = Plain::parse(b"\0name\0secret").unwrap();
    assert_eq!((plain.name, plain.password), ("name", "secret"));
    assert!(!format!("{plain:?}").contains("secret"));
    assert_eq!(Plain::parse(b"name\0secret"), None);
    assert_eq!(Plain::parse(b"\0a\0b\0c"), None);
}

#[test]
fn a_message_is_written_and_read() {
    let mut out = Vec::new();
    let mut message = MessageWriter::new(&mut out);
    let mut map = message.annotations();
    map.symbol_key("x-opt-offset").text("17");
    map.end();
    let properties = MessageProperties {
        message_id: Some(b"\x53\x07"),
        user_id: Some(b"me"),
        to: Some("/devices/d"),
        content_type: Some("text/plain"),
        expiry: Some(9),
        ..MessageProperties::default()
    };
    message.properties(&properties);
    let mut map = message.application();
    map.text_key("k").text("v");
    map.end();
    message.data(b"one");
    message.data(b"two");
    let message = Message::read(&out).unwrap();
    assert_eq!(message.properties, properties);
    assert_eq!(message.annotations.find("x-opt-offset"), Ok(Some(Value::Text("17"))));
    assert_eq!(message.application.find("k"), Ok(Some(Value::Text("v"))));
    assert_eq!(message.body, Body::Data(vec![b"one", b"two"]));
    assert_eq!(id_text(b"\x53\x07").as_deref(), Some("7"));
    let uuid = [&[0x98][..], &(0..16).collect::<Vec<u8>>()].concat();
    assert_eq!(id_text(&uuid).as_deref(), Some("00010203-0405-0607-0809-0a0b0c0d0e0f"));
    assert_eq!(id_text(b"\xa0\x02\xff\x00").as_deref(), Some("ff00"));
    assert!(Message::read(b"\x45").is_err() && Message::read(b"\x00\x53\x75\x45").is_err());
}

#[test]
fn an_attach_has_its_source_as_it_was_sent() {
    let source = b"\x00\x53\x28\xc0\x2a\x08\xa1\x03a/b\x43\x40\x43\x42\x40\x40\xc1\x1c\x02\xa3\x04name\x00\xa3\x04name\xa1\x0cexpression12";
    let mut body = Vec::from(*b"\x00\x53\x12\xd0");
    let mut rest = Vec::from(*b"\xa1\x04link\x52\x05\x41\x40\x50\x00");
    rest.extend_from_slice(source);
    rest.push(0x40);
    body.extend_from_slice(&u32::try_from(rest.len() + 4).unwrap().to_be_bytes());
    body.extend_from_slice(&7_u32.to_be_bytes());
    body.extend_from_slice(&rest);
    let Ok(Performative::Attach(attach)) = performative(&body) else { panic!() };
    let attach = attach.read().unwrap();
    assert_eq!((attach.name, attach.handle, attach.role), ("link", 5, Role::Receiver));
    assert_eq!((attach.snd_settle_mode, attach.rcv_settle_mode), (2, 0));
    let found = attach.source.unwrap();
    assert_eq!((found.address, found.dynamic, found.raw), (Some("a/b"), false, &source[..]));
    let Ok(Some(Value::Described(filter))) = found.filter.find("name") else { panic!() };
    assert_eq!(filter.descriptor, Descriptor::Name("name"));
    assert_eq!(filter.value(), Ok(Value::Text("expression12")));
    assert!(attach.target.is_none() && attach.properties.is_empty());
}

/// Looks at everything in a value, as deep as it goes.
fn walk(value: Value<'_>, depth: usize) {
    let (Value::List(mut items) | Value::Map(mut items) | Value::Array(mut items)) = value else {
        if let Value::Described(described) = value
            && let Ok(value) = described.value()
            && depth < 8
        {
            walk(value, depth + 1);
        }
        return;
    };
    while let Ok(Some(item)) = items.take() {
        if depth < 8 {
            walk(item, depth + 1);
        }
    }
}

proptest! {
    #[test]
    fn texts_and_numbers_come_back(
        text in ".{0,300}", number: i64, unsigned: u64, bytes in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let mut out = Vec::new();
        out.text(&text);
        out.symbol(&text);
        out.long(number);
        out.ulong(unsigned);
        out.binary(&bytes);
        out.timestamp(number);
        let mut rest = out.as_slice();
        prop_assert_eq!(read(&mut rest), Ok(Value::Text(&text)));
        prop_assert_eq!(read(&mut rest), Ok(Value::Symbol(&text)));
        prop_assert_eq!(read(&mut rest), Ok(Value::Signed(number)));
        prop_assert_eq!(read(&mut rest), Ok(Value::Unsigned(unsigned)));
        prop_assert_eq!(read(&mut rest), Ok(Value::Binary(&bytes)));
        prop_assert_eq!(read(&mut rest), Ok(Value::Timestamp(number)));
        prop_assert!(rest.is_empty());
    }

    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut rest = bytes.as_slice();
        while let Ok(value) = read(&mut rest) {
            walk(value, 0);
        }
        let _ = performative(&bytes);
        let _ = Message::read(&bytes);
        let _ = sasl_init(&bytes);
        let _ = decode(&bytes, 1000);
    }
}
