use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::security::{
    AuthenticationKind, Registered as _, SymmetricKey, Thumbprint, admit_device, still_valid,
};

const NOW: Timestamp = Timestamp::from_millis(1_893_456_000_000);

static LIMITS: std::sync::LazyLock<Limits> = std::sync::LazyLock::new(Limits::default);

fn context(random: &[u8; 64]) -> Context<'_> {
    Context { now: NOW, random, limits: &LIMITS, edges: &[], previous_generation: None }
}

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn spec(text: &str) -> IdentitySpec {
    IdentitySpec::new(address(text))
}

fn key(seed: u8) -> SymmetricKey {
    SymmetricKey::generate(&[seed; 32])
}

fn print(hex: &str) -> Thumbprint {
    Thumbprint::new(&hex.repeat(20)).unwrap()
}

/// A device as it is without special wishes, made of bytes of this seed.
fn device(text: &str, seed: u8) -> Identity {
    create(&spec(text), &context(&[seed; 64])).unwrap()
}

fn edge(text: &str) -> Identity {
    let spec = IdentitySpec { iot_edge: Some(true), ..spec(text) };
    create(&spec, &context(&[1; 64])).unwrap()
}

fn change(identity: &Identity, spec: &IdentitySpec) -> Result<Identity, HubError> {
    update(identity, spec, Some(&IfMatch::Any), &context(&[9; 64]))
}

#[track_caller]
fn refused<T: std::fmt::Debug>(answer: Result<T, HubError>, kind: ErrorKind) {
    assert_eq!(answer.map_err(|error| error.kind()).unwrap_err(), kind);
}

#[test]
fn a_new_device_is_enabled_and_has_two_generated_keys() {
    let random = std::array::from_fn(|at| u8::try_from(at).unwrap());
    let identity = create(&spec("d1"), &context(&random)).unwrap();
    let mut halves = [[0; 32]; 2];
    halves[0].copy_from_slice(&random[..32]);
    halves[1].copy_from_slice(&random[32..]);
    let [primary, secondary] = halves.each_ref().map(SymmetricKey::generate);
    assert_eq!(identity.authentication(), &Authentication::Sas { primary, secondary });
    assert_eq!((identity.status(), identity.is_enabled()), (Status::Enabled, true));
    assert_eq!((identity.status_reason(), identity.status_updated()), (None, Timestamp::ZERO));
    assert_eq!((identity.device_scope(), identity.parent_scopes().count()), (None, 0));
    assert_eq!((identity.managed_by(), identity.iot_edge()), (None, false));
    assert_eq!((identity.created(), identity.generation()), (NOW, NOW.as_ticks()));
    assert_eq!(identity.address(), &address("d1"));
}

#[test]
fn what_is_asked_for_is_what_there_is() {
    let mut wish = spec("d1");
    wish.status = Some(Status::Disabled);
    wish.status_reason = Some("lost".into());
    wish.authentication = Some(AuthenticationSpec::Sas { primary: Some(key(3)), secondary: None });
    let identity = create(&wish, &context(&[4; 64])).unwrap();
    assert_eq!((identity.status(), identity.status_reason()), (Status::Disabled, Some("lost")));
    let want = Authentication::Sas { primary: key(3), secondary: key(4) };
    assert_eq!(identity.authentication(), &want);
    for (wish, kind) in [
        (AuthenticationSpec::CertificateAuthority, AuthenticationKind::CertificateAuthority),
        (AuthenticationSpec::None, AuthenticationKind::None),
        (
            AuthenticationSpec::SelfSigned { primary: None, secondary: Some(print("ab")) },
            AuthenticationKind::SelfSigned,
        ),
    ] {
        let wish = IdentitySpec { authentication: Some(wish), ..spec("d1") };
        let identity = create(&wish, &context(&[4; 64])).unwrap();
        assert_eq!(identity.authentication().kind(), kind);
    }
    let nothing = AuthenticationSpec::SelfSigned { primary: None, secondary: None };
    let wish = IdentitySpec { authentication: Some(nothing), ..spec("d1") };
    refused(create(&wish, &context(&[4; 64])), ErrorKind::ArgumentInvalid);
}

#[test]
fn generations_grow_even_if_the_clock_goes_back() {
    let at = |millis, previous| {
        let now = Timestamp::from_millis(millis);
        let context = Context { now, previous_generation: previous, ..context(&[1; 64]) };
        create(&spec("d1"), &context).unwrap().generation()
    };
    let first = at(1000, None);
    assert_eq!(first, Timestamp::from_millis(1000).as_ticks());
    let second = at(1000, Some(first));
    let third = at(5, Some(second));
    assert_eq!((second, third), (first + 1, first + 2));
    assert_eq!(at(1001, Some(third)), first + 10_000);
}

#[test]
fn an_etag_is_base64_of_a_number_and_changes_with_every_update() {
    let mut identity = device("d1", 1);
    let decode = |etag: String| {
        use base64::Engine as _;
        let text = base64::prelude::BASE64_STANDARD.decode(etag).unwrap();
        String::from_utf8(text).unwrap().parse::<u64>().unwrap()
    };
    for _ in 0..3 {
        let next = change(&identity, &spec("d1")).unwrap();
        assert_eq!(decode(next.etag()), decode(identity.etag()) + 1);
        assert_eq!(next.generation(), identity.generation());
        identity = next;
    }
    // The reference has this pair.
    let captured = Identity { revision: 795_214_636, ..identity };
    assert_eq!(captured.etag(), "Nzk1MjE0NjM2");
}

#[test]
fn the_etag_of_a_deleted_identity_is_not_that_of_the_next() {
    let old = device("d1", 1);
    let context = Context { previous_generation: Some(old.generation()), ..context(&[2; 64]) };
    let new = create(&spec("d1"), &context).unwrap();
    refused(check_delete(&new, Some(&IfMatch::parse(&old.etag()))), ErrorKind::PreconditionFailed);
    assert_ne!(device("d1", 1).etag(), device("d1", 2).etag());
}

#[test]
fn conditions_are_read_with_quotes_and_without() {
    let etag = |text: &str| IfMatch::Etag(text.to_owned());
    for (text, want) in [
        ("*", IfMatch::Any),
        ("\"*\"", IfMatch::Any),
        (" \"*\" ", IfMatch::Any),
        ("MQ==", etag("MQ==")),
        ("\"MQ==\"", etag("MQ==")),
        ("W/\"MQ==\"", etag("MQ==")),
        ("\"\"MQ==\"\"", etag("\"MQ==\"")),
        ("\"MQ==", etag("\"MQ==")),
        ("\"", etag("\"")),
        ("", etag("")),
    ] {
        assert_eq!(IfMatch::parse(text), want, "{text}");
    }
    assert!(!IfMatch::parse("").accepts("MQ=="), "an empty condition is not none");
}

#[test]
fn put_creates_without_a_condition_and_updates_with_one() {
    let (one, wish, random) = (device("d1", 1), spec("d1"), [5; 64]);
    let put = |existing: Option<&Identity>, condition: Option<&str>| {
        let condition = condition.map(IfMatch::parse);
        put(existing, &wish, condition.as_ref(), &context(&random))
    };
    assert!(put(None, None).is_ok());
    refused(put(None, Some("*")), ErrorKind::DeviceNotFound);
    refused(put(None, Some("MQ==")), ErrorKind::DeviceNotFound);
    refused(put(Some(&one), None), ErrorKind::DeviceAlreadyExists);
    refused(put(Some(&one), Some("MQ==")), ErrorKind::PreconditionFailed);
    refused(put(Some(&one), Some("")), ErrorKind::PreconditionFailed);
    for condition in ["*", "\"*\"", &one.etag(), &format!("\"{}\"", one.etag())] {
        let next = put(Some(&one), Some(condition)).unwrap();
        assert_eq!(next.authentication(), one.authentication(), "{condition}");
    }
    let module = device("d1/m1", 1);
    let wish = spec("d1/m1");
    let answer = super::put(Some(&module), &wish, None, &context(&random));
    refused(answer, ErrorKind::ModuleAlreadyExists);
    let answer = super::put(None, &wish, Some(&IfMatch::Any), &context(&random));
    refused(answer, ErrorKind::ModuleNotFound);
    refused(change(&one, &spec("d2")), ErrorKind::ArgumentInvalid);
    assert!(update(&one, &spec("d1"), None, &context(&random)).is_ok(), "as bulk updates do");
}

#[test]
fn deletion_is_conditional_too() {
    let identity = device("d1", 1);
    let check = |text: &str| check_delete(&identity, Some(&IfMatch::parse(text)));
    assert_eq!(check_delete(&identity, None), Ok(()));
    assert_eq!(check("*"), Ok(()));
    assert_eq!(check(&identity.etag()), Ok(()));
    refused(check("MQ=="), ErrorKind::PreconditionFailed);
}

#[test]
fn an_update_keeps_what_it_does_not_name() {
    let mut wish = spec("d1");
    wish.status = Some(Status::Disabled);
    wish.status_reason = Some("lost".into());
    let before = create(&wish, &context(&[1; 64])).unwrap();
    let after = change(&before, &spec("d1")).unwrap();
    assert_eq!(after, Identity { revision: before.revision + 1, ..before.clone() });
    let mut wish = spec("d1");
    wish.status_reason = Some(String::new());
    assert_eq!(change(&before, &wish).unwrap().status_reason(), None, "an empty text is none");
}

#[test]
fn keys_left_out_are_kept_and_given_ones_replace_them() {
    let before = device("d1", 1);
    let sas = |primary: Option<u8>, secondary: Option<u8>| IdentitySpec {
        authentication: Some(AuthenticationSpec::Sas {
            primary: primary.map(key),
            secondary: secondary.map(key),
        }),
        ..spec("d1")
    };
    for (wish, want) in [
        (sas(None, None), (1, 1)),
        (sas(Some(2), None), (2, 1)),
        (sas(None, Some(3)), (1, 3)),
        (sas(Some(2), Some(3)), (2, 3)),
    ] {
        let after = change(&before, &wish).unwrap();
        let want = Authentication::Sas { primary: key(want.0), secondary: key(want.1) };
        assert_eq!(after.authentication(), &want);
    }
    // Coming from certificates there is nothing to keep, so keys are generated.
    let wish = IdentitySpec {
        authentication: Some(AuthenticationSpec::CertificateAuthority),
        ..spec("d1")
    };
    let by_certificate = change(&before, &wish).unwrap();
    let after = change(&by_certificate, &sas(None, None)).unwrap();
    let want = Authentication::Sas { primary: key(9), secondary: key(9) };
    assert_eq!(after.authentication(), &want);
}

#[test]
fn thumbprints_are_replaced_as_a_pair() {
    let prints = |primary: Option<&str>, secondary: Option<&str>| IdentitySpec {
        authentication: Some(AuthenticationSpec::SelfSigned {
            primary: primary.map(print),
            secondary: secondary.map(print),
        }),
        ..spec("d1")
    };
    let before = create(&prints(Some("ab"), Some("cd")), &context(&[1; 64])).unwrap();
    let kept = change(&before, &prints(None, None)).unwrap();
    assert_eq!(kept.authentication(), before.authentication());
    let after = change(&before, &prints(Some("ab"), None)).unwrap();
    let want = Authentication::SelfSigned { primary: Some(print("ab")), secondary: None };
    assert_eq!(after.authentication(), &want);
    refused(change(&device("d1", 1), &prints(None, None)), ErrorKind::ArgumentInvalid);
}

#[test]
fn the_time_of_the_status_moves_with_the_status_only() {
    let before = device("d1", 1);
    let later = |seconds| NOW.after(Duration::from_secs(seconds));
    let set = |identity: &Identity, status, at| {
        let wish = IdentitySpec { status: Some(status), ..spec("d1") };
        let random = [9; 64];
        update(identity, &wish, None, &Context { now: at, ..context(&random) }).unwrap()
    };
    let same = set(&before, Status::Enabled, later(1));
    assert_eq!(same.status_updated(), Timestamp::ZERO);
    let off = set(&same, Status::Disabled, later(2));
    assert_eq!((off.status_updated(), off.created()), (later(2), NOW));
    assert_eq!(set(&off, Status::Disabled, later(3)).status_updated(), later(2));
    assert_eq!(set(&off, Status::Enabled, later(4)).status_updated(), later(4));
}

#[test]
fn texts_have_bounds() {
    let reason = |text: String| IdentitySpec { status_reason: Some(text), ..spec("d1") };
    assert!(create(&reason("é".repeat(128)), &context(&[1; 64])).is_ok());
    for bad in ["é".repeat(129), "a\0b".into()] {
        refused(create(&reason(bad.clone()), &context(&[1; 64])), ErrorKind::ArgumentInvalid);
        refused(change(&device("d1", 1), &reason(bad)), ErrorKind::ArgumentInvalid);
    }
    let manager = |text: String| IdentitySpec { managed_by: Some(text), ..spec("d1/m1") };
    let module = create(&manager("iotEdge".into()), &context(&[1; 64])).unwrap();
    assert_eq!(module.managed_by(), Some("iotEdge"));
    assert!(create(&manager("x".repeat(128)), &context(&[1; 64])).is_ok());
    for bad in ["x".repeat(129), "\0".into()] {
        refused(create(&manager(bad), &context(&[1; 64])), ErrorKind::ArgumentInvalid);
    }
}

#[test]
fn modules_and_devices_have_different_fields() {
    let refuse = |wish: &IdentitySpec| {
        refused(create(wish, &context(&[1; 64])), ErrorKind::ArgumentInvalid);
    };
    refuse(&IdentitySpec { status: Some(Status::Disabled), ..spec("d1/m1") });
    refuse(&IdentitySpec { iot_edge: Some(true), ..spec("d1/m1") });
    refuse(&IdentitySpec { device_scope: Some("x".into()), ..spec("d1/m1") });
    refuse(&IdentitySpec { managed_by: Some("me".into()), ..spec("d1") });
    let neutral = IdentitySpec {
        status: Some(Status::Enabled),
        iot_edge: Some(false),
        device_scope: Some(String::new()),
        parent_scopes: Some(Vec::new()),
        managed_by: Some(String::new()),
        ..spec("d1")
    };
    assert!(create(&neutral, &context(&[1; 64])).is_ok());
    let module = IdentitySpec { address: address("d1/m1"), ..neutral };
    assert!(create(&module, &context(&[1; 64])).is_ok());
}

#[test]
fn a_module_needs_a_device_with_room() {
    let (module, parent) = (address("d1/m1"), device("d1", 1));
    assert_eq!(check_module_parent(&module, Some(&parent), 49, &LIMITS), Ok(()));
    let full = check_module_parent(&module, Some(&parent), 50, &LIMITS);
    refused(full, ErrorKind::TooManyModules);
    refused(check_module_parent(&module, None, 0, &LIMITS), ErrorKind::DeviceNotFound);
    let other = device("d2", 1);
    refused(check_module_parent(&module, Some(&other), 0, &LIMITS), ErrorKind::DeviceNotFound);
}

/// Wishes about scopes: whether it is an edge device, its scope, its parents.
fn scopes(
    text: &str,
    edge: Option<bool>,
    own: Option<&str>,
    parents: Option<&[&str]>,
) -> IdentitySpec {
    IdentitySpec {
        iot_edge: edge,
        device_scope: own.map(str::to_owned),
        parent_scopes: parents.map(|all| all.iter().map(|one| (*one).to_owned()).collect()),
        ..spec(text)
    }
}

fn seen(identity: &Identity) -> (Option<&str>, Vec<&str>) {
    (identity.device_scope(), identity.parent_scopes().collect())
}

#[test]
fn an_edge_device_gets_its_own_scope_and_keeps_it() {
    let one = edge("e1");
    let own = format!("ms-azure-iot-edge://e1-{}", NOW.as_ticks());
    assert_eq!(seen(&one), (Some(own.as_str()), vec![]));
    for echo in [None, Some(own.as_str()), Some("")] {
        let after = change(&one, &scopes("e1", Some(true), echo, Some(&[]))).unwrap();
        assert_eq!(seen(&after), seen(&one));
    }
    let two = edge("e2");
    let edges = [&two];
    let context = Context { edges: &edges, ..context(&[1; 64]) };
    let other = scopes("e1", None, two.device_scope(), None);
    refused(update(&one, &other, None, &context), ErrorKind::ArgumentInvalid);
}

#[test]
fn a_child_edge_device_has_its_parent_and_its_own_scope() {
    let parent = edge("e1");
    let edges = [&parent];
    let context = Context { edges: &edges, ..context(&[1; 64]) };
    let scope = parent.device_scope().unwrap();
    let own = format!("ms-azure-iot-edge://e2-{}", NOW.as_ticks());
    for wish in [
        scopes("e2", Some(true), None, Some(&[scope])),
        scopes("e2", Some(true), Some(scope), None),
        scopes("e2", Some(true), Some(scope), Some(&[scope])),
    ] {
        let child = create(&wish, &context).unwrap();
        assert_eq!(seen(&child), (Some(own.as_str()), vec![scope]));
        // Read, change nothing, send back.
        let (own, parents) = seen(&child);
        let echo = scopes("e2", Some(true), own, Some(&parents));
        assert_eq!(seen(&update(&child, &echo, None, &context).unwrap()), seen(&child));
        let alone = scopes("e2", Some(true), own, Some(&[]));
        assert_eq!(seen(&update(&child, &alone, None, &context).unwrap()), (own, vec![]));
        // No edge device any more: it stands behind its parent like any other.
        let leaf = scopes("e2", Some(false), own, Some(&parents));
        let leaf = update(&child, &leaf, None, &context).unwrap();
        assert_eq!(seen(&leaf), (Some(scope), vec![scope]));
        // And back: the scope that it had as a leaf is its parent's.
        let (leaf_scope, parents) = seen(&leaf);
        let again = scopes("e2", Some(true), leaf_scope, Some(&parents));
        assert_eq!(seen(&update(&leaf, &again, None, &context).unwrap()), seen(&child));
    }
}

#[test]
fn a_leaf_has_its_parents_scope_in_both_places() {
    let (one, two) = (edge("e1"), edge("e2"));
    let edges = [&one, &two];
    let context = Context { edges: &edges, ..context(&[1; 64]) };
    let (first, second) = (one.device_scope().unwrap(), two.device_scope().unwrap());
    for wish in [
        scopes("d1", None, Some(first), None),
        scopes("d1", None, Some(first), Some(&[])),
        scopes("d1", None, Some(first), Some(&[first])),
        scopes("d1", None, None, Some(&[first])),
    ] {
        let leaf = create(&wish, &context).unwrap();
        assert_eq!(seen(&leaf), (Some(first), vec![first]));
        let same = |wish: IdentitySpec| {
            assert_eq!(seen(&update(&leaf, &wish, None, &context).unwrap()), seen(&leaf));
        };
        same(scopes("d1", None, None, None));
        same(scopes("d1", None, Some(first), Some(&[first])));
        // Either place moves it.
        for wish in [
            scopes("d1", None, Some(second), Some(&[first])),
            scopes("d1", None, Some(first), Some(&[second])),
            scopes("d1", None, Some(second), Some(&[second])),
        ] {
            let moved = update(&leaf, &wish, None, &context).unwrap();
            assert_eq!(seen(&moved), (Some(second), vec![second]));
        }
        for wish in
            [scopes("d1", None, Some(""), Some(&[first])), scopes("d1", None, None, Some(&[]))]
        {
            assert_eq!(seen(&update(&leaf, &wish, None, &context).unwrap()), (None, vec![]));
        }
        let unclear = scopes("d1", None, Some(second), Some(&[]));
        refused(update(&leaf, &unclear, None, &context), ErrorKind::ArgumentInvalid);
    }
}

#[test]
fn a_scope_must_be_that_of_an_edge_device() {
    let (parent, leaf) = (edge("e1"), device("d2", 1));
    let edges = [&parent, &leaf];
    let context = Context { edges: &edges, ..context(&[1; 64]) };
    let scope = parent.device_scope().unwrap();
    let ticks = NOW.as_ticks();
    for bad in [
        "no scope",
        &format!("ms-azure-iot-edge://e1-{}", ticks + 1),
        &format!("ms-azure-iot-edge://e9-{ticks}"),
        &format!("ms-azure-iot-edge://d2-{ticks}"),
        &format!("ms-azure-iot-edge://d1-{ticks}"),
    ] {
        let wish = scopes("d1", None, Some(bad), None);
        refused(create(&wish, &context), ErrorKind::ArgumentInvalid);
        refused(update(&device("d1", 1), &wish, None, &context), ErrorKind::ArgumentInvalid);
        let wish = scopes("e3", Some(true), None, Some(&[bad]));
        refused(create(&wish, &context), ErrorKind::ArgumentInvalid);
    }
    let twice = scopes("d1", None, None, Some(&[scope, scope]));
    refused(create(&twice, &context), ErrorKind::ArgumentInvalid);
    let own = scopes("e1", Some(true), None, Some(&[scope]));
    refused(update(&parent, &own, None, &context), ErrorKind::ArgumentInvalid);
    let module = scopes("d1/m1", None, Some(scope), None);
    refused(create(&module, &context), ErrorKind::ArgumentInvalid);
    // A parent that is gone stays named until somebody names another.
    let child = create(&scopes("d1", None, Some(scope), None), &context).unwrap();
    let echo = scopes("d1", None, Some(scope), Some(&[scope]));
    assert!(change(&child, &echo).is_ok());
    let wish = scopes("d1", None, Some(scope), Some(&["no scope", scope]));
    assert_eq!(wish.edges_named().collect::<Vec<_>>(), [address("e1"), address("e1")]);
}

#[test]
fn b16_an_identity_is_what_admission_judges() {
    use crate::hello::{Credentials, Hello, SessionMode};
    use crate::security::{HubNames, KeyForm, Policies, sign};
    let identity = device("d1", 1);
    let token = sign("h/devices/d1", &key(1), KeyForm::Decoded, NOW, None);
    let hello = Hello {
        address: address("d1"),
        credentials: Credentials::Token(token.into()),
        host: None,
        session: SessionMode::Clean,
        model: None,
        client: None,
        protocol: "test",
        peer: None,
    };
    let (policies, names) = (Policies::none(), HubNames::new("h"));
    let admit = |identity: &Identity| {
        admit_device(&hello, Some(identity), None, &policies, &names, NOW, &LIMITS)
    };
    let grant = admit(&identity).unwrap();
    assert_eq!((grant.generation, still_valid(&grant, Some(&identity))), (NOW.as_ticks(), Ok(())));
    let wish = IdentitySpec { status: Some(Status::Disabled), ..spec("d1") };
    let off = change(&identity, &wish).unwrap();
    assert_eq!(still_valid(&grant, Some(&off)), Err(crate::error::CloseReason::IdentityDisabled));
    assert_eq!(admit(&off), Err(crate::hello::Refusal::Disabled(address("d1"))));
}

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
    use crate::registry::DecodeError as E;
    let good = String::from_utf8(device("d1", 1).encode().to_vec()).unwrap();
    let decode = |body: &str| Identity::decode(body.as_bytes()).unwrap_err();
    assert_eq!(decode(""), E::Shape);
    assert_eq!(decode("{}"), E::Shape);
    assert_eq!(decode("[1]"), E::Shape);
    assert_eq!(decode(r#"{"format":1}"#), E::Shape);
    assert_eq!(decode(r#"{"format":2,"new":"shape"}"#), E::Format(2));
    assert_eq!(decode(&good.replace("\"d1\"", "\"d 1\"")), E::Value("address"));
    let secret = key(1).to_base64().to_owned();
    assert_eq!(decode(&good.replace(&secret, "AAAA")), E::Value("key"));
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

    #[test]
    fn no_scope_text_panics(text in "(ms-azure-iot-edge://)?\\PC{0,40}") {
        if let Some(scope) = crate::registry::DeviceScope::parse(&text) {
            prop_assert_eq!(crate::registry::DeviceScope::parse(&scope.to_string()), Some(scope));
        }
    }
}
