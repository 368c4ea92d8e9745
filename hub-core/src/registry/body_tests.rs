use proptest::prelude::*;

use super::*;
use crate::registry::fixtures::*;
use crate::registry::{AuthenticationSpec, IdentitySpec, create};

#[test]
fn bodies_of_the_first_format_are_read_for_ever() {
    let generation = NOW.as_ticks();
    let body = br#"{"format":1,"address":"d1","generation":640290528000000000,"revision":5,
        "created":1893456000000,"enabled":false,"statusReason":"lo\"st","statusUpdated":7,
        "authentication":{"type":"sas","primary":"AAECAwQFBgcICQoLDA0ODw==",
        "secondary":"AAECAwQFBgcICQoLDA0ODw=="},"later":[1]}"#;
    let identity = Identity::decode(body).unwrap();
    assert_eq!((identity.generation(), identity.created()), (generation, NOW));
    assert_eq!((identity.status_reason(), identity.revision), (Some("lo\"st"), 5));
    assert_eq!(identity.status_updated(), Timestamp::from_millis(7));
    // A store may keep the members in another order and with other blanks.
    let value: serde_json::Value = serde_json::from_slice(&identity.encode()).unwrap();
    let pretty = serde_json::to_vec_pretty(&value).unwrap();
    assert_eq!(Identity::decode(&pretty), Ok(identity));
}

#[test]
fn what_is_no_identity_is_told() {
    use DecodeError as E;
    let good = String::from_utf8(device("d1", 1).encode().to_vec()).unwrap();
    let decode = |body: &str| Identity::decode(body.as_bytes()).unwrap_err();
    assert_eq!(decode(""), E::Shape);
    assert_eq!(decode("{}"), E::Shape);
    assert_eq!(decode("[1]"), E::Shape);
    assert_eq!(decode(r#"{"format":1}"#), E::Shape);
    assert_eq!(decode(r#"{"format":2,"new":"shape"}"#), E::Format(2));
    assert_eq!(decode(&good.replace("\"d1\"", "\"d 1\"")), E::Value("address"));
    let secret = key(1).to_base64().to_owned();
    assert_eq!(decode(&good.replace(&secret, "AA")), E::Value("key"));
    let thumbprint = r#"{"type":"selfSigned","primary":"xy"}"#;
    let start = good.find(r#"{"type""#).unwrap();
    let end = start + good[start..].find('}').unwrap() + 1;
    let body = format!("{}{thumbprint}{}", &good[..start], &good[end..]);
    assert_eq!(decode(&body), E::Value("thumbprint"));
}

#[test]
fn nothing_that_holds_a_secret_prints_it() {
    let planted = || SymmetricKey::from_base64("UGxhbnRlZFNlY3JldFBsYW50ZWRTZWNyZXQ=").unwrap();
    let wish = IdentitySpec {
        authentication: Some(AuthenticationSpec::Sas {
            primary: Some(planted()),
            secondary: Some(planted()),
        }),
        ..spec("d1")
    };
    let random = *b"PlantedSecretPlantedSecretPlantedSecretPlantedSecretPlantedSecre";
    let identity = create(&wish, &context(&random)).unwrap();
    let body = String::from_utf8(identity.encode().to_vec()).unwrap();
    assert!(body.contains("UGxhbnRlZFNlY3Jld"), "the body has it");
    let broken = Identity::decode(body.replace("\"revision\"", "\"rev\"").as_bytes()).unwrap_err();
    let refused = change(&identity, &IdentitySpec { address: address("d2"), ..wish.clone() });
    let printed = [
        format!("{wish:?} {wish:#?} {identity:?} {identity:#?} {:?}", identity.authentication()),
        format!("{:?} {broken:?} {broken} {refused:?}", context(&random)),
    ]
    .concat();
    for secret in ["UGxhbnRlZFNl", "PlantedSecret", "80, 108, 97"] {
        assert!(!printed.contains(secret), "{secret} in {printed}");
    }
}

fn identities() -> impl Strategy<Value = Identity> {
    let authentication = prop_oneof![
        any::<([u8; 32], [u8; 32])>().prop_map(|(primary, secondary)| Authentication::Sas {
            primary: SymmetricKey::generate(&primary),
            secondary: SymmetricKey::generate(&secondary),
        }),
        (proptest::option::of("[0-9a-fA-F]{40}"), proptest::option::of("[0-9a-f]{64}")).prop_map(
            |(primary, secondary)| Authentication::SelfSigned {
                primary: primary.map(|hex| Thumbprint::new(&hex).unwrap()),
                secondary: secondary.map(|hex| Thumbprint::new(&hex).unwrap()),
            }
        ),
        Just(Authentication::CertificateAuthority),
        Just(Authentication::None),
    ];
    let text = || proptest::option::of("\\PC{1,20}".prop_map(|text| Arc::from(&*text)));
    let parts = ("[a-z%@]{1,9}(/[a-z$]{1,9})?", any::<(u64, u64, u64, u64, bool, bool)>());
    (parts, authentication, text(), text(), text(), text()).prop_map(
        |((name, numbers), authentication, status_reason, device_scope, parent, managed_by)| {
            let (generation, revision, created, status_updated, enabled, iot_edge) = numbers;
            Identity {
                address: address(&name),
                generation,
                revision,
                status: if enabled { Status::Enabled } else { Status::Disabled },
                status_reason,
                status_updated: Timestamp::from_millis(status_updated),
                authentication,
                iot_edge,
                device_scope,
                parent_scopes: parent.into_iter().collect(),
                managed_by,
                created: Timestamp::from_millis(created),
            }
        },
    )
}

proptest! {
    #[test]
    fn encoding_is_the_identity(identity in identities()) {
        prop_assert_eq!(Identity::decode(&identity.encode()), Ok(identity));
    }

    #[test]
    fn no_body_panics(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Identity::decode(&body).is_err());
    }
}
