//! Events of the log as JSON, written into a buffer that the caller uses again.
//!
//! Members are written one by one and not through a document in memory: a reader of the live
//! stream takes as many events as the store gives.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::{BufMut as _, BytesMut};
use hub_core::envelope::{AuthMethod, Event, Property, SystemProperty};
use hub_core::time::Timestamp;
use std::fmt::Write as _;

use super::text;

/// Writes events. Keeps what neighbouring events have in common as text.
#[derive(Debug, Default)]
pub(crate) struct EventWriter {
    /// The last time written: events of one batch have the same.
    time: (Timestamp, String),
    /// The last authentication written, as a JSON string of a JSON document.
    auth: Option<(AuthMethod, BytesMut)>,
}

impl EventWriter {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Appends one event:
    /// `{"partition":"0","sequenceNumber":1,"offset":"1","enqueuedTime":…,"systemProperties":{…},
    /// "properties":{…},"body":base64}`.
    pub(crate) fn write(&mut self, out: &mut BytesMut, event: &Event) {
        if self.time.0 != event.enqueued || self.time.1.is_empty() {
            self.time = (event.enqueued, event.enqueued.to_string());
        }
        // Writing to memory cannot fail.
        let _ = write!(
            out,
            r#"{{"partition":"{}","sequenceNumber":{1},"offset":"{1}","enqueuedTime":""#,
            event.partition, event.sequence,
        );
        out.extend_from_slice(self.time.1.as_bytes());
        out.extend_from_slice(br#"","systemProperties":{"#);
        self.system_properties(out, event);
        out.extend_from_slice(br#"},"properties":{"#);
        for (at, (name, value)) in event.properties.application().into_iter().enumerate() {
            if at > 0 {
                out.put_u8(b',');
            }
            text(out, name);
            out.put_u8(b':');
            match value {
                Some(value) => text(out, value),
                None => out.extend_from_slice(b"null"),
            }
        }
        out.extend_from_slice(br#"},"body":""#);
        base64(out, &event.body);
        out.extend_from_slice(b"\"}");
    }

    fn system_properties(&mut self, out: &mut BytesMut, event: &Event) {
        name(out, "iothub-connection-device-id");
        text(out, event.sender.device_str());
        if let Some(module) = event.sender.module_str() {
            next(out, "iothub-connection-module-id");
            text(out, module);
        }
        if let Some(auth) = event.auth {
            next(out, "iothub-connection-auth-method");
            out.extend_from_slice(self.auth_text(auth));
            next(out, "iothub-connection-auth-generation-id");
            text(out, &event.generation);
        }
        next(out, "iothub-message-source");
        text(out, event.source.name());
        if let Some(model) = &event.model {
            next(out, "dt-dataschema");
            text(out, model);
        }
        // A sender may repeat a property; the last one counts, and a name stands only once.
        let mut given: [Option<&str>; SystemProperty::ALL.len()] =
            [None; SystemProperty::ALL.len()];
        for property in event.properties.iter() {
            if let Property::System(property, value) = property
                && let Some(at) = SystemProperty::ALL.iter().position(|known| *known == property)
                && let Some(slot) = given.get_mut(at)
            {
                *slot = Some(value);
            }
        }
        for (property, value) in SystemProperty::ALL.iter().zip(given) {
            if let Some(value) = value {
                next(out, property.name());
                text(out, value);
            }
        }
        next(out, "iothub-enqueuedtime");
        out.put_u8(b'"');
        out.extend_from_slice(self.time.1.as_bytes());
        out.put_u8(b'"');
    }

    fn auth_text(&mut self, auth: AuthMethod) -> &[u8] {
        if self.auth.as_ref().is_none_or(|(known, _)| *known != auth) {
            let mut written = BytesMut::new();
            text(&mut written, auth.to_json());
            self.auth = Some((auth, written));
        }
        self.auth.as_ref().map_or(&[], |(_, text)| text)
    }
}

/// Appends the name of a member. Names of system properties have nothing to escape.
fn name(out: &mut BytesMut, name: &str) {
    out.put_u8(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

/// Appends the name of a member that is not the first.
fn next(out: &mut BytesMut, text: &str) {
    out.put_u8(b',');
    name(out, text);
}

/// Appends base64, encoded in place.
fn base64(out: &mut BytesMut, bytes: &[u8]) {
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    let written = out
        .get_mut(start..)
        .and_then(|room| BASE64_STANDARD.encode_slice(bytes, room).ok())
        .unwrap_or(0);
    out.truncate(start + written);
}

#[cfg(test)]
mod tests {
    use super::*;
    use hub_core::envelope::{AuthScope, AuthType, EventSource, Properties};
    use hub_core::id::{Address, Partition, SequenceNumber};

    fn event(properties: Properties) -> Event {
        Event {
            partition: Partition(2),
            sequence: SequenceNumber(7),
            enqueued: Timestamp::from_millis(1_700_000_000_000),
            source: EventSource::Telemetry,
            sender: Address::parse("d1/m1").unwrap(),
            generation: "637".into(),
            auth: Some(AuthMethod { scope: AuthScope::Module, kind: AuthType::Sas }),
            model: Some("dtmi:x;1".into()),
            properties,
            body: bytes::Bytes::from_static(b"\xff\x00hello"),
        }
    }

    fn parsed(event: &Event) -> serde_json::Value {
        let mut out = BytesMut::from(&b"before"[..]);
        let mut writer = EventWriter::new();
        writer.write(&mut out, event);
        assert_eq!(&out[..6], b"before");
        // What it kept of one event must not show in another.
        let mut other = event.clone();
        other.enqueued = Timestamp::from_millis(1);
        other.auth = Some(AuthMethod { scope: AuthScope::Hub, kind: AuthType::InProcess });
        let (mut again, mut fresh) = (BytesMut::new(), BytesMut::new());
        writer.write(&mut again, &other);
        EventWriter::new().write(&mut fresh, &other);
        assert_eq!(again, fresh);
        serde_json::from_slice(&out[6..]).unwrap()
    }

    #[test]
    fn an_event_has_its_place_its_stamps_and_its_properties() {
        let properties = [
            Property::System(SystemProperty::MessageId, "old"),
            Property::System(SystemProperty::MessageId, "m\"1"),
            Property::System(SystemProperty::ContentType, "application/json"),
            Property::Application("a", Some("é\n")),
            Property::Application("bare", None),
        ];
        let want = serde_json::json!({
            "partition": "2",
            "sequenceNumber": 7,
            "offset": "7",
            "enqueuedTime": "2023-11-14T22:13:20.0000000Z",
            "systemProperties": {
                "iothub-connection-device-id": "d1",
                "iothub-connection-module-id": "m1",
                "iothub-connection-auth-method":
                    r#"{"scope":"module","type":"sas","issuer":"iothub","acceptingIpFilterRule":null}"#,
                "iothub-connection-auth-generation-id": "637",
                "iothub-message-source": "Telemetry",
                "dt-dataschema": "dtmi:x;1",
                "message-id": "m\"1",
                "content-type": "application/json",
                "iothub-enqueuedtime": "2023-11-14T22:13:20.0000000Z",
            },
            "properties": {"a": "é\n", "bare": null},
            "body": "/wBoZWxsbw==",
        });
        assert_eq!(parsed(&event(properties.into_iter().collect())), want);
    }

    #[test]
    fn an_event_that_the_hub_made_has_no_word_about_authentication() {
        let mut made = event(Properties::default());
        (made.auth, made.model) = (None, None);
        made.sender = Address::parse("d1").unwrap();
        made.source = EventSource::TwinChange;
        made.body = bytes::Bytes::new();
        let parsed = parsed(&made);
        let system = parsed["systemProperties"].as_object().unwrap();
        let names: Vec<&str> = system.keys().map(String::as_str).collect();
        let want = ["iothub-connection-device-id", "iothub-enqueuedtime", "iothub-message-source"];
        assert_eq!(names, want);
        assert_eq!(parsed["body"], "");
        assert_eq!(parsed["properties"], serde_json::json!({}));
    }
}
