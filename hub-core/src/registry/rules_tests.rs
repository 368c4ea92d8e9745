use std::time::Duration;

use super::*;
use crate::registry::fixtures::*;
use crate::security::{AuthenticationKind, Registered as _, admit_device, still_valid};

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
fn a_given_key_must_not_be_short() {
    let short = SymmetricKey::from_base64("c2VjcmV0a2V5").unwrap();
    let mut wish = spec("d1");
    wish.authentication = Some(AuthenticationSpec::Sas { primary: None, secondary: Some(short) });
    let refused = create(&wish, &context(&[1; 64])).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ArgumentInvalid);
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
