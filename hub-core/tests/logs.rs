//! What is logged, and what never is.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panicking"
)]

#[expect(dead_code, reason = "shared with the tests of the engine")]
#[path = "engine/store.rs"]
mod store;
#[expect(dead_code, reason = "shared with the tests of the engine")]
#[path = "engine/world.rs"]
mod world;

use std::sync::Arc;
use std::time::Duration;

use hub_core::conformance::transport::Captured;
use hub_core::engine::{Health, Hub, ManualClock};
use hub_core::envelope::{EventBatch, Message, Property, SystemProperty};
use hub_core::error::DisconnectCause;
use hub_core::frame::{Disposition, Inbound, Interest, Outbound};
use hub_core::hello::{Credentials, Hello};
use hub_core::id::Tag;
use hub_core::method::MethodCall;
use hub_core::registry::{AuthenticationSpec, IdentitySpec};
use hub_core::security::{KeyForm, Policies, Policy, Right, SymmetricKey, sign};
use hub_core::store::{Document, Record, StoreErrorKind};
use hub_core::twin::ServicePatch;

use crate::store::TestStore;
use crate::world::{
    START, address, connect, hello, next, plain, publish, register, soon, subscribe, until,
};

/// Whether one line has all of these.
#[track_caller]
fn must_say(log: &Captured, parts: &[&str]) {
    let text = log.text();
    let found = text.lines().any(|line| parts.iter().all(|part| line.contains(part)));
    assert!(found, "nothing says {parts:?} in\n{text}");
}

/// One of every pattern, with planted secrets. Returns those.
async fn everything() -> Vec<String> {
    let (store, control) = TestStore::new();
    let clock = Arc::new(ManualClock::new(START));
    let key = SymmetricKey::generate(&[77; 32]);
    let policy_key = SymmetricKey::generate(&[78; 32]);
    let policy =
        Policy::new("back", policy_key.clone(), policy_key.clone(), Right::ServiceConnect.into());
    let mut policies = Policies::none();
    policies.insert(policy.unwrap()).unwrap();
    let hub = Hub::builder(store).clock(clock.clone()).policies(policies).partitions(1);
    let hub = hub.start().unwrap();
    let d1 = address("d1");
    let mut spec = IdentitySpec::new(d1.clone());
    let (primary, secondary) = (Some(key.clone()), Some(key.clone()));
    spec.authentication = Some(AuthenticationSpec::Sas { primary, secondary });
    hub.registry().put(&spec, None).await.unwrap();
    let expiry = START.after(Duration::from_secs(600));
    let token = sign("localhost/devices/d1", &key, KeyForm::Decoded, expiry, None);
    let wrong = sign("localhost/devices/d1", &policy_key, KeyForm::Decoded, expiry, None);
    let service = sign("localhost", &policy_key, KeyForm::Decoded, expiry, Some("back"));
    let with = |token: &str| Hello { credentials: Credentials::Token(token.into()), ..hello("d1") };

    // Credentials, good and bad.
    hub.authenticate_service(&service).await.unwrap();
    hub.authenticate_service(&wrong).await.unwrap_err();
    hub.connect(with(&wrong)).await.unwrap_err();
    hub.connect(with("SharedAccessSignature planted-nonsense")).await.unwrap_err();
    let mut link = hub.connect(with(&token)).await.unwrap();

    // Telemetry, with properties.
    let mut batch = EventBatch::new();
    let properties = [
        Property::System(SystemProperty::MessageId, "planted-id"),
        Property::Application("planted-name", Some("planted-value")),
    ];
    batch.push(link.up.stamp(), properties, b"planted telemetry", 1000).unwrap();
    link.up.send(Inbound::Telemetry(Tag(1), batch.take()));
    assert_eq!(next(&mut link).await, Outbound::Receipt(Tag(1)));

    // Twins: written, refused, read.
    let desire = |text: &str| ServicePatch::parse(text.as_bytes(), hub.limits());
    let good = desire(
        r#"{"tags":{"plantedTag":"planted tag"},"properties":{"desired":{"plantedKey":"planted desire"}}}"#,
    );
    for (tag, interest) in [
        (2, Interest::TwinResponses),
        (3, Interest::DesiredProperties),
        (4, Interest::Methods),
        (5, Interest::Messages),
    ] {
        subscribe(&mut link, tag, interest);
        assert_eq!(next(&mut link).await, Outbound::Receipt(Tag(tag)));
    }
    hub.patch_twin(&d1, good.unwrap(), None).await.unwrap();
    assert!(matches!(next(&mut link).await, Outbound::Desired(..)));
    let stale = desire(r#"{"tags":{"plantedTag":"planted stale"}}"#).unwrap();
    hub.patch_twin(&d1, stale, Some("AAAAAAAAAAE=")).await.unwrap_err();
    link.up.send(Inbound::Report(Tag(6), "{\"plantedFact\":\"planted fact\"}".into(), None));
    assert!(matches!(next(&mut link).await, Outbound::Reported(..)));
    link.up.send(Inbound::Report(Tag(7), "{\"planted.bad\":\"planted mistake\"}".into(), None));
    assert!(matches!(next(&mut link).await, Outbound::Refused(..)));
    link.up.send(Inbound::GetTwin(Tag(8)));
    assert!(matches!(next(&mut link).await, Outbound::Twin(..)));

    // A method, answered well and badly.
    for answer in ["\"planted answer\"", "planted rubbish"] {
        let calling = tokio::spawn({
            let (hub, d1) = (hub.clone(), d1.clone());
            let call = MethodCall::new("reboot").with_payload("\"planted question\"");
            async move { hub.invoke(&d1, call).await.is_ok() }
        });
        let Outbound::Call(call, ..) = next(&mut link).await else { panic!("no call") };
        link.up.send(Inbound::Reply(call, 200, answer.into()));
        soon(calling).await.unwrap();
    }

    // Messages: completed, rejected, and one whose lock is lost.
    for disposition in [Some(Disposition::Complete), Some(Disposition::Reject), None] {
        let message = Message::new("planted message").with_property("planted-key", "planted prop");
        hub.send(&d1, message).await.unwrap();
        let Outbound::Offer(delivery) = next(&mut link).await else { panic!("no offer") };
        if disposition.is_none() {
            clock.advance(Duration::from_secs(61));
        }
        let disposition = disposition.unwrap_or(Disposition::Abandon);
        link.up.send(Inbound::Settle(Some(Tag(9)), delivery.token, disposition));
        loop {
            match next(&mut link).await {
                Outbound::Receipt(Tag(9)) | Outbound::Refused(Tag(9), _) => break,
                _ => {}
            }
        }
    }

    // Documents that cannot be read, and a store that does not answer.
    control.lie(|record| match record {
        Some(Record::Document(Document { at, .. })) => {
            Some(Record::Document(Document { at, body: "planted garbage".into() }))
        }
        other => other,
    });
    hub.connect(with(&token)).await.unwrap_err();
    hub.registry().twin(&d1).await.unwrap_err();
    control.be_honest();
    control.fail_commits(Some(StoreErrorKind::Unknown));
    link.up.send(Inbound::Report(Tag(10), "{\"plantedLate\":\"planted late\"}".into(), None));
    until(|| hub.health() == Health::Degraded).await;
    control.fail_commits(None);
    while !matches!(next(&mut link).await, Outbound::Reported(Tag(10), _)) {}
    drop(link);
    hub.registry().delete(&d1, None).await.unwrap();
    hub.shutdown(Duration::from_secs(5)).await;

    let signature = |token: &str| {
        let (_, rest) = token.split_once("sig=").unwrap();
        rest.split('&').next().unwrap().to_owned()
    };
    let mut secrets: Vec<String> = [&token, &wrong, &service].map(|token| signature(token)).into();
    secrets.extend([key.to_base64().to_owned(), policy_key.to_base64().to_owned()]);
    secrets.push("planted".into());
    secrets
}

#[tokio::test]
async fn no_secret_and_no_payload_is_logged_at_any_level() {
    let (log, _listening) = Captured::begin();
    let secrets = everything().await;
    // If nothing were heard, nothing would be found.
    must_say(&log, &["TRACE", "batch committed", "batch=", "changes=1", "bytes=", "seconds="]);
    must_say(&log, &["DEBUG", "connected", "device=d1", "protocol=test", "epoch=1"]);
    must_say(&log, &["INFO", "refused", "device=d1", "kind=unauthorized", "wrong signature"]);
    must_say(&log, &["DEBUG device", "address=d1"]);
    must_say(&log, &["TRACE commit", "batch="]);
    let secrets: Vec<_> = secrets.iter().map(String::as_str).collect();
    log.must_not_hold(&secrets);
}

#[tokio::test]
async fn ends_and_refusals_say_why() {
    let (log, _listening) = Captured::begin();
    let clock = Arc::new(ManualClock::new(START));
    let hub = Hub::builder(hub_store_memory::MemoryStore::new()).clock(clock.clone());
    let hub = hub.start().unwrap();
    let d1 = register(&hub, "d1").await;
    let _old = connect(&hub, "d1").await;
    let mut new = connect(&hub, "d1").await;
    must_say(&log, &["INFO", "taken over by a new connection", "device=d1", "epoch=1"]);
    new.up.leave(DisconnectCause::KeepAlive);
    must_say(&log, &["DEBUG", "disconnected", "device=d1", "epoch=2", "cause=keep_alive"]);
    hub.connect(hello("nobody")).await.unwrap_err();
    must_say(&log, &["INFO", "refused", "device=nobody", "kind=unknown", "protocol=test"]);

    let hub_core::security::Authentication::Sas { primary, .. } =
        hub.registry().get(&d1).await.unwrap().identity.authentication().clone()
    else {
        panic!("it has keys")
    };
    let expiry = START.after(Duration::from_secs(60));
    let token = sign("localhost/devices/d1", &primary, KeyForm::Decoded, expiry, None);
    let hello = Hello { credentials: Credentials::Token(token.into()), ..hello("d1") };
    let mut link = hub.connect(hello).await.unwrap();
    clock.advance(Duration::from_secs(60) + hub.limits().token_grace);
    assert!(matches!(next(&mut link).await, Outbound::Close(_)));
    must_say(&log, &["INFO", "the token has expired", "device=d1", "epoch=3"]);
}

#[tokio::test]
async fn a_store_that_is_away_is_told_once_and_so_is_its_return() {
    let (log, _listening) = Captured::begin();
    let (hub, store) = plain().await;
    let mut link = connect(&hub, "d1").await;
    store.fail_commits(Some(StoreErrorKind::Unavailable));
    publish(&mut link, 1, b"x");
    until(|| hub.gauges().retries > 3).await;
    store.fail_commits(None);
    assert_eq!(next(&mut link).await, Outbound::Receipt(Tag(1)));
    must_say(&log, &["WARN", "the store does not answer", "batch=", "error="]);
    must_say(&log, &["INFO", "the store answers again", "batch=", "tries="]);
    assert_eq!(log.text().matches("the store does not answer").count(), 1);
    store.fail_commits(Some(StoreErrorKind::Fatal));
    publish(&mut link, 2, b"x");
    soon(hub.failed()).await;
    must_say(&log, &["ERROR", "the store has failed"]);
}
