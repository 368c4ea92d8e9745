use std::time::Duration;

use super::*;
use crate::hello::Credentials;
use crate::limits::Limits;
use crate::security::fixtures::*;
use crate::security::*;

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
    refused("Bearer x", SasError::Prefix.as_str());
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
    let connection = |text: &str| ConnectionString::parse(text);
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
