//! Back ends: messages to devices, and what the hub tells of these and of uploaded files.

use futures::future::FutureExt as _;
use hub_core::engine::{Action, Actor};
use hub_core::envelope::Message;
use hub_core::error::ErrorKind;
use hub_core::frame::{Disposition, LockToken};
use hub_core::security::{Principal, Right};
use hub_core::{Address, Hub, HubError};

use super::broker::{Broker, SECTIONS};
use super::links::{News, Served};
use super::outlet::Outlet;
use super::tokens::{DEVICE_BOUND, SERVICE_BOUND};
use super::work::{CallOff, Done, abortable};
use crate::codec::Outcome;
use crate::endpoint::{Disposed, LinkKey};
use crate::inbound;
use crate::outbound;
use crate::problem::{AmqpError, condition};

/// Sends to the first of those who could be meant that there is.
async fn send(
    hub: Hub,
    sender: Principal,
    to: Vec<Address>,
    message: Message,
) -> Result<(), AmqpError> {
    let mut last = AmqpError::new(condition::NOT_FOUND, "there is no such device");
    for address in to {
        let action = Action::SendMessage(&address);
        let allowed = hub.authorize_bytes(Actor::Service(&sender), action, message.size());
        allowed.await.map_err(|error| AmqpError::from(&error))?;
        match hub.send(&address, message.clone()).await {
            Ok(_) => return Ok(()),
            Err(error) => {
                last = AmqpError::from(&error);
                let unknown =
                    matches!(error.kind(), ErrorKind::DeviceNotFound | ErrorKind::ModuleNotFound);
                if !unknown {
                    break;
                }
            }
        }
    }
    Err(last)
}

/// Waits for something to tell a back end: its lock and the message.
async fn receive(
    hub: Hub,
    receiver: &Principal,
    news: News,
) -> Result<(LockToken, Vec<u8>), HubError> {
    let action = match news {
        News::Feedback => Action::ReceiveFeedback,
        News::Files => Action::ReceiveFileNotifications,
    };
    hub.authorize(Actor::Service(receiver), action).await?;
    let mut message = Vec::new();
    let name = crate::address::log_name(hub.names());
    let lock = match news {
        News::Feedback => {
            let batch = hub.feedback().receive().await?;
            outbound::feedback(&mut message, &batch, name, hub.now());
            batch.token
        }
        News::Files => {
            let received = hub.file_notifications().receive().await?;
            outbound::file_notification(&mut message, &received, name);
            received.token
        }
    };
    Ok((lock, message))
}

/// What a device or back end says became of a message, in the hub's words.
pub(super) fn disposition(outcome: Disposed) -> Disposition {
    match outcome {
        Disposed::Accepted => Disposition::Complete,
        Disposed::Released => Disposition::Abandon,
        Disposed::Rejected => Disposition::Reject,
    }
}

impl Broker {
    /// The peer asks to send messages to devices.
    pub(super) fn attach_device_bound(&mut self, link: LinkKey) {
        if !self.may_serve(DEVICE_BOUND) {
            return self.unauthorized(link);
        }
        let message_max = self.hub_limits().c2d_bytes_max.saturating_add(SECTIONS);
        self.accept(link, Served::DeviceBound(0), message_max, false);
        self.replenish(link, 0);
    }

    pub(super) fn unauthorized(&mut self, link: LinkKey) {
        let why = "no token on this connection allows that";
        self.refuse(link, &AmqpError::new(condition::UNAUTHORIZED, why));
    }

    /// A message to a device.
    pub(super) fn device_bound(
        &mut self,
        link: LinkKey,
        delivery: u32,
        settled: bool,
        payload: &[u8],
    ) {
        let read = inbound::cloud_to_device(payload);
        let sender = self.tokens.service(Right::ServiceConnect, DEVICE_BOUND).cloned();
        let (to, message, sender) = match (read, sender) {
            (Ok((to, message)), Some(sender)) => (to, message, sender),
            (Err(error), _) => return self.reject(link, delivery, settled, &error),
            (_, None) => {
                let why = AmqpError::new(condition::UNAUTHORIZED, "the token has expired");
                return self.detach(link, &why);
            }
        };
        let Some(Served::DeviceBound(in_hand)) = self.links.get_mut(&link) else { return };
        *in_hand += 1;
        self.requests += 1;
        let sent = send(self.hub.clone(), sender, to, message);
        self.begin(sent.map(move |sent| Done::Sent(link, delivery, settled, sent)).boxed());
    }

    pub(super) fn sent(
        &mut self,
        link: LinkKey,
        delivery: u32,
        settled: bool,
        sent: Result<(), AmqpError>,
    ) {
        self.requests -= 1;
        let Some(Served::DeviceBound(in_hand)) = self.links.get_mut(&link) else { return };
        *in_hand = in_hand.saturating_sub(1);
        let in_hand = *in_hand;
        match (&sent, settled) {
            (Ok(()), true) => {}
            (Err(why), true) => return self.detach(link, why),
            (result, false) => {
                let outcome = match result {
                    Ok(()) => Outcome::Accepted,
                    Err(why) => Outcome::Rejected(Some(why)),
                };
                self.endpoint.settle(link, (delivery, delivery), outcome, &mut self.turn);
            }
        }
        self.replenish(link, in_hand);
    }

    /// The peer asks to hear what the hub tells.
    pub(super) fn attach_news(&mut self, link: LinkKey, news: News) {
        if !self.may_serve(SERVICE_BOUND) {
            return self.unauthorized(link);
        }
        self.accept(link, Served::Told(news, Outlet::default(), None), 0, false);
        // A peer may grant credit before it has its answer.
        self.claim(link);
    }

    /// Waits for the next thing to tell, if a link can take one.
    pub(super) fn claim(&mut self, link: LinkKey) {
        let locked_max = self.limits().locked_max;
        let can_send = self.endpoint.can_send(link);
        let Some(principal) = self.tokens.service(Right::ServiceConnect, SERVICE_BOUND) else {
            return;
        };
        let principal = principal.clone();
        let Some(Served::Told(news, outlet, waiting)) = self.links.get_mut(&link) else { return };
        if waiting.is_some() || !can_send || !outlet.is_empty() || outlet.len() >= locked_max {
            return;
        }
        let (hub, news) = (self.hub.clone(), *news);
        let (work, handle) =
            abortable(async move { Done::Claimed(link, receive(hub, &principal, news).await) });
        *waiting = Some(CallOff(handle));
        self.begin(work);
    }

    pub(super) fn claimed(&mut self, link: LinkKey, news: Result<(LockToken, Vec<u8>), HubError>) {
        let Some(Served::Told(_, _, waiting)) = self.links.get_mut(&link) else { return };
        *waiting = None;
        match news {
            Ok((lock, message)) => {
                self.put(link, message, Some(lock));
                self.claim(link);
            }
            Err(error) => self.detach(link, &AmqpError::from(&error)),
        }
    }

    /// The peer says what became of something that it was told.
    pub(super) fn settle_news(
        &mut self,
        link: LinkKey,
        delivery: u32,
        outcome: Disposed,
        wants_answer: bool,
    ) {
        let Some(Served::Told(news, outlet, _)) = self.links.get_mut(&link) else { return };
        let Some(lock) = outlet.settled(delivery) else { return };
        self.requests += 1;
        let (hub, news) = (self.hub.clone(), *news);
        let work = async move {
            let settled = match news {
                News::Feedback => hub.feedback().settle(lock, disposition(outcome)).await,
                News::Files => hub.file_notifications().settle(lock, disposition(outcome)).await,
            };
            Done::Settled(link, delivery, outcome, wants_answer, settled)
        };
        self.begin(work.boxed());
        self.claim(link);
    }

    pub(super) fn news_settled(
        &mut self,
        link: LinkKey,
        delivery: u32,
        outcome: Disposed,
        wants_answer: bool,
        settled: Result<(), HubError>,
    ) {
        self.requests -= 1;
        if wants_answer {
            self.answer_settled(link, delivery, outcome, settled.as_ref().err());
        }
    }

    /// Tells a peer that waits for it how its settlement ended.
    pub(super) fn answer_settled(
        &mut self,
        link: LinkKey,
        delivery: u32,
        outcome: Disposed,
        error: Option<&HubError>,
    ) {
        let error = error.map(AmqpError::from);
        let outcome = match (&error, outcome) {
            (Some(error), _) => Outcome::Rejected(Some(error)),
            (None, Disposed::Accepted) => Outcome::Accepted,
            (None, Disposed::Released) => Outcome::Released,
            (None, Disposed::Rejected) => Outcome::Rejected(None),
        };
        self.endpoint.settle_sent(link, delivery, outcome, &mut self.turn);
    }
}
