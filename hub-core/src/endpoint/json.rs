//! An event as JSON text: the form in which endpoints outside of the hub get it.
//!
//! ```json
//! {"EnqueuedTimeUtc":"2026-01-05T10:00:00.0000000Z","Partition":"0","SequenceNumber":7,
//!  "Properties":{"kind":"alarm"},"SystemProperties":{"connectionDeviceId":"d1"},"Body":{"t":50}}
//! ```
//!
//! It is the form that IoT Hub writes to storage, with the event's place beside it. A body that is
//! JSON in UTF-8, and says so by its content type and encoding, stands there as it is, without
//! blanks between its parts; every other body as text in base64.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::value::RawValue;

use crate::envelope::{Event, Property, SystemProperty};

/// Appends an event as JSON text on one line, without an end of line.
pub fn write_event(out: &mut Vec<u8>, event: &Event) {
    let mut writer = serde_json::Serializer::new(&mut *out);
    let written = write(&mut writer, event);
    // Names and values are text, so there is nothing that JSON could not say.
    debug_assert!(written.is_ok(), "{written:?}");
}

fn write(
    writer: &mut serde_json::Serializer<&mut Vec<u8>>,
    event: &Event,
) -> Result<(), serde_json::Error> {
    let mut map = writer.serialize_map(None)?;
    map.serialize_entry("EnqueuedTimeUtc", &event.enqueued.to_string())?;
    map.serialize_entry("Partition", &event.partition.to_string())?;
    map.serialize_entry("SequenceNumber", &event.sequence.0)?;
    map.serialize_entry("Properties", &Application(event))?;
    map.serialize_entry("SystemProperties", &System(event))?;
    match document(event) {
        Some(text) => map.serialize_entry("Body", &RawValue::from_string(text)?)?,
        None => map.serialize_entry("Body", &BASE64_STANDARD.encode(&event.body))?,
    }
    SerializeMap::end(map)
}

struct Application<'e>(&'e Event);

impl Serialize for Application<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.properties.application())
    }
}

struct System<'e>(&'e Event);

impl Serialize for System<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let event = self.0;
        let mut map = serializer.serialize_map(None)?;
        // A sender may repeat a property; the last one counts.
        let mut given: Vec<(SystemProperty, &str)> = Vec::new();
        for property in event.properties.iter() {
            if let Property::System(name, value) = property {
                given.retain(|(known, _)| *known != name);
                given.push((name, value));
            }
        }
        for (name, value) in given {
            map.serialize_entry(system_name(name), value)?;
        }
        map.serialize_entry("connectionDeviceId", event.sender.device_str())?;
        if let Some(module) = event.sender.module_str() {
            map.serialize_entry("connectionModuleId", module)?;
        }
        if let Some(auth) = event.auth {
            map.serialize_entry("connectionAuthMethod", auth.to_json())?;
            map.serialize_entry("connectionDeviceGenerationId", &event.generation)?;
        }
        if let Some(model) = &event.model {
            map.serialize_entry("dt-dataschema", model)?;
        }
        map.serialize_entry("iothub-message-source", event.source.name())?;
        map.serialize_entry("enqueuedTime", &event.enqueued.to_string())?;
        map.end()
    }
}

/// The name of a system property in storage.
const fn system_name(name: SystemProperty) -> &'static str {
    match name {
        SystemProperty::MessageId => "messageId",
        SystemProperty::CorrelationId => "correlationId",
        SystemProperty::UserId => "userId",
        SystemProperty::ContentType => "contentType",
        SystemProperty::ContentEncoding => "contentEncoding",
        other => other.name(),
    }
}

/// The body as JSON text on one line, if it is JSON and says so.
fn document(event: &Event) -> Option<String> {
    let kind = event.system(SystemProperty::ContentType)?;
    let (media, parameters) = kind.split_once(';').unwrap_or((kind, ""));
    let media = media.trim();
    let json = media.eq_ignore_ascii_case("application/json")
        || media.eq_ignore_ascii_case("application/json-patch+json");
    let charset = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"'))
    });
    let encoding = event.system(SystemProperty::ContentEncoding).or(charset)?;
    if !json || !encoding.eq_ignore_ascii_case("utf-8") {
        return None;
    }
    let text: &RawValue = serde_json::from_slice(&event.body).ok()?;
    Some(on_one_line(text.get()))
}

/// Drops what blanks there are between the parts of a JSON text. Numbers stay as they are written.
fn on_one_line(text: &str) -> String {
    let (mut inside, mut escaped) = (false, false);
    let keep = |c: &char| {
        let blank = !inside && matches!(c, ' ' | '\t' | '\n' | '\r');
        match (*c, escaped) {
            ('"', false) => inside = !inside,
            ('\\', false) if inside => {
                escaped = true;
                return true;
            }
            _ => {}
        }
        escaped = false;
        !blank
    };
    text.chars().filter(keep).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::{AuthMethod, AuthScope, AuthType, EventSource, Properties};
    use crate::id::{Address, Partition, SequenceNumber};
    use crate::time::Timestamp;
    use serde_json::{Value, json};

    fn event(properties: &[Property<'_>], body: &'static [u8]) -> Event {
        Event {
            partition: Partition(2),
            sequence: SequenceNumber(7),
            enqueued: Timestamp::from_millis(1_700_000_000_000),
            source: EventSource::Telemetry,
            sender: Address::parse("d1/m1").unwrap(),
            generation: "637".into(),
            auth: Some(AuthMethod { scope: AuthScope::Module, kind: AuthType::Sas }),
            model: Some("dtmi:x;1".into()),
            properties: properties.iter().copied().collect::<Properties>(),
            body: bytes::Bytes::from_static(body),
        }
    }

    fn written(event: &Event) -> String {
        let mut out = b"before".to_vec();
        write_event(&mut out, event);
        String::from_utf8(out).unwrap().strip_prefix("before").unwrap().to_owned()
    }

    const JSON: [Property<'static>; 2] = [
        Property::System(SystemProperty::ContentType, "application/json"),
        Property::System(SystemProperty::ContentEncoding, "UTF-8"),
    ];

    #[test]
    fn an_event_has_its_place_its_properties_and_its_body() {
        let properties = [
            JSON[0],
            JSON[1],
            Property::System(SystemProperty::MessageId, "old"),
            Property::System(SystemProperty::MessageId, "m1"),
            Property::Application("a", Some("é\n")),
            Property::Application("bare", None),
        ];
        let text = written(&event(&properties, b"{ \"t\" :\n 1.50, \"s\": \"a \\\" b\" }"));
        assert!(text.ends_with(r#""Body":{"t":1.50,"s":"a \" b"}}"#), "{text}");
        let parsed: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(parsed["EnqueuedTimeUtc"], "2023-11-14T22:13:20.0000000Z");
        assert_eq!((&parsed["Partition"], &parsed["SequenceNumber"]), (&json!("2"), &json!(7)));
        assert_eq!(parsed["Properties"], json!({"a": "é\n", "bare": null}));
        assert_eq!(
            parsed["SystemProperties"],
            json!({
                "contentType": "application/json",
                "contentEncoding": "UTF-8",
                "messageId": "m1",
                "connectionDeviceId": "d1",
                "connectionModuleId": "m1",
                "connectionAuthMethod":
                    r#"{"scope":"module","type":"sas","issuer":"iothub","acceptingIpFilterRule":null}"#,
                "connectionDeviceGenerationId": "637",
                "dt-dataschema": "dtmi:x;1",
                "iothub-message-source": "Telemetry",
                "enqueuedTime": "2023-11-14T22:13:20.0000000Z",
            })
        );
    }

    #[test]
    fn a_body_that_is_no_json_or_does_not_say_so_is_base64() {
        let plain = [Property::System(SystemProperty::ContentType, "text/plain"), JSON[1]];
        for (properties, body, want) in [
            (&JSON[..], &b"{\"a\":[1, 2]}"[..], json!({"a": [1, 2]})),
            (&JSON, b"[1]", json!([1])),
            (&JSON, b"{", json!("ew==")),
            (&JSON, b"", json!("")),
            (&JSON, b"\"\xff\"", json!("Iv8i")),
            (&JSON[..1], b"{}", json!("e30=")),
            (&JSON[1..], b"{}", json!("e30=")),
            (&plain, b"{}", json!("e30=")),
            (&[], b"\xff\x00", json!("/wA=")),
        ] {
            let parsed: Value = serde_json::from_str(&written(&event(properties, body))).unwrap();
            assert_eq!(parsed["Body"], want, "{body:?}");
        }
        let charset =
            [Property::System(SystemProperty::ContentType, "application/json; charset=utf-8")];
        let parsed: Value = serde_json::from_str(&written(&event(&charset, b"{}"))).unwrap();
        assert_eq!(parsed["Body"], json!({}));
    }

    #[test]
    fn it_is_always_one_line() {
        let text = written(&event(&JSON, b"{\r\n\t\"a\\\\\": \"x\\\\\", \"b\": \"\\\\\\\" \"\n}"));
        assert!(!text.contains(['\n', '\r', '\t']));
        let parsed: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(parsed["Body"], json!({"a\\": "x\\", "b": "\\\" "}));
    }
}
