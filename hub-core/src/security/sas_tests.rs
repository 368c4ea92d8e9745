use proptest::prelude::*;

use super::*;
use crate::security::HubNames;

/// Bytes 00 to 1f, the key of the device vectors.
const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

fn key() -> SymmetricKey {
    SymmetricKey::from_base64(KEY).unwrap()
}

fn parse(text: &str) -> SharedAccessSignature<'_> {
    SharedAccessSignature::parse(text).unwrap()
}

/// A token over `sr` as it is, escaped in whatever way the SDK under test does.
fn signed_over(sr: &str, se: &str) -> String {
    let mac = hmac(key().material(KeyForm::Decoded), &[sr.as_bytes(), b"\n", se.as_bytes()]);
    let sig = percent::encode(&SIGNATURE.encode(mac.unwrap().finalize().into_bytes()));
    format!("SharedAccessSignature sr={sr}&sig={sig}&se={se}")
}

#[test]
fn captured_device_signatures_verify() {
    for (sr, sig, path) in [
        ("localhost%2Fdevices%2Fd1", "gJgXDv4wjTjgksny8ju6g+QNPOcq4aOSW07v/cdmE+o=", "devices/d1"),
        ("localhost%2fdevices%2fd1", "lgIsiX/hrsX3N3n9ycW4b8NJ/XOf4nXN9jJ9MOOePRs=", "devices/d1"),
        (
            "localhost%2Fdevices%2Fd1%2Fmodules%2Fm1",
            "NaQ3s96C04930AJbTQ38jKIhjdP7rGswV9HMXirse8w=",
            "devices/d1/modules/m1",
        ),
        (
            "localhost%2Fdevices%2Fa%2540b",
            "7RJ0zP5/KDyDf7ce1v+Q29dAexMyVjimFAfnar64HN0=",
            "devices/a@b",
        ),
        (
            "localhost%2Fdevices%2Fa%40b",
            "ogGY2KY4jqOgfwLjoDhP2etGXoqmABBYww+rR8UtxBk=",
            "devices/a@b",
        ),
        ("localhost%2Fdevices", "o3dowsD9+ll595py8JAN3NCxCYvqj0kpzBk8bJwhqAo=", "devices/anything"),
    ] {
        // The signature as it is, escaped in either case, and without its padding.
        let escaped = percent::encode(sig);
        let spellings =
            [sig, &escaped, &escaped.replace("%2B", "%2b").replace("%2F", "%2f"), &sig[..43]];
        for sig in spellings {
            let text = format!("SharedAccessSignature sr={sr}&sig={sig}&se=1893456000&skn=device");
            let token = parse(&text);
            assert!(token.verify(&key(), KeyForm::Decoded), "{text}");
            assert!(!token.verify(&key(), KeyForm::Text), "{text}");
            assert!(token.resource().covers(path), "{text}");
            assert!(token.resource().is_of(&HubNames::new("LOCALHOST")), "{text}");
            assert_eq!(token.policy(), Some("device"));
            assert_eq!(token.expiry(), Timestamp::parse("2030-01-01T00:00:00Z").unwrap());
        }
    }
}

#[test]
fn the_captured_token_is_what_signing_makes() {
    let expiry = Timestamp::from_millis(1_893_456_000_999);
    let token = sign("localhost/devices/d1", &key(), KeyForm::Decoded, expiry, None);
    assert_eq!(
        token,
        "SharedAccessSignature sr=localhost%2Fdevices%2Fd1\
         &sig=gJgXDv4wjTjgksny8ju6g%2BQNPOcq4aOSW07v%2FcdmE%2Bo%3D&se=1893456000"
    );
}

#[test]
fn captured_service_tokens_verify_by_their_own_key_form_only() {
    // The captures were made with a key of nine bytes, shorter than the hub registers.
    let (decoded, text) = (&b"secretkey"[..], &b"c2VjcmV0a2V5"[..]);
    for (token, right, wrong, path) in [
        (
            "SharedAccessSignature sr=localhost%3A8443&sig=L1LAHuFs/pezXFAIc3Qbp6mS76wfNygB/vivuONR6DI%3D&se=1795380792&skn=iothubowner",
            decoded,
            text,
            "devices/d1",
        ),
        (
            "SharedAccessSignature sr=localhost&sig=Rk6eimImSTVrB3xgZ5PUGSUW1WPtvp3dsYjJvzRVhUY%3D&se=1795380907&skn=iothubowner",
            decoded,
            text,
            "twins/d1",
        ),
        (
            "SharedAccessSignature sr=localhost&sig=jKWU18rNW8FYWimkKiRikzUgHFm7pkyuCLD0mqQVN68%3D&skn=iothubowner&se=1795380846",
            decoded,
            text,
            "messages/devicebound",
        ),
        (
            "SharedAccessSignature sr=localhost:5671&sig=AqY%2ByEQVCOooBHU69t94Mk%2FuFTC1PCLz6Q0AOb8jHeU%3D&skn=iothubowner&se=1795380982",
            decoded,
            text,
            "messages/devicebound",
        ),
        (
            "SharedAccessSignature sr=sb%3A%2F%2Flocalhost%2Feh&sig=1hJxm2s01WQr%2FEdDLaihHcef8D%2FD60TMnOTKp9%2BY8T8%3D&se=1795381034&skn=service",
            text,
            decoded,
            "eh/ConsumerGroups/$Default/Partitions/0",
        ),
        (
            "SharedAccessSignature sr=sb%3A%2F%2Flocalhost%2Feh%2F%24management&sig=a5vxnKzeGeCnOQA0QaDrqP2mkdEjyWEfmYpnUbyGWwM%3D&se=1795381522&skn=service",
            text,
            decoded,
            "eh/$management",
        ),
    ] {
        let parsed = parse(token);
        assert!(parsed.verify_bytes(right), "{token}");
        assert!(!parsed.verify_bytes(wrong), "{token}");
        assert!(parsed.resource().is_of(&HubNames::new("localhost")), "{token}");
        assert!(parsed.resource().covers(path), "{token}");
        assert!(parsed.policy().is_some());
    }
}

#[test]
fn every_way_an_sdk_escapes_the_resource_is_understood() {
    let id = "aZ09-:.+%_#*?!(),=@;$'";
    let upper = percent::encode(&format!("localhost/devices/{id}"));
    // JavaScript's own function leaves !'()* alone; the SDK escapes those by hand.
    let node = ["%21", "%27", "%28", "%29", "%2A"]
        .iter()
        .fold(upper.clone(), |sr, escape| sr.replace(escape, &escape.to_lowercase()));
    let lower = {
        let mut lower = String::new();
        let mut rest = upper.as_str();
        while let Some((before, after)) = rest.split_once('%') {
            lower.push_str(before);
            lower.push('%');
            lower.push_str(&after[..2].to_lowercase());
            rest = &after[2..];
        }
        lower + rest
    };
    let java = format!("localhost/devices/{}", percent::encode(id));
    let twice = percent::encode(&format!("localhost/devices/{}", percent::encode(id)));
    for sr in [upper, node, lower, java, twice] {
        let text = signed_over(&sr, "1893456000");
        let token = parse(&text);
        assert!(token.verify(&key(), KeyForm::Decoded), "{sr}");
        assert!(token.resource().covers(&format!("devices/{id}")), "{sr}");
        assert!(!token.resource().covers("devices/a"), "{sr}");
    }
}

#[test]
fn fields_come_in_any_order_and_case() {
    let fields = ["sr=h", "sig=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "se=5", "skn=p%20q"];
    for order in [[0, 1, 2, 3], [0, 1, 3, 2], [1, 2, 0, 3], [3, 2, 1, 0]] {
        let joined = order.map(|at| fields[at]).join("&");
        for text in [
            format!("SharedAccessSignature {joined}"),
            format!(" sharedaccesssignature   {joined}&\r\n"),
            format!("SharedAccessSignature {joined}&x=y&&future=1"),
            format!(
                "SharedAccessSignature {}",
                joined.replace("sr=", "Sr=").replace("sig=", "SIG=").replace("se=", "sE=")
            ),
        ] {
            let token = parse(&text);
            assert!(token.resource().covers("x"), "{text}");
            assert_eq!((token.policy(), token.expiry().as_secs()), (Some("p q"), 5), "{text}");
        }
    }
}

#[test]
fn an_empty_policy_is_none() {
    // The C SDK ends every device token with an empty skn.
    let text = signed_over("h%2fdevices%2fd", "1893456000") + "&skn=";
    assert_eq!(parse(&text).policy(), None);
    assert!(parse(&text).verify(&key(), KeyForm::Decoded));
}

#[test]
fn what_is_wrong_is_told() {
    let sig = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let check = |text: &str, want: SasError| {
        assert_eq!(SharedAccessSignature::parse(text).err(), Some(want), "{text}");
    };
    check("", SasError::Prefix);
    check("SharedAccessSignature", SasError::Prefix);
    check("Bearer sr=h", SasError::Prefix);
    check(&format!("sr=h&sig={sig}&se=1"), SasError::Prefix);
    check(&format!("SharedAccessSignature sr=h&sig={sig}&se"), SasError::Field);
    check(&format!("SharedAccessSignature sr=h&sig={sig}&se=1&SR=x"), SasError::Duplicate);
    check(&format!("SharedAccessSignature sig={sig}&se=1"), SasError::ResourceMissing);
    check(&format!("SharedAccessSignature sr=&sig={sig}&se=1"), SasError::ResourceMissing);
    check("SharedAccessSignature sr=h&se=1", SasError::SignatureMissing);
    check("SharedAccessSignature sr=h&se=1&sig=", SasError::Signature);
    check("SharedAccessSignature sr=h&se=1&sig=AAAA", SasError::Signature);
    check(&format!("SharedAccessSignature sr=h&se=1&sig={sig}AAAA"), SasError::Signature);
    check(&format!("SharedAccessSignature sr=h&se=1&sig=-{}", &sig[1..]), SasError::Signature);
    check(&format!("SharedAccessSignature sr=h&sig={sig}"), SasError::ExpiryMissing);
    for se in ["", "x", "-1", "+1", "1e9", " 1", "1.", ".5", "1.x", "2030-01-01"] {
        check(&format!("SharedAccessSignature sr=h&sig={sig}&se={se}"), SasError::Expiry);
    }
    check(&format!("SharedAccessSignature sr=h&sig={sig}&se=1&skn=%FF"), SasError::Policy);
    check(&"x".repeat(TOKEN_BYTES_MAX + 1), SasError::TooLong);
}

#[test]
fn the_longest_ids_escaped_twice_fit() {
    let id = "%".repeat(128);
    let twice = percent::encode(&percent::encode(&id));
    let sr = format!("{}%2Fdevices%2F{twice}%2Fmodules%2F{twice}", "h".repeat(253));
    let text = signed_over(&sr, "1893456000");
    assert!(parse(&text).resource().covers(&format!("devices/{id}/modules/{id}")));
}

#[test]
fn a_token_ends_with_its_second_plus_the_skew() {
    let text = signed_over("h", "1000.75");
    let (token, skew) = (parse(&text), Duration::from_secs(300));
    assert!(token.verify(&key(), KeyForm::Decoded), "the fraction is part of what is signed");
    assert_eq!(token.expiry(), Timestamp::from_millis(1_000_000));
    assert!(!token.is_expired(Timestamp::from_millis(1_000_000), Duration::ZERO));
    assert!(token.is_expired(Timestamp::from_millis(1_000_001), Duration::ZERO));
    assert!(!token.is_expired(Timestamp::from_millis(1_300_000), skew));
    assert!(token.is_expired(Timestamp::from_millis(1_300_001), skew));
    for forever in ["18446744073709551615", "99999999999999999999999"] {
        let text = signed_over("h", forever);
        assert_eq!(parse(&text).expiry(), Timestamp::MAX);
        assert!(!parse(&text).is_expired(Timestamp::MAX, skew));
    }
}

#[test]
fn no_truncation_of_a_token_verifies() {
    let token = sign("h/devices/d", &key(), KeyForm::Decoded, Timestamp::from_millis(9_000), None);
    for end in 0..token.len() {
        let verified = SharedAccessSignature::parse(&token[..end])
            .is_ok_and(|token| token.verify(&key(), KeyForm::Decoded));
        assert!(!verified, "{}", &token[..end]);
    }
}

fn ids() -> impl Strategy<Value = String> {
    proptest::string::string_regex("[-A-Za-z0-9:.+%_#*?!(),=@;$']{1,128}").unwrap()
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in "\\PC{0,300}") {
        let _ = SharedAccessSignature::parse(&text);
        let _ = Resource::parse(&text).covers(&text);
    }

    #[test]
    fn arbitrary_fields_never_panic(sr in "\\PC{0,80}", sig in "[A-Za-z0-9+/=%]{0,60}", se in "[0-9.]{0,30}") {
        let text = format!("SharedAccessSignature sr={sr}&sig={sig}&se={se}");
        if let Ok(token) = SharedAccessSignature::parse(&text) {
            prop_assert!(!token.verify(&key(), KeyForm::Decoded));
            let _ = token.resource().covers("devices/d");
        }
    }

    #[test]
    fn what_is_signed_parses_and_verifies(
        id in ids(),
        secret in proptest::collection::vec(any::<u8>(), 16..=64),
        seconds in 0_u64..=u64::MAX / 1000,
        policy in proptest::option::of("[A-Za-z0-9_@.-]{1,64}"),
        form in prop_oneof![Just(KeyForm::Decoded), Just(KeyForm::Text)],
        bit in 0_usize..256,
    ) {
        let key = SymmetricKey::from_base64(&SIGNATURE.encode(&secret)).unwrap();
        let expiry = Timestamp::from_millis(seconds * 1000);
        let resource = format!("hub.example/devices/{id}");
        let text = sign(&resource, &key, form, expiry, policy.as_deref());
        let mut token = SharedAccessSignature::parse(&text).unwrap();
        let path = format!("devices/{id}");
        prop_assert!(token.verify(&key, form));
        prop_assert!(token.resource().covers(&path));
        prop_assert_eq!(token.expiry(), expiry);
        prop_assert_eq!(token.policy(), policy.as_deref());
        // One flipped bit of the signature is enough.
        token.signature[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(!token.verify(&key, form));
    }

    #[test]
    fn another_key_does_not_verify(id in ids(), other in any::<[u8; 32]>()) {
        let other = SymmetricKey::generate(&other);
        let text = sign(&format!("h/devices/{id}"), &key(), KeyForm::Decoded, Timestamp::MAX, None);
        prop_assert!(!SharedAccessSignature::parse(&text).unwrap().verify(&other, KeyForm::Decoded));
    }
}
