//! Who the peer is: the security layer, tokens, and when they end.

use std::sync::Arc;

use futures::future::FutureExt as _;
use hub_core::hello::{Credentials, Hello, Refusal, SessionMode};
use hub_core::security::Right;
use hub_core::{Address, Hub, Timestamp};

use super::broker::Broker;
use super::links::{Desk, Served};
use super::work::Done;
use crate::codec::Outcome;
use crate::endpoint::{LinkKey, SaslChoice};
use crate::inbound::Question;
use crate::outbound;
use crate::problem::{AmqpError, condition};
use crate::token::{Holder, Token, candidates};

/// The path of a right to send and hear as a back end.
pub(super) const DEVICE_BOUND: &str = "messages/devicebound";
pub(super) const SERVICE_BOUND: &str = "messages/servicebound";

/// What a device says of itself, as far as a token goes.
pub(super) fn hello(address: Address, credentials: Credentials) -> Hello {
    Hello {
        address,
        credentials,
        host: None,
        session: SessionMode::Clean,
        model: None,
        client: None,
        protocol: "amqp",
        peer: None,
    }
}

/// Proves a token: of a policy, or of a device or module.
async fn admit(
    hub: Hub,
    text: Arc<str>,
    peer: Option<std::net::SocketAddr>,
) -> Result<Token, Refusal> {
    let owners = if names_policy(&text) { Vec::new() } else { candidates(&text) };
    if owners.is_empty() {
        let principal = hub.authenticate_service(&text).await?;
        return Ok(Token::new(text, Holder::Policy(principal)));
    }
    let mut refusal = Refusal::Unauthorized("the token is for nobody");
    for owner in owners {
        let hello = Hello { peer, ..hello(owner, Credentials::Token(text.clone())) };
        match hub.authenticate(&hello).await {
            Ok(grant) => {
                let holder = Holder::Identity(hello.address, grant.expires);
                return Ok(Token::new(text, holder));
            }
            Err(found) => refusal = found,
        }
    }
    Err(refusal)
}

fn names_policy(text: &str) -> bool {
    hub_core::security::SharedAccessSignature::parse(text)
        .is_ok_and(|token| token.policy().is_some())
}

impl Broker {
    /// A name and a token of the security layer. The token says everything; the name is the
    /// client's own business.
    pub(super) fn secure(&mut self, choice: SaslChoice) {
        match choice {
            SaslChoice::Open => self.endpoint.sasl_decided(true, &mut self.turn),
            SaslChoice::Plain { token, .. } => {
                self.requests += 1;
                let (hub, peer) = (self.hub.clone(), self.peer.addr);
                self.begin(admit(hub, token.into(), peer).map(Done::Secured).boxed());
            }
        }
    }

    pub(super) fn secured(&mut self, admitted: Result<Token, Refusal>) {
        self.requests -= 1;
        let admitted = admitted.is_ok_and(|token| self.admitted(token).is_ok());
        if !admitted {
            self.shared.counters.tokens_refused();
        }
        self.endpoint.sasl_decided(admitted, &mut self.turn);
    }

    fn admitted(&mut self, token: Token) -> Result<(), AmqpError> {
        // A device that is connected goes on with its newer token.
        if let Holder::Identity(address, _) = token.holder() {
            let address = address.clone();
            self.tokens.put(token, self.shared.limits.tokens_max)?;
            self.renew(&address);
        } else {
            self.tokens.put(token, self.shared.limits.tokens_max)?;
            self.renew_all();
        }
        self.known = true;
        self.shared.counters.tokens_accepted();
        Ok(())
    }

    /// The peer asks a question of `$cbs`.
    pub(super) fn put_token(
        &mut self,
        link: LinkKey,
        delivery: u32,
        settled: bool,
        payload: &[u8],
    ) {
        let question = match Question::read(payload) {
            Ok(question) => question,
            Err(error) => return self.reject(link, delivery, settled, &error),
        };
        self.take(link, delivery, settled);
        let token = match (&question.token, question.operation.as_str()) {
            (Some(token), "put-token") => token.as_str().into(),
            // Without a token or with another operation there is nothing that could be proved.
            _ => "".into(),
        };
        self.requests += 1;
        let admitted = admit(self.hub.clone(), token, self.peer.addr);
        self.begin(admitted.map(move |admitted| Done::Put(link, question, admitted)).boxed());
    }

    pub(super) fn token_put(
        &mut self,
        link: LinkKey,
        question: &Question,
        admitted: Result<Token, Refusal>,
    ) {
        self.requests -= 1;
        let refused = match admitted {
            Ok(token) => self.admitted(token).err().map(|error| (403, error)),
            Err(refusal @ Refusal::Unavailable(_)) => Some((503, AmqpError::from(&refusal))),
            Err(refusal) => {
                self.shared.counters.tokens_refused();
                Some((401, AmqpError::from(&refusal)))
            }
        };
        let refused = refused.as_ref().map(|(status, error)| (*status, error));
        let mut answer = Vec::new();
        let (id, to) = (question.id.as_deref(), question.reply_to.as_deref());
        outbound::token_answer(&mut answer, id, to, refused);
        self.answer(link, Desk::Cbs, question.reply_to.as_deref(), answer);
    }

    /// Takes a message of the peer.
    pub(super) fn take(&mut self, link: LinkKey, delivery: u32, settled: bool) {
        if !settled {
            self.endpoint.settle(link, (delivery, delivery), Outcome::Accepted, &mut self.turn);
        }
        self.replenish(link, 0);
    }

    /// Refuses a message of the peer. One that its sender has forgotten cannot be refused: its link
    /// ends.
    pub(super) fn reject(&mut self, link: LinkKey, delivery: u32, settled: bool, why: &AmqpError) {
        if settled {
            return self.detach(link, why);
        }
        self.endpoint.settle(
            link,
            (delivery, delivery),
            Outcome::Rejected(Some(why)),
            &mut self.turn,
        );
        self.replenish(link, 0);
    }

    /// Sends an answer on the link that hears answers: the one whose address the question names,
    /// else the latest.
    pub(super) fn answer(
        &mut self,
        asked_on: LinkKey,
        desk: Desk,
        reply_to: Option<&str>,
        answer: Vec<u8>,
    ) {
        let hears = self.links.iter().filter_map(|(link, served)| match served {
            Served::Answers(of, address, _) if *of == desk => Some((*link, address.as_deref())),
            _ => None,
        });
        let named = |address: Option<&str>| reply_to.is_some() && address == reply_to;
        let best = hears.max_by_key(|(link, address)| (named(*address), *link));
        match best {
            Some((link, _)) => self.put(link, answer, None),
            None => {
                let why = AmqpError::new(condition::ILLEGAL_STATE, "nobody hears the answer");
                self.detach(asked_on, &why);
            }
        }
    }

    /// When the first of the tokens ends for good.
    pub(super) fn tokens_end(&self) -> Option<Timestamp> {
        self.tokens.deadline(self.hub_limits().token_grace)
    }

    /// Time has passed: what rested on a token that has ended, ends. Devices are ended by the hub.
    pub(super) fn expire(&mut self) {
        if !self.tokens.expire(self.hub.now(), self.hub.limits().token_grace) {
            return;
        }
        let ended: Vec<LinkKey> = self
            .links
            .iter()
            .filter(|(_, served)| self.needs(served).is_some_and(|path| !self.may_serve(&path)))
            .map(|(link, _)| *link)
            .collect();
        let why = AmqpError::new(condition::UNAUTHORIZED, "the token has expired");
        for link in ended {
            self.detach(link, &why);
        }
        if self.tokens.is_empty() && self.devices.is_empty() {
            self.close(&why);
        }
    }

    /// Whether the peer may be a back end at a path.
    pub(super) fn may_serve(&self, path: &str) -> bool {
        self.tokens.service(Right::ServiceConnect, path).is_some()
    }

    /// The path for which a link needs a token.
    fn needs(&self, served: &Served) -> Option<String> {
        match served {
            Served::DeviceBound(_) => Some(DEVICE_BOUND.to_owned()),
            Served::Told(..) => Some(SERVICE_BOUND.to_owned()),
            Served::Events(reading) => Some(reading.path().to_owned()),
            _ => None,
        }
    }
}
