//! Digital twins: reading, patching, and what a write did.

use serde_json::{Value, json};

use super::*;
use crate::error::ErrorKind;
use crate::id::Address;
use crate::limits::Limits;
use crate::time::Timestamp;
use crate::twin::{Patch, ServicePatch, Twin};

const MODEL: &str = "dtmi:com:example:TemperatureController;1";

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(1_600_000_000_000 + millis)
}

fn twin(desired: &Value, reported: &Value) -> Twin {
    let limits = Limits::default();
    let mut twin = Twin::new(Timestamp::ZERO);
    let write = json!({ "properties": { "desired": desired } });
    let write = ServicePatch::from_value(&write, &limits).unwrap();
    twin.patch(&write, None, at(1), &limits).unwrap();
    let report = Patch::from_value(reported, &limits).unwrap();
    twin.report(&report, None, at(2), &limits).unwrap();
    twin
}

fn digital(twin: &Twin) -> Value {
    twin.digital(&Address::parse("my-pnp-device").unwrap(), MODEL)
}

#[test]
fn a_twin_is_read_as_properties_and_components() {
    let twin = twin(
        &json!({"thermostat1": {"__t": "c", "targetTemperature": 20.4}, "interval": 5}),
        &json!({
            "serialNumber": "alwinexlepaho8329",
            "thermostat1": {
                "__t": "c",
                "maxTempSinceLastReboot": 25.3,
                "targetTemperature": {"value": 20.4, "ac": 200, "av": 4, "ad": "ok"},
            },
        }),
    );
    let (wanted, shown) = (at(1).to_string(), at(2).to_string());
    let want = json!({
        "$dtId": "my-pnp-device",
        "serialNumber": "alwinexlepaho8329",
        "thermostat1": {
            "maxTempSinceLastReboot": 25.3,
            "targetTemperature": 20.4,
            "$metadata": {
                "targetTemperature": {
                    "desiredValue": 20.4, "desiredVersion": 2, "ackVersion": 4, "ackCode": 200,
                    "ackDescription": "ok", "lastUpdateTime": shown,
                },
                "maxTempSinceLastReboot": {"lastUpdateTime": shown},
            },
        },
        "$metadata": {
            "$model": MODEL,
            "serialNumber": {"lastUpdateTime": shown},
            "interval": {"desiredValue": 5, "desiredVersion": 2, "lastUpdateTime": wanted},
        },
    });
    assert_eq!(digital(&twin), want);
}

/// The desired properties after a patch, or why there are none.
fn patched(twin: &Twin, operations: &Value) -> Result<Value, (ErrorKind, String)> {
    let told = |error: crate::error::HubError| (error.kind(), error.message().to_owned());
    let limits = Limits::default();
    let patch = DigitalPatch::parse(operations.to_string().as_bytes());
    let patch = patch.map_err(|error| told(error.into()))?;
    let write = patch.resolve(twin, &limits).map_err(told)?;
    let mut twin = twin.clone();
    twin.patch(&write, None, at(3), &limits).unwrap();
    Ok(twin.desired().to_value())
}

#[test]
fn patches_write_desired_properties() {
    let before = twin(
        &json!({"a": {"x": 1, "y": {"z": 2}}, "c": {"__t": "c", "p": 1, "q": {"r": 1}}}),
        &json!({"shown": 1, "k": {"__t": "c", "s": 1}}),
    );
    let a = json!({"x": 1, "y": {"z": 2}});
    let c = json!({"__t": "c", "p": 1, "q": {"r": 1}});
    for (operations, want) in [
        (json!([]), json!({"a": a, "c": c})),
        (json!([{"op": "add", "path": "/new", "value": 7}]), json!({"a": a, "c": c, "new": 7})),
        // What is set replaces, it does not merge.
        (
            json!([{"op": "replace", "path": "/a", "value": {"y": {"w": 3}}}]),
            json!({"a": {"y": {"w": 3}}, "c": c}),
        ),
        (
            json!([{"op": "replace", "path": "/c/q", "value": {"s": 2}}]),
            json!({"a": a, "c": {"__t": "c", "p": 1, "q": {"s": 2}}}),
        ),
        (json!([{"op": "remove", "path": "/a"}]), json!({"c": c})),
        (
            json!([{"op": "remove", "path": "/c/p"}, {"op": "add", "path": "/c/n", "value": "v"}]),
            json!({"a": a, "c": {"__t": "c", "n": "v", "q": {"r": 1}}}),
        ),
        (json!([{"op": "remove", "path": "/c"}]), json!({"a": a})),
        // A component that only the device has shown, or nobody.
        (
            json!([{"op": "replace", "path": "/k/s", "value": true}]),
            json!({"a": a, "c": c, "k": {"__t": "c", "s": true}}),
        ),
        (
            json!([{"op": "add", "path": "/n", "value": {"$metadata": {}, "p": 1}}]),
            json!({"a": a, "c": c, "n": {"__t": "c", "p": 1}}),
        ),
        (
            json!([{"op": "add", "path": "/c", "value": {"$metadata": {}, "p": 2}}]),
            json!({"a": a, "c": {"__t": "c", "p": 2}}),
        ),
        (
            json!([{"op": "remove", "path": "/c"}, {"op": "add", "path": "/c/p", "value": 5}]),
            json!({"a": a, "c": {"__t": "c", "p": 5}}),
        ),
    ] {
        assert_eq!(patched(&before, &operations), Ok(want), "{operations}");
    }
}

#[test]
fn bad_patches_are_refused() {
    let before = twin(&json!({"a": {"x": 1}, "c": {"__t": "c", "p": 1}}), &json!({"shown": 1}));
    let (patch, path, value) = (
        ErrorKind::DigitalTwinPatchInvalid,
        ErrorKind::DigitalTwinPathInvalid,
        ErrorKind::DigitalTwinValueInvalid,
    );
    let deep = (0..6).fold(json!(1), |inner, _| json!({ "a": inner }));
    for (operations, kind) in [
        (json!({}), patch),
        (json!([{"op": "add"}]), patch),
        (json!([{"op": "add", "path": "/a"}]), patch),
        (json!([{"op": "test", "path": "/a", "value": 1}]), patch),
        (json!([{"op": "move", "path": "/a", "from": "/c"}]), patch),
        (json!([{"op": "add", "path": "a", "value": 1}]), path),
        (json!([{"op": "add", "path": "", "value": {}}]), path),
        (json!([{"op": "add", "path": "/", "value": 1}]), path),
        (json!([{"op": "add", "path": "/$metadata", "value": {}}]), path),
        (json!([{"op": "add", "path": "/c/p/q", "value": 1}]), path),
        (json!([{"op": "add", "path": "/1a", "value": 1}]), path),
        (json!([{"op": "add", "path": "/a_", "value": 1}]), path),
        (json!([{"op": "add", "path": "/a/x", "value": 1}]), path),
        (json!([{"op": "add", "path": "/shown/x", "value": 1}]), path),
        (json!([{"op": "add", "path": "/c", "value": 1}]), path),
        (json!([{"op": "add", "path": "/a", "value": {"$metadata": {}}}]), path),
        (json!([{"op": "replace", "path": "/gone", "value": 1}]), path),
        (json!([{"op": "replace", "path": "/c/gone", "value": 1}]), path),
        (json!([{"op": "remove", "path": "/gone"}]), path),
        (json!([{"op": "remove", "path": "/shown"}]), path),
        (json!([{"op": "remove", "path": "/a"}, {"op": "remove", "path": "/a"}]), path),
        (json!([{"op": "add", "path": "/a", "value": [1]}]), value),
        (json!([{"op": "add", "path": "/a", "value": null}]), value),
        (json!([{"op": "add", "path": "/a", "value": {"x": {"y": null}}}]), value),
        (json!([{"op": "add", "path": "/a", "value": deep}]), value),
        (json!([{"op": "add", "path": "/c/d", "value": {"$metadata": {}}}]), value),
        (json!([{"op": "add", "path": "/d", "value": {"$metadata": 1}}]), value),
        (json!([{"op": "add", "path": "/d", "value": {"$metadata": {}, "$x": 1}}]), value),
        // What no twin could have is refused as it is in any patch.
        (json!([{"op": "add", "path": "/a", "value": {"b.c": 1}}]), ErrorKind::ArgumentInvalid),
        (json!([{"op": "add", "path": "/a", "value": 1_u64 << 60}]), ErrorKind::ArgumentInvalid),
    ] {
        let refused = patched(&before, &operations).map_err(|(kind, _)| kind);
        assert_eq!(refused, Err(kind), "{operations}");
    }
    let many = vec![json!({"op": "add", "path": "/a", "value": 1}); 1001];
    assert_eq!(patched(&before, &json!(many)).unwrap_err().0, patch);
}

#[test]
fn what_a_write_did_is_told_as_a_patch() {
    let (nothing, limits) = (json!({}), Limits::default());
    let mut after = twin(&json!({"c": {"__t": "c", "p": 1}}), &nothing);
    let before = digital(&after);
    assert_eq!(digital_changes(&before, &before), json!([]));
    let report =
        json!({"maxTemp": 10.96, "c": {"__t": "c", "p": {"value": 1, "ac": 200, "av": 2}}});
    let report = Patch::from_value(&report, &limits).unwrap();
    after.report(&report, None, at(5), &limits).unwrap();
    let (told, time) = (digital_changes(&before, &digital(&after)), at(5).to_string());
    let about = json!({
        "desiredValue": 1, "desiredVersion": 2, "ackCode": 200, "ackVersion": 2,
        "lastUpdateTime": time,
    });
    let want = json!([
        {"op": "add", "path": "/$metadata/maxTemp", "value": {"lastUpdateTime": time}},
        {"op": "replace", "path": "/c/$metadata/p", "value": about},
        {"op": "add", "path": "/c/p", "value": 1},
        {"op": "add", "path": "/maxTemp", "value": 10.96},
    ]);
    assert_eq!(told, want);
    let gone = Patch::from_value(&json!({"maxTemp": null, "c": null}), &limits).unwrap();
    let before = digital(&after);
    after.report(&gone, None, at(6), &limits).unwrap();
    let paths: Vec<Value> = digital_changes(&before, &digital(&after))
        .as_array()
        .unwrap()
        .iter()
        .map(|operation| json!([operation["op"], operation["path"]]))
        .collect();
    let want = [
        json!(["remove", "/$metadata/maxTemp"]),
        json!(["replace", "/c/$metadata/p"]),
        json!(["remove", "/c/p"]),
        json!(["remove", "/maxTemp"]),
    ];
    assert_eq!(paths, want);
}
