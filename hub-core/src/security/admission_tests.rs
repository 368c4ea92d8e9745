use std::time::Duration;

use super::*;
use crate::hello::SessionMode;
use crate::security::{Policy, SymmetricKey, Thumbprint, sign};

/// What a registry would hold.
#[derive(Clone)]
struct Entry {
    address: Address,
    enabled: bool,
    generation: u64,
    authentication: Authentication,
}

impl Registered for Entry {
    fn address(&self) -> &Address {
        &self.address
    }

    fn is_enabled(&self) -> bool {
        self.enabled
    }

    fn generation(&self) -> u64 {
        self.generation
    }

    fn authentication(&self) -> &Authentication {
        &self.authentication
    }
}

fn key(seed: u8) -> SymmetricKey {
    SymmetricKey::generate(&[seed; 32])
}

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn sas(primary: u8, secondary: u8) -> Authentication {
    Authentication::Sas { primary: key(primary), secondary: key(secondary) }
}

/// An identity with the keys 1 and 2.
fn entry(text: &str) -> Entry {
    Entry { address: address(text), enabled: true, generation: 7, authentication: sas(1, 2) }
}

fn disabled(text: &str) -> Entry {
    Entry { enabled: false, ..entry(text) }
}

fn with(authentication: Authentication) -> Entry {
    Entry { authentication, ..entry("d1") }
}

/// Policies with the keys 11 and 12, one per sort of right.
fn policies() -> Policies {
    let mut policies = Policies::none();
    for (name, rights) in [
        ("owner", Rights::ALL),
        ("device", Right::DeviceConnect.into()),
        ("service", Right::ServiceConnect.into()),
    ] {
        policies.insert(Policy::new(name, key(11), key(12), rights).unwrap()).unwrap();
    }
    policies
}

const NOW: Timestamp = Timestamp::from_millis(1_893_456_000_000);

fn in_seconds(seconds: u64) -> Timestamp {
    NOW.after(Duration::from_secs(seconds))
}

fn token(resource: &str, seed: u8, policy: Option<&str>) -> String {
    sign(resource, &key(seed), KeyForm::Decoded, in_seconds(3600), policy)
}

fn hello(text: &str, credentials: Credentials) -> Hello {
    Hello {
        address: address(text),
        credentials,
        host: Some("Hub.Example:8883".into()),
        session: SessionMode::Persistent,
        model: None,
        client: None,
        protocol: "test",
        peer: None,
    }
}

fn names() -> HubNames {
    HubNames::new("hub.example")
}

fn admit(
    hello: &Hello,
    identity: Option<&Entry>,
    device: Option<&Entry>,
) -> Result<Grant, Refusal> {
    admit_device(hello, identity, device, &policies(), &names(), NOW, &Limits::default())
}

/// The answer to a token of a device `d1` that exists.
fn show(token: &str) -> Result<Grant, Refusal> {
    admit(&hello("d1", Credentials::Token(token.into())), Some(&entry("d1")), None)
}

/// The answer to a token of a module `d1/m1` that exists, like its device.
fn show_module(token: &str) -> Result<Grant, Refusal> {
    let hello = hello("d1/m1", Credentials::Token(token.into()));
    admit(&hello, Some(&entry("d1/m1")), Some(&entry("d1")))
}

fn unauthorized<T>(why: &'static str) -> Result<T, Refusal> {
    Err(Refusal::Unauthorized(why))
}

fn method(scope: AuthScope, kind: AuthType) -> AuthMethod {
    AuthMethod { scope, kind }
}

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

fn certificate(name: &str) -> CertificateInfo {
    CertificateInfo {
        sha1: [0xab; 20],
        sha256: [0xcd; 32],
        common_name: Some(name.into()),
        not_before: NOW,
        not_after: in_seconds(60),
        chains_to_authority: true,
    }
}

fn thumbprints(primary: Option<&str>, secondary: Option<&str>) -> Authentication {
    let print = |hex: &str| Thumbprint::new(&hex.repeat(if hex == "ab" { 20 } else { 32 }));
    Authentication::SelfSigned {
        primary: primary.map(|hex| print(hex).unwrap()),
        secondary: secondary.map(|hex| print(hex).unwrap()),
    }
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

fn service(token: &str) -> Result<Principal, Refusal> {
    admit_service(token, &policies(), &names(), NOW, &Limits::default())
}

#[test]
fn a_back_end_comes_in_with_either_key_in_either_form() {
    for seed in [11, 12] {
        for form in [KeyForm::Decoded, KeyForm::Text] {
            let text = sign("hub.example", &key(seed), form, in_seconds(60), Some("service"));
            let principal = service(&text).unwrap();
            assert_eq!(principal.who(), &Who::Policy("service".into()));
            assert_eq!(principal.rights(), Rights::from(Right::ServiceConnect));
            assert_eq!(principal.expires(), in_seconds(60));
            assert!(principal.may(Right::ServiceConnect, "twins/d1"));
            assert!(!principal.may(Right::RegistryRead, "devices/d1"));
        }
    }
}

#[test]
fn a_back_end_is_refused_for_the_same_reasons_as_a_device() {
    let refused = |text: &str, why| assert_eq!(service(text), unauthorized(why), "{text}");
    refused("Bearer x", crate::security::SasError::Prefix.as_str());
    refused(&token("hub.example", 11, None), "token names no policy");
    refused(&token("hub.example", 1, Some("owner")), "unknown policy or wrong signature");
    refused(&token("hub.example", 11, Some("nobody")), "unknown policy or wrong signature");
    refused(&token("other", 11, Some("owner")), "token is for another host");
    let old = NOW.before(Duration::from_secs(301));
    let old = sign("hub.example", &key(11), KeyForm::Decoded, old, Some("owner"));
    refused(&old, "token has expired");
    let nearly = NOW.before(Duration::from_secs(300));
    let nearly = sign("hub.example", &key(11), KeyForm::Decoded, nearly, Some("owner"));
    assert_eq!(service(&nearly).map(|principal| principal.expires()), Ok(NOW));
    let stand_in = SymmetricKey::generate(&[b'A'; 32]);
    let forged = sign("hub.example", &stand_in, KeyForm::Text, in_seconds(1), Some("nobody"));
    refused(&forged, "unknown policy or wrong signature");
}

#[test]
fn b15_what_a_back_end_may_ends_where_its_resource_ends() {
    let scoped = service(&token("hub.example/devices/d1", 11, Some("owner"))).unwrap();
    assert!(scoped.may(Right::RegistryWrite, "devices/d1"));
    assert!(scoped.may(Right::DeviceConnect, "/devices/d1/messages/events"));
    for path in ["devices", "devices/d10", "devices/D1", "twins/d1", ""] {
        assert!(!scoped.may(Right::RegistryRead, path), "{path}");
    }
    let reader = sign(
        "sb://hub.example:5671/log/ConsumerGroups/$Default",
        &key(12),
        KeyForm::Text,
        in_seconds(9),
        Some("service"),
    );
    let reader = service(&reader).unwrap();
    assert!(reader.may(Right::ServiceConnect, "log/consumergroups/$default/Partitions/0"));
    assert!(!reader.may(Right::ServiceConnect, "log/ConsumerGroups/other/Partitions/0"));
    assert!(!reader.may(Right::DeviceConnect, "log/ConsumerGroups/$Default"));
}

#[test]
fn a_device_is_itself_and_the_application_is_all() {
    let grant = show(&token("hub.example", 11, Some("device"))).unwrap();
    let device = Principal::identity(&address("a%40b"), &grant);
    assert_eq!(device.who(), &Who::Identity(address("a%40b")));
    assert_eq!(device.expires(), grant.expires);
    assert!(device.may(Right::DeviceConnect, "devices/a%40b/messages/events"));
    assert!(device.may(Right::DeviceConnect, "devices/a%40b/modules/m"));
    assert!(!device.may(Right::DeviceConnect, "devices/a@b"), "escapes mean nothing here");
    assert!(!device.may(Right::ServiceConnect, "devices/a%40b"));
    let module = Principal::identity(&address("d/m"), &grant);
    assert!(module.may(Right::DeviceConnect, "devices/d/modules/m"));
    assert!(!module.may(Right::DeviceConnect, "devices/d"));
    let all = Principal::in_process();
    for right in Right::ALL {
        assert!(all.may(right, "anything/at/all") && all.may(right, ""));
    }
}

#[test]
fn nothing_that_holds_a_secret_prints_it() {
    const PLANTED: &str = "UGxhbnRlZFNlY3JldFBsYW50ZWRTZWNyZXQ=";
    let planted = || SymmetricKey::from_base64(PLANTED).unwrap();
    let text = sign("hub.example", &planted(), KeyForm::Decoded, in_seconds(1), Some("p"));
    let parsed = SharedAccessSignature::parse(&text).unwrap();
    let policy = Policy::new("p", planted(), planted(), Rights::ALL).unwrap();
    let mut set = Policies::none();
    set.insert(policy.clone()).unwrap();
    let principal =
        admit_service(&text, &set, &names(), NOW, &Limits::default()).expect("the token is good");
    let connection = |text: &str| crate::security::ConnectionString::parse(text);
    let identity = connection(&format!("HostName=h;DeviceId=d;SharedAccessKey={PLANTED}"));
    let service =
        connection(&format!("HostName=h;SharedAccessKeyName=p;SharedAccessKey={PLANTED}"));
    let log =
        connection(&format!("Endpoint=sb://h/;SharedAccessKeyName=p;SharedAccessKey={PLANTED}"));
    let bad = connection(&format!("HostName=h;SharedAccessKey=x{PLANTED}")).unwrap_err();
    let wrong_name = connection(&format!("HostName=h;{PLANTED}")).unwrap_err();
    let wrong_key = SymmetricKey::from_base64(&format!("{PLANTED}=")).unwrap_err();
    let wrong_rights = PLANTED.parse::<Rights>().unwrap_err();
    let wrong_token = SharedAccessSignature::parse(&text.replace("&se", "&sig=a&se")).unwrap_err();
    let shown = hello("d", Credentials::Token(text.as_str().into()));
    let printed = [
        format!("{:?} {:#?}", planted(), planted()),
        format!("{parsed:?} {parsed:#?}"),
        format!("{policy:?} {set:#?} {principal:?}"),
        format!("{:?}", Authentication::Sas { primary: planted(), secondary: planted() }),
        format!("{:?} {:?} {:?}", identity.unwrap(), service.unwrap(), log.unwrap()),
        format!("{bad:?} {bad} {wrong_key:?} {wrong_key} {wrong_token:?} {wrong_token}"),
        format!("{wrong_name:?} {wrong_name} {wrong_rights:?} {wrong_rights}"),
        format!("{shown:?}"),
    ]
    .concat();
    let signature = text.split(['=', '&']).nth(3).unwrap();
    let decoded = String::from_utf8_lossy(planted().material(KeyForm::Decoded)).into_owned();
    assert_eq!(decoded, "PlantedSecretPlantedSecret", "the test looks for the right text");
    assert!(signature.len() > 40);
    for secret in [PLANTED, &PLANTED[..16], &decoded[..13], &signature[..16]] {
        assert!(!printed.contains(secret), "{secret} in {printed}");
    }
}
