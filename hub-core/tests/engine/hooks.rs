//! What an application's hooks decide, and when they are asked.

use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use hub_core::engine::{
    Action, Actor, Authenticator, Authorizer, Decision, Hub, RegistryAuthenticator,
};
use hub_core::envelope::{AuthMethod, AuthScope, AuthType, Message};
use hub_core::error::{CloseReason, ErrorKind};
use hub_core::frame::{Disposition, Inbound, Interest, MethodRef, Outbound};
use hub_core::hello::{CredentialMark, Credentials, Grant, Hello, Refusal};
use hub_core::id::Tag;
use hub_core::security::Principal;
use tokio::sync::Semaphore;

use crate::world::{
    START, bodies, connect, events, hello, hub, limits, next, publish, register, soon, subscribe,
    waits,
};

/// Lets in who knows a word, with a grant that ends; asks the registry about everybody else.
struct Password;

#[async_trait]
impl Authenticator for Password {
    async fn device(&self, hub: &Hub, hello: &Hello) -> Result<Grant, Refusal> {
        let mut grant = RegistryAuthenticator
            .device(hub, &Hello { credentials: Credentials::InProcess, ..hello.clone() })
            .await?;
        match &hello.credentials {
            Credentials::Token(word) if **word == *"open" => {
                grant.auth = AuthMethod { scope: AuthScope::Device, kind: AuthType::Sas };
                grant.expires = START.after(Duration::from_secs(60));
                grant.credential = CredentialMark::default();
                Ok(grant)
            }
            Credentials::Token(word) if **word == *"stale" => {
                grant.generation += 1;
                Ok(grant)
            }
            _ => Err(Refusal::Unauthorized("wrong word")),
        }
    }

    async fn service(&self, _: &Hub, token: &str) -> Result<Principal, Refusal> {
        match token {
            "open" => Ok(Principal::in_process()),
            _ => Err(Refusal::Denied),
        }
    }
}

fn with_word(word: &str) -> Hello {
    Hello { credentials: Credentials::Token(word.into()), ..hello("d1") }
}

#[tokio::test]
async fn an_authenticator_decides_who_is_let_in() {
    let (hub, _) = hub(|builder| builder.authenticator(Password)).await;
    let refused = hub.connect(with_word("closed")).await.unwrap_err();
    assert_eq!(refused, Refusal::Unauthorized("wrong word"));
    assert_eq!(hub.connections(), 0);
    let mut link = hub.connect(with_word("open")).await.unwrap();
    assert_eq!(link.welcome.grant.expires, START.after(Duration::from_secs(60)));
    publish(&mut link, 1, b"x");
    assert_eq!(next(&mut link).await, Outbound::Receipt(Tag(1)));
    assert_eq!(hub.authenticate(&with_word("open")).await.unwrap().auth.kind, AuthType::Sas);
    assert!(hub.authenticate_service("open").await.is_ok());
    assert_eq!(hub.authenticate_service("closed").await.unwrap_err(), Refusal::Denied);
}

/// What it granted is checked against the identity all the same.
#[tokio::test]
async fn a_grant_for_an_identity_that_is_not_there_any_more_counts_for_nothing() {
    let (hub, _) = hub(|builder| builder.authenticator(Password)).await;
    let refused = hub.connect(with_word("stale")).await.unwrap_err();
    assert_eq!(refused, Refusal::Unknown(crate::world::address("d1")));
    let nobody = Hello { address: crate::world::address("nobody"), ..with_word("open") };
    assert!(matches!(hub.connect(nobody).await, Err(Refusal::Unknown(_))));
}

/// Denies what it is told to, and takes its time if it is told to.
#[derive(Clone, Default)]
pub(crate) struct Guard(Arc<GuardState>);

#[derive(Default)]
struct GuardState {
    denied: Mutex<Vec<&'static str>>,
    asked: Mutex<Vec<&'static str>>,
    /// One permit per decision, once this is set.
    slow: Mutex<Option<Arc<Semaphore>>>,
}

impl Guard {
    pub(crate) fn deny(self, action: &'static str) -> Self {
        self.0.denied.lock().unwrap().push(action);
        self
    }

    fn take_time(&self) -> Arc<Semaphore> {
        let slow = Arc::new(Semaphore::new(0));
        *self.0.slow.lock().unwrap() = Some(slow.clone());
        slow
    }

    fn asked(&self) -> Vec<&'static str> {
        self.0.asked.lock().unwrap().clone()
    }
}

#[async_trait]
impl Authorizer for Guard {
    async fn authorize(&self, _: Actor<'_>, action: Action<'_>) -> Decision {
        let name = match action {
            Action::Connect(_) => "connect",
            Action::Publish(_) => "publish",
            Action::Subscribe(_) => "subscribe",
            Action::ReplyMethod => "reply",
            Action::ReadTwin(_) => "read twin",
            Action::ReportTwin => "report",
            _ => "other",
        };
        let slow = self.0.slow.lock().unwrap().clone();
        if let Some(slow) = slow {
            slow.acquire().await.unwrap().forget();
        }
        self.0.asked.lock().unwrap().push(name);
        if self.0.denied.lock().unwrap().contains(&name) { Decision::Deny } else { Decision::Allow }
    }
}

fn forbidden(said: &Outbound, tag: u64) -> bool {
    matches!(said, Outbound::Refused(Tag(t), e) if *t == tag && e.kind() == ErrorKind::Forbidden)
}

/// The application keeps its own, to change what it decides.
#[tokio::test]
async fn hooks_may_be_shared_with_the_application() {
    let authenticator: Arc<dyn Authenticator> = Arc::new(Password);
    let guard = Arc::new(Guard::default());
    let (hub, _) = hub(|b| b.authenticator(authenticator).authorizer(guard.clone())).await;
    let refused = hub.connect(with_word("closed")).await.unwrap_err();
    assert_eq!(refused, Refusal::Unauthorized("wrong word"));
    let mut link = hub.connect(with_word("open")).await.unwrap();
    guard.0.denied.lock().unwrap().push("publish");
    publish(&mut link, 1, b"x");
    assert!(forbidden(&next(&mut link).await, 1));
    assert_eq!(guard.asked(), ["connect", "publish"]);
    assert!(hub.authenticate_service("open").await.is_ok());
}

#[tokio::test]
async fn a_denied_connect_is_no_connection() {
    let (hub, _) = hub(|builder| builder.authorizer(Guard::default().deny("connect"))).await;
    assert_eq!(hub.connect(hello("d1")).await.unwrap_err(), Refusal::Denied);
    assert_eq!(hub.connections(), 0);
}

#[tokio::test]
async fn what_is_denied_is_refused_and_the_rest_goes_on() {
    let guard = Guard::default().deny("publish").deny("report").deny("subscribe");
    let (hub, _) = hub(|builder| builder.authorizer(guard.clone())).await;
    let mut link = connect(&hub, "d1").await;
    publish(&mut link, 1, b"x");
    link.up.send(Inbound::Report(Tag(2), "{\"a\":1}".into(), None));
    subscribe(&mut link, 3, Interest::Methods);
    link.up.send(Inbound::GetTwin(Tag(4)));
    for tag in 1..=3 {
        let said = next(&mut link).await;
        assert!(forbidden(&said, tag), "{said:?}");
    }
    // Nobody listens for twin answers, so this one has none to give.
    assert_eq!(next(&mut link).await, Outbound::Receipt(Tag(4)));
    assert_eq!(guard.asked(), ["connect", "publish", "report", "subscribe", "read twin"]);
    assert!(bodies(&hub).await.is_empty());
    let twin = hub.registry().twin(&crate::world::address("d1")).await.unwrap().twin;
    assert_eq!(twin.reported_version(), 1);
}

/// A frame without an answer cannot be refused otherwise.
#[tokio::test]
async fn what_has_no_answer_ends_the_connection_when_it_is_denied() {
    let (hub, _) = hub(|builder| builder.authorizer(Guard::default().deny("reply"))).await;
    let mut link = connect(&hub, "d1").await;
    link.up.send(Inbound::Reply(MethodRef(1), 200, "1".into()));
    assert_eq!(next(&mut link).await, Outbound::Close(CloseReason::Denied));
}

/// While it decides on one frame, those behind it wait.
#[tokio::test]
async fn frames_keep_their_order_while_it_decides() {
    let guard = Guard::default();
    let (hub, _) = hub(|builder| builder.authorizer(guard.clone())).await;
    let mut link = connect(&hub, "d1").await;
    let slow = guard.take_time();
    for (tag, body) in [(1, b"one"), (2, b"two"), (3, b"six")] {
        publish(&mut link, tag, body);
    }
    assert!(waits(link.down.next()).await);
    for tag in 1..=3 {
        slow.add_permits(1);
        assert_eq!(next(&mut link).await, Outbound::Receipt(Tag(tag)));
    }
    assert_eq!(bodies(&hub).await, [b"one", b"two", b"six"]);
}

/// To settle and to unsubscribe ends things. It is always allowed.
#[tokio::test]
async fn what_ends_things_is_not_asked_about() {
    let guard = Guard::default();
    let (hub, _) = hub(|builder| builder.authorizer(guard.clone())).await;
    let d1 = crate::world::address("d1");
    hub.send(&d1, Message::new("x")).await.unwrap();
    let mut link = connect(&hub, "d1").await;
    subscribe(&mut link, 1, Interest::Messages);
    assert_eq!(next(&mut link).await, Outbound::Receipt(Tag(1)));
    let Outbound::Offer(delivery) = next(&mut link).await else { panic!("no offer") };
    link.up.send(Inbound::Settle(Some(Tag(2)), delivery.token, Disposition::Complete));
    assert_eq!(next(&mut link).await, Outbound::Receipt(Tag(2)));
    link.up.send(Inbound::Unsubscribe(Tag(3), vec![Interest::Messages]));
    assert_eq!(next(&mut link).await, Outbound::Receipt(Tag(3)));
    assert_eq!(guard.asked(), ["connect", "subscribe"]);
}

/// What waits for a decision takes places and bytes of the link, as what waits for the store does.
#[tokio::test]
async fn undecided_frames_are_bounded() {
    let guard = Guard::default();
    let few = limits(|limits| {
        limits.link_window = 3;
        limits.link_bytes_max = 10_000;
    });
    let (hub, _) = hub(|builder| builder.limits(few).authorizer(guard.clone())).await;
    let mut link = connect(&hub, "d1").await;
    let slow = guard.take_time();
    for tag in 1..=3 {
        assert!(link.up.has_room());
        publish(&mut link, tag, b"x");
    }
    assert!(!link.up.has_room(), "three frames wait");
    assert!(waits(link.up.ready()).await);
    slow.add_permits(3);
    for tag in 1..=3 {
        assert_eq!(next(&mut link).await, Outbound::Receipt(Tag(tag)));
    }
    let large = events(&link, &[&[b'x'; 20_000]]);
    link.up.send(Inbound::Telemetry(Tag(4), large));
    assert!(!link.up.has_room(), "one frame, and too many bytes");
    slow.add_permits(1);
    assert_eq!(next(&mut link).await, Outbound::Receipt(Tag(4)));
    assert!(link.up.has_room());
}

/// Bytes of what was denied are free again.
#[tokio::test]
async fn denied_frames_take_no_room() {
    let guard = Guard::default().deny("publish");
    let few = limits(|limits| limits.link_bytes_max = 1000);
    let (hub, _) = hub(|builder| builder.limits(few).authorizer(guard)).await;
    register(&hub, "d2").await;
    let mut link = connect(&hub, "d1").await;
    for tag in 1..=20 {
        soon(link.up.ready()).await;
        publish(&mut link, tag, &[b'x'; 900]);
        assert!(forbidden(&next(&mut link).await, tag));
    }
}

#[tokio::test]
async fn back_ends_are_asked_about_through_the_hub() {
    let (hub, _) = hub(|builder| builder.authorizer(Guard::default().deny("other"))).await;
    let principal = Principal::in_process();
    let d1 = crate::world::address("d1");
    let denied = hub.authorize(Actor::Service(&principal), Action::SendMessage(&d1)).await;
    assert_eq!(denied.unwrap_err().kind(), ErrorKind::Forbidden);
    assert!(hub.authorize(Actor::Service(&principal), Action::ReadTwin(&d1)).await.is_ok());
}
