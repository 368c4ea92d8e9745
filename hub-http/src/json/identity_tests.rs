use super::*;
use hub_core::limits::Limits;
use hub_core::registry::{AuthenticationSpec, Context, Status, create};
use hub_core::session::Session;
use hub_core::time::Timestamp;
use serde_json::{Value, json};

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn read(path: &str, document: &Value) -> Result<IdentitySpec, Problem> {
    spec(address(path), Object::of(document, "the body")?)
}

fn registered(path: &str, document: &Value) -> Registration {
    let spec = read(path, document).unwrap();
    let context = Context {
        now: Timestamp::from_millis(1_577_581_129_931),
        random: &std::array::from_fn(|at| u8::try_from(at).unwrap()),
        limits: &Limits::default(),
        edges: &[],
        previous_generation: None,
    };
    let identity = create(&spec, &context).unwrap();
    Registration { identity, session: Session::default(), messages: 3 }
}

#[test]
fn a_device_has_the_members_that_the_sdks_read() {
    let shown = json!(IdentityJson(&registered("d1", &json!({"statusReason": "why"}))));
    let keys = &shown["authentication"]["symmetricKey"];
    assert!(keys["primaryKey"].is_string() && keys["secondaryKey"].is_string());
    assert_ne!(keys["primaryKey"], keys["secondaryKey"]);
    let etag = shown["etag"].as_str().unwrap();
    let want = json!({
        "deviceId": "d1",
        "generationId": "637131779299310000",
        "etag": etag,
        "connectionState": "Disconnected",
        "status": "enabled",
        "statusReason": "why",
        "statusUpdatedTime": "0001-01-01T00:00:00.0000000Z",
        "connectionStateUpdatedTime": "0001-01-01T00:00:00.0000000Z",
        "lastActivityTime": "0001-01-01T00:00:00.0000000Z",
        "cloudToDeviceMessageCount": 3,
        "authentication": {
            "symmetricKey": keys,
            "x509Thumbprint": {"primaryThumbprint": null, "secondaryThumbprint": null},
            "type": "sas",
        },
        "capabilities": {"iotEdge": false},
        "parentScopes": [],
    });
    assert_eq!(shown, want);
}

#[test]
fn an_edge_device_shows_its_scope_and_a_module_its_manager() {
    let edge = json!(IdentityJson(&registered("e1", &json!({"capabilities": {"iotEdge": true}}))));
    assert_eq!(edge["deviceScope"], "ms-azure-iot-edge://e1-637131779299310000");
    let module = registered("d1/m1", &json!({"managedBy": "iotEdge", "status": "enabled"}));
    let module = json!(IdentityJson(&module));
    assert_eq!((&module["moduleId"], &module["managedBy"]), (&json!("m1"), &json!("iotEdge")));
    for absent in ["status", "capabilities", "deviceScope"] {
        assert!(module.get(absent).is_none(), "{absent}");
    }
}

#[test]
fn what_the_sdks_send_is_understood() {
    let generated = AuthenticationSpec::Sas { primary: None, secondary: None };
    for (document, want) in [
        (json!({}), None),
        (json!({"authentication": {"symmetricKey": {}, "type": "sas"}}), Some(generated.clone())),
        (
            json!({"authentication": {"type": "sas", "symmetricKey": {"primaryKey": "", "secondaryKey": ""}}}),
            Some(generated),
        ),
        (
            json!({"authentication": {"type": "certificateAuthority"}}),
            Some(AuthenticationSpec::CertificateAuthority),
        ),
        (json!({"authentication": {"Type": "None"}}), Some(AuthenticationSpec::None)),
        (json!({"authentication": {}}), None),
        (json!({"authentication": null}), None),
    ] {
        assert_eq!(read("d1", &document).unwrap().authentication, want, "{document}");
    }
    let print = "ab".repeat(20);
    let document = json!({"authentication": {"x509Thumbprint": {"primaryThumbprint": print}}});
    let want = AuthenticationSpec::SelfSigned {
        primary: Some(Thumbprint::new(&print).unwrap()),
        secondary: None,
    };
    assert_eq!(read("d1", &document).unwrap().authentication, Some(want));
}

#[test]
fn a_document_that_was_read_can_be_sent_back() {
    let before = registered("d1", &json!({"status": "disabled", "statusReason": null}));
    let document = json!(IdentityJson(&before));
    let spec = read("d1", &document).unwrap();
    assert_eq!(spec.status, Some(Status::Disabled));
    assert_eq!(spec.status_reason.as_deref(), Some(""));
    assert_eq!(spec.iot_edge, Some(false));
    assert_eq!(spec.parent_scopes, Some(Vec::new()));
    let Authentication::Sas { primary, secondary } = before.identity.authentication() else {
        panic!("no keys")
    };
    let want = AuthenticationSpec::Sas {
        primary: Some(primary.clone()),
        secondary: Some(secondary.clone()),
    };
    assert_eq!(spec.authentication, Some(want));
}

#[test]
fn bad_members_are_named() {
    for (document, word) in [
        (json!([]), "the body"),
        (json!({"status": "asleep"}), "status"),
        (json!({"status": 1}), "status"),
        (json!({"statusReason": {}}), "statusReason"),
        (json!({"authentication": "sas"}), "authentication"),
        (json!({"authentication": {"type": "magic"}}), "type"),
        (json!({"authentication": {"symmetricKey": {"primaryKey": "!"}}}), "base64"),
        (json!({"authentication": {"symmetricKey": {"primaryKey": "A".repeat(88)}}}), "bytes"),
        (json!({"authentication": {"x509Thumbprint": {"primaryThumbprint": "zz"}}}), "thumbprint"),
        (json!({"capabilities": {"iotEdge": "yes"}}), "iotEdge"),
        (json!({"parentScopes": "x"}), "parentScopes"),
        (json!({"parentScopes": [1]}), "parentScopes"),
    ] {
        let problem = read("d1", &document).unwrap_err();
        assert_eq!(problem.code().0, 400_004, "{document}");
        assert!(problem.message().contains(word), "{document}: {}", problem.message());
    }
}

#[test]
fn the_body_is_about_what_the_path_names() {
    let check = |path, document: Value| {
        check_subject(&address(path), Object::of(&document, "the body").unwrap()).is_ok()
    };
    assert!(check("d1", json!({})));
    assert!(check("d1", json!({"deviceId": "d1", "moduleId": "ignored"})));
    assert!(!check("d1", json!({"deviceId": "d2"})));
    assert!(check("d1/m1", json!({"DeviceId": "d1", "moduleId": "m1"})));
    assert!(!check("d1/m1", json!({"deviceId": "d1", "moduleId": "m2"})));
    assert!(!check("d1", json!({"deviceId": 7})));
}
