use std::time::Duration;

use super::*;
use crate::security::fixtures::*;
use crate::security::{SymmetricKey, sign};

#[test]
fn b15_without_a_policy_either_key_of_the_identity_is_good_and_no_other() {
    for seed in [1, 2] {
        let grant = show(&token("hub.example/devices/d1", seed, None)).unwrap();
        let want = Grant {
            auth: method(AuthScope::Device, AuthType::Sas),
            expires: in_seconds(3600),
            generation: 7,
            credential: key(seed).mark(),
        };
        assert_eq!(grant, want);
    }
    for seed in [3, 11] {
        let answer = show(&token("hub.example/devices/d1", seed, None));
        assert_eq!(answer, unauthorized("wrong signature"));
    }
    // The text of a key signs for Event Hubs clients, never for devices.
    let text = sign("hub.example/devices/d1", &key(1), KeyForm::Text, in_seconds(1), None);
    assert_eq!(show(&text), unauthorized("wrong signature"));
}

#[test]
fn b15_with_a_policy_its_keys_are_good_and_not_the_identitys() {
    for (name, seed) in [("device", 11), ("device", 12), ("owner", 11), ("DEVICE", 12)] {
        let grant = show(&token("hub.example/devices/d1", seed, Some(name))).unwrap();
        assert_eq!(grant.auth, method(AuthScope::Hub, AuthType::Sas));
        assert_eq!((grant.credential, grant.generation), (CredentialMark::default(), 7));
    }
    for (name, seed) in [("device", 1), ("device", 13), ("nobody", 11)] {
        let answer = show(&token("hub.example/devices/d1", seed, Some(name)));
        assert_eq!(answer, unauthorized("unknown policy or wrong signature"), "{name}");
    }
    let text = sign("hub.example", &key(11), KeyForm::Text, in_seconds(1), Some("device"));
    assert_eq!(show(&text), unauthorized("unknown policy or wrong signature"));
}

#[test]
fn b15_the_resource_is_a_prefix_by_path_segment() {
    for resource in ["", "/devices", "/devices/", "/devices/d1", "/devices/d1/api-version=2016"] {
        assert!(show(&token(&format!("hub.example{resource}"), 11, Some("device"))).is_ok());
    }
    assert!(show(&token("hub.example/devices/d1", 1, None)).is_ok());
    assert!(show_module(&token("hub.example/devices/d1/modules/m1", 1, None)).is_ok());
    assert!(show_module(&token("hub.example/devices/d1", 11, Some("device"))).is_ok());
    let foreign = unauthorized("token is for another resource");
    for resource in
        ["/devices/d", "/devices/d11", "/devices/D1", "/devices/d1/modules/m1", "/twins", "/d1"]
    {
        let resource = format!("hub.example{resource}");
        assert_eq!(show(&token(&resource, 1, None)), foreign, "{resource}");
        assert_eq!(show(&token(&resource, 11, Some("owner"))), foreign, "{resource}");
    }
    let other = token("hub.example/devices/d1/modules/m2", 1, None);
    assert_eq!(show_module(&other), foreign);
}

#[test]
fn a_modules_own_key_opens_the_module() {
    let grant = show_module(&token("hub.example/devices/d1/modules/m1", 2, None)).unwrap();
    assert_eq!(grant.auth, method(AuthScope::Module, AuthType::Sas));
    assert_eq!(grant.credential, key(2).mark());
}

#[test]
fn a_policy_without_device_connect_admits_no_device() {
    let answer = show(&token("hub.example", 11, Some("service")));
    assert_eq!(answer, unauthorized("policy lacks DeviceConnect"));
}

#[test]
fn a_token_is_good_until_its_end_plus_the_skew_and_expires_no_earlier_than_now() {
    let skew = Limits::default().token_clock_skew;
    let at = |expiry| sign("hub.example/devices/d1", &key(1), KeyForm::Decoded, expiry, None);
    let expires = |expiry| show(&at(expiry)).map(|grant| grant.expires);
    assert_eq!(expires(in_seconds(1)), Ok(in_seconds(1)));
    assert_eq!(expires(NOW), Ok(NOW));
    assert_eq!(expires(NOW.before(Duration::from_secs(10))), Ok(NOW));
    assert_eq!(expires(NOW.before(skew)), Ok(NOW));
    let late = NOW.before(skew + Duration::from_secs(1));
    assert_eq!(expires(late), unauthorized("token has expired"));
    let strict = Limits { token_clock_skew: Duration::ZERO, ..Limits::default() };
    let text = at(NOW.before(Duration::from_secs(1)));
    let hello = hello("d1", Credentials::Token(text.into()));
    let answer =
        admit_device(&hello, Some(&entry("d1")), None, &policies(), &names(), NOW, &strict);
    assert_eq!(answer, unauthorized("token has expired"));
}

#[test]
fn foreign_hosts_are_refused_in_the_token_and_in_the_introduction() {
    for host in ["hub.example.org", "other", "", "hub.example:x"] {
        let answer = show(&token(&format!("{host}/devices/d1"), 1, None));
        assert_eq!(answer, unauthorized("token is for another host"), "{host}");
    }
    let good = token("HUB.example:8883/devices/d1", 1, None);
    assert!(show(&good).is_ok());
    let mut hello = hello("d1", Credentials::Token(good.into()));
    hello.host = Some("other.example".into());
    assert_eq!(admit(&hello, Some(&entry("d1")), None), unauthorized("foreign host name"));
    hello.host = None;
    assert!(admit(&hello, Some(&entry("d1")), None).is_ok(), "not every protocol names one");
}

#[test]
fn malformed_and_truncated_tokens_are_refused_with_the_reason() {
    assert_eq!(show("hello"), unauthorized(crate::security::SasError::Prefix.as_str()));
    let good = token("hub.example/devices/d1", 11, Some("device"));
    for end in 0..good.len() {
        assert!(matches!(show(&good[..end]), Err(Refusal::Unauthorized(_))), "{}", &good[..end]);
    }
}

#[test]
fn who_does_not_exist_is_unknown_whatever_signed() {
    let unknown = Err(Refusal::Unknown(address("d1")));
    // The last is a stand-in that the comparison itself uses: nobody's key.
    let stand_in = SymmetricKey::generate(&[b'A'; 32]);
    let texts = [
        token("hub.example/devices/d1", 1, None),
        token("hub.example/devices/d1", 11, Some("device")),
        sign("hub.example", &stand_in, KeyForm::Decoded, in_seconds(1), None),
    ];
    for text in texts {
        let hello = hello("d1", Credentials::Token(text.into()));
        assert_eq!(admit(&hello, None, None), unknown);
        assert_eq!(admit(&hello, Some(&entry("d2")), None), unknown, "another's identity");
    }
    let forged = sign("hub.example", &stand_in, KeyForm::Decoded, in_seconds(1), Some("nobody"));
    assert_eq!(show(&forged), unauthorized("unknown policy or wrong signature"));
    let keyless = hello(
        "d1",
        Credentials::Token(
            sign("hub.example", &stand_in, KeyForm::Decoded, in_seconds(1), None).into(),
        ),
    );
    assert_eq!(
        admit(&keyless, Some(&with(Authentication::None)), None),
        unauthorized("identity is not registered for keys")
    );
    // A bad policy token tells nothing about who exists.
    let bad = hello("d1", Credentials::Token(token("hub.example", 9, Some("device")).into()));
    assert_eq!(admit(&bad, None, None), unauthorized("unknown policy or wrong signature"));
}

#[test]
fn b16_a_disabled_identity_is_told_so_only_if_its_credential_is_good() {
    let refused = Err(Refusal::Disabled(address("d1")));
    for (seed, policy) in [(1, None), (2, None), (11, Some("device"))] {
        let text = token("hub.example/devices/d1", seed, policy);
        let hello = hello("d1", Credentials::Token(text.into()));
        assert_eq!(admit(&hello, Some(&disabled("d1")), None), refused);
    }
    for (seed, policy) in [(3, None), (1, Some("device"))] {
        let text = token("hub.example/devices/d1", seed, policy);
        let hello = hello("d1", Credentials::Token(text.into()));
        let answer = admit(&hello, Some(&disabled("d1")), None);
        assert!(matches!(answer, Err(Refusal::Unauthorized(_))), "{answer:?}");
    }
    let in_process = hello("d1", Credentials::InProcess);
    assert_eq!(admit(&in_process, Some(&disabled("d1")), None), refused);
}

#[test]
fn a_module_needs_its_device_to_exist_and_to_be_enabled() {
    let module = entry("d1/m1");
    let text = token("hub.example/devices/d1/modules/m1", 1, None);
    let good = hello("d1/m1", Credentials::Token(text.into()));
    assert_eq!(admit(&good, Some(&module), None), Err(Refusal::Unknown(address("d1"))));
    let other = Some(entry("d2"));
    assert_eq!(admit(&good, Some(&module), other.as_ref()), Err(Refusal::Unknown(address("d1"))));
    let off = disabled("d1");
    assert_eq!(admit(&good, Some(&module), Some(&off)), Err(Refusal::Disabled(address("d1"))));
    let none = Err(Refusal::Unknown(address("d1/m1")));
    assert_eq!(admit(&good, None, Some(&entry("d1"))), none);
    let text = token("hub.example/devices/d1/modules/m1", 3, None);
    let bad = hello("d1/m1", Credentials::Token(text.into()));
    assert_eq!(admit(&bad, Some(&module), Some(&off)), unauthorized("wrong signature"));
}

#[test]
fn a_certificate_is_good_by_either_thumbprint() {
    let shown = hello("d1", Credentials::Certificate(certificate("anyone")));
    for (primary, secondary) in
        [(Some("ab"), None), (None, Some("ab")), (Some("CD"), None), (Some("ef"), Some("cd"))]
    {
        let grant = admit(&shown, Some(&with(thumbprints(primary, secondary))), None).unwrap();
        assert_eq!(grant.auth, method(AuthScope::Device, AuthType::X509Thumbprint));
        assert_eq!((grant.expires, grant.generation), (in_seconds(60), 7));
        assert_ne!(grant.credential, CredentialMark::default());
    }
    for (primary, secondary) in [(Some("ef"), Some("12")), (None, None)] {
        let answer = admit(&shown, Some(&with(thumbprints(primary, secondary))), None);
        assert_eq!(answer, unauthorized("certificate has another thumbprint"));
    }
}

#[test]
fn a_certificate_of_an_authority_is_good_by_its_common_name() {
    let ca = || Authentication::CertificateAuthority;
    let shown = hello("d1", Credentials::Certificate(certificate("d1")));
    let grant = admit(&shown, Some(&with(ca())), None).unwrap();
    assert_eq!(grant.auth, method(AuthScope::Device, AuthType::X509Authority));
    let module = Entry { authentication: ca(), ..entry("d1/m1") };
    let shown = hello("d1/m1", Credentials::Certificate(certificate("d1/m1")));
    let grant = admit(&shown, Some(&module), Some(&entry("d1"))).unwrap();
    assert_eq!(grant.auth, method(AuthScope::Module, AuthType::X509Authority));
    for wrong in [
        certificate("d2"),
        certificate("d1/m1"),
        CertificateInfo { chains_to_authority: false, ..certificate("d1") },
    ] {
        let shown = hello("d1", Credentials::Certificate(wrong));
        let answer = admit(&shown, Some(&with(ca())), None);
        assert_eq!(answer, unauthorized("no authority vouches for the certificate"));
    }
}

#[test]
fn a_certificate_must_be_valid_now_and_its_holder_known() {
    for wrong in [
        CertificateInfo { not_before: in_seconds(1), ..certificate("d1") },
        CertificateInfo { not_after: NOW.before(Duration::from_millis(1)), ..certificate("d1") },
    ] {
        let shown = hello("d1", Credentials::Certificate(wrong));
        for authentication in [Authentication::CertificateAuthority, thumbprints(Some("ab"), None)]
        {
            let answer = admit(&shown, Some(&with(authentication)), None);
            assert_eq!(answer, unauthorized("certificate is not valid now"));
        }
    }
    let shown = hello("d1", Credentials::Certificate(certificate("d1")));
    assert_eq!(admit(&shown, None, None), Err(Refusal::Unknown(address("d1"))));
    let off = Entry { enabled: false, ..with(Authentication::CertificateAuthority) };
    assert_eq!(admit(&shown, Some(&off), None), Err(Refusal::Disabled(address("d1"))));
}

#[test]
fn the_kind_of_credential_is_the_one_the_identity_is_registered_for() {
    let shown = hello("d1", Credentials::Certificate(certificate("d1")));
    for authentication in [sas(1, 2), Authentication::None] {
        let answer = admit(&shown, Some(&with(authentication)), None);
        assert_eq!(answer, unauthorized("identity is not registered for certificates"));
    }
    let text = token("hub.example/devices/d1", 1, None);
    let shown = hello("d1", Credentials::Token(text.into()));
    let policy = token("hub.example/devices/d1", 11, Some("device"));
    let policy = hello("d1", Credentials::Token(policy.into()));
    for authentication in
        [thumbprints(Some("ab"), None), Authentication::CertificateAuthority, Authentication::None]
    {
        let identity = with(authentication);
        let answer = admit(&shown, Some(&identity), None);
        assert_eq!(answer, unauthorized("identity is not registered for keys"));
        assert!(admit(&policy, Some(&identity), None).is_ok(), "a policy speaks for all");
    }
}

#[test]
fn without_credentials_only_the_application_comes_in() {
    let nothing = hello("d1", Credentials::Absent);
    for identity in [Some(entry("d1")), Some(with(Authentication::None)), None] {
        let answer = admit(&nothing, identity.as_ref(), None);
        assert_eq!(answer, unauthorized("no credentials"));
    }
    let trusted = hello("d1", Credentials::InProcess);
    let grant = admit(&trusted, Some(&entry("d1")), None).unwrap();
    assert_eq!(grant.auth, method(AuthScope::Hub, AuthType::InProcess));
    assert_eq!((grant.expires, grant.generation), (Timestamp::MAX, 7));
    assert_eq!(admit(&trusted, None, None), Err(Refusal::Unknown(address("d1"))));
}

#[test]
fn b16_a_change_of_the_identity_ends_what_it_no_longer_supports() {
    let judge = |grant: &Grant, identity: Option<&Entry>| still_valid(grant, identity);
    let by = |seed, policy| show(&token("hub.example/devices/d1", seed, policy)).unwrap();
    let (primary, secondary, hub) = (by(1, None), by(2, None), by(11, Some("device")));
    for grant in [&primary, &secondary, &hub] {
        assert_eq!(judge(grant, Some(&entry("d1"))), Ok(()));
        assert_eq!(judge(grant, None), Err(CloseReason::IdentityDeleted));
        let again = Entry { generation: 8, ..entry("d1") };
        assert_eq!(judge(grant, Some(&again)), Err(CloseReason::IdentityDeleted));
        assert_eq!(judge(grant, Some(&disabled("d1"))), Err(CloseReason::IdentityDisabled));
    }
    let revoked = Err(CloseReason::CredentialRevoked);
    // The first key was replaced: whoever used the second stays.
    let rolled = with(sas(3, 2));
    assert_eq!(judge(&primary, Some(&rolled)), revoked);
    assert_eq!(judge(&secondary, Some(&rolled)), Ok(()));
    assert_eq!(judge(&hub, Some(&rolled)), Ok(()));
    // The keys changed places: nobody's key is gone.
    assert_eq!(judge(&primary, Some(&with(sas(2, 1)))), Ok(()));
    let other = with(Authentication::CertificateAuthority);
    assert_eq!(judge(&primary, Some(&other)), revoked);
    assert_eq!(judge(&hub, Some(&other)), Ok(()));
}

#[test]
fn b16_a_change_of_thumbprints_or_of_the_kind_ends_certificate_connections() {
    let shown = hello("d1", Credentials::Certificate(certificate("d1")));
    let print = admit(&shown, Some(&with(thumbprints(Some("ab"), None))), None).unwrap();
    assert_eq!(still_valid(&print, Some(&with(thumbprints(None, Some("ab"))))), Ok(()));
    let revoked = Err(CloseReason::CredentialRevoked);
    assert_eq!(still_valid(&print, Some(&with(thumbprints(Some("cd"), None)))), revoked);
    assert_eq!(still_valid(&print, Some(&with(Authentication::None))), revoked);
    let ca = with(Authentication::CertificateAuthority);
    let vouched = admit(&shown, Some(&ca), None).unwrap();
    assert_eq!(still_valid(&vouched, Some(&ca)), Ok(()));
    assert_eq!(still_valid(&print, Some(&ca)), revoked);
    assert_eq!(still_valid(&vouched, Some(&with(thumbprints(Some("ab"), None)))), revoked);
}

#[test]
fn b16_modules_follow_their_device() {
    assert_eq!(device_still_valid(Some(&entry("d1"))), Ok(()));
    assert_eq!(device_still_valid(Some(&disabled("d1"))), Err(CloseReason::IdentityDisabled));
    assert_eq!(device_still_valid(None::<&Entry>), Err(CloseReason::IdentityDeleted));
}
