//! Posts as bytes: a format number, then JSON.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::post::{Asked, Connection, Gone, Post, Replied, Reply};
use crate::error::{ErrorKind, HubError};
use crate::id::{Address, CallId, Epoch, NodeId};

const FORMAT: u8 = 1;

type Text<'a> = Cow<'a, str>;

#[derive(Serialize, Deserialize)]
#[serde(tag = "k")]
enum Wire<'a> {
    #[serde(rename = "c")]
    Changed { a: Text<'a> },
    #[serde(rename = "m")]
    Mail { a: Text<'a> },
    #[serde(rename = "d")]
    Desired { a: Text<'a>, g: u64, e: u64, n: u64, p: Text<'a> },
    #[serde(rename = "x")]
    Disabled { a: Text<'a> },
    #[serde(rename = "q")]
    Call {
        a: Text<'a>,
        to: Text<'a>,
        call: u64,
        name: Text<'a>,
        p: Text<'a>,
        response: u64,
        connect: u64,
    },
    #[serde(rename = "r")]
    Reply { a: Text<'a>, to: Text<'a>, call: u64, status: i32, p: Text<'a> },
    #[serde(rename = "e")]
    Error { a: Text<'a>, to: Text<'a>, call: u64, code: u8, text: Text<'a> },
}

pub(super) fn encode(post: &Post) -> Bytes {
    let wire = match post {
        Post::Changed(of) => Wire::Changed { a: of.as_str().into() },
        Post::Mail(of) => Wire::Mail { a: of.as_str().into() },
        Post::Desired(of, during, version, patch) => Wire::Desired {
            a: of.as_str().into(),
            g: during.generation,
            e: during.epoch.0,
            n: *version,
            p: text(patch),
        },
        Post::Expelled(of, Gone::Disabled) => Wire::Disabled { a: of.as_str().into() },
        Post::Call(asked) => Wire::Call {
            a: asked.of.as_str().into(),
            to: asked.reply.to.as_str().into(),
            call: asked.reply.call.0,
            name: (&*asked.name).into(),
            p: text(&asked.payload),
            response: millis(asked.response_timeout),
            connect: millis(asked.connect_timeout),
        },
        Post::Answer(replied) => {
            let (a, to) = (replied.of.as_str().into(), replied.reply.to.as_str().into());
            let call = replied.reply.call.0;
            match &replied.result {
                Ok((status, payload)) => {
                    Wire::Reply { a, to, call, status: *status, p: text(payload) }
                }
                Err(error) => {
                    let (code, text) = (code(error.kind()), error.message().into());
                    Wire::Error { a, to, call, code, text }
                }
            }
        }
    };
    let mut body = vec![FORMAT];
    let written = serde_json::to_writer(&mut body, &wire);
    // All of it is texts and numbers.
    debug_assert!(written.is_ok(), "{written:?}");
    body.into()
}

pub(super) fn decode(body: &[u8]) -> Option<Post> {
    let (format, json) = body.split_first()?;
    (*format == FORMAT).then_some(())?;
    let address = |a: &str| Address::parse(a).ok();
    let reply = |to: &str, call| Some(Reply { to: NodeId::new(to).ok()?, call: CallId(call) });
    Some(match serde_json::from_slice(json).ok()? {
        Wire::Changed { a } => Post::Changed(address(&a)?),
        Wire::Mail { a } => Post::Mail(address(&a)?),
        Wire::Desired { a, g, e, n, p } => {
            let during = Connection { generation: g, epoch: Epoch(e) };
            Post::Desired(address(&a)?, during, n, bytes(p))
        }
        Wire::Disabled { a } => Post::Expelled(address(&a)?, Gone::Disabled),
        Wire::Call { a, to, call, name, p, response, connect } => Post::Call(Box::new(Asked {
            of: address(&a)?,
            reply: reply(&to, call)?,
            name: name.into(),
            payload: bytes(p),
            response_timeout: Duration::from_millis(response),
            connect_timeout: Duration::from_millis(connect),
        })),
        Wire::Reply { a, to, call, status, p } => Post::Answer(Box::new(Replied {
            of: address(&a)?,
            reply: reply(&to, call)?,
            result: Ok((status, bytes(p))),
        })),
        Wire::Error { a, to, call, code, text } => Post::Answer(Box::new(Replied {
            of: address(&a)?,
            reply: reply(&to, call)?,
            result: Err(HubError::new(kind(code), text.into_owned())),
        })),
    })
}

/// JSON text is UTF-8. What is not would have been refused before it came here.
fn text(json: &Bytes) -> Text<'_> {
    String::from_utf8_lossy(json)
}

fn bytes(text: Text<'_>) -> Bytes {
    text.into_owned().into()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// How a call may end, by number. The numbers never change: nodes of two versions may be one hub.
const CODES: [(u8, ErrorKind); 11] = [
    (1, ErrorKind::DeviceNotFound),
    (2, ErrorKind::ModuleNotFound),
    (3, ErrorKind::DeviceNotOnline),
    (4, ErrorKind::MethodTimeout),
    (5, ErrorKind::DeviceDisconnected),
    (6, ErrorKind::BadDeviceResponse),
    (7, ErrorKind::TooManyMethods),
    (8, ErrorKind::Throttled),
    (9, ErrorKind::Unavailable),
    (10, ErrorKind::Internal),
    (11, ErrorKind::Busy),
];

fn code(kind: ErrorKind) -> u8 {
    CODES.iter().find(|(_, known)| *known == kind).map_or(10, |(code, _)| *code)
}

fn kind(code: u8) -> ErrorKind {
    CODES.iter().find(|(known, _)| *known == code).map_or(ErrorKind::Internal, |(_, kind)| *kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply() -> Reply {
        Reply { to: NodeId::new("n1").unwrap(), call: CallId(u64::MAX) }
    }

    fn answer(result: Result<(i32, Bytes), HubError>) -> Post {
        let of = Address::parse("d/m").unwrap();
        Post::Answer(Box::new(Replied { of, reply: reply(), result }))
    }

    #[test]
    fn a_post_comes_back_from_its_bytes() {
        let of = Address::parse("d1").unwrap();
        let asked = Asked {
            of: of.clone(),
            reply: reply(),
            name: "reboot".into(),
            payload: Bytes::from_static(br#"{"in":"5 \"s\""}"#),
            response_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_millis(1),
        };
        let during = Connection { generation: 639_355_968_000_000_000, epoch: Epoch(2) };
        let lost = HubError::new(ErrorKind::DeviceDisconnected, "gone");
        for post in [
            Post::Changed(of.clone()),
            Post::Mail(of.clone()),
            Post::Desired(of.clone(), during, 8, Bytes::from_static(br#"{"a":null,"$version":8}"#)),
            Post::Expelled(of, Gone::Disabled),
            Post::Call(Box::new(asked)),
            answer(Ok((-1, Bytes::from_static(b"null")))),
            answer(Err(lost)),
        ] {
            assert_eq!(Post::decode(&encode(&post)), Some(post));
        }
    }

    #[test]
    fn every_end_of_a_call_has_a_number_of_its_own() {
        for (number, known) in CODES {
            assert_eq!((code(known), kind(number)), (number, known));
        }
        let odd = HubError::new(ErrorKind::Forbidden, "odd");
        let Some(Post::Answer(replied)) = Post::decode(&encode(&answer(Err(odd)))) else {
            panic!("no answer");
        };
        assert_eq!(replied.result.map_err(|error| error.kind()), Err(ErrorKind::Internal));
    }

    #[test]
    fn what_is_no_post_is_none() {
        for body in
            [&b""[..], b"\x02{\"k\":\"m\",\"a\":\"d\"}", b"\x01{}", b"\x01{\"k\":\"m\",\"a\":\"\"}"]
        {
            assert_eq!(Post::decode(body), None);
        }
    }
}
