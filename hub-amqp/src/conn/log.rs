//! Questions about the event log.

use futures::future::FutureExt as _;
use hub_core::engine::{Action, Actor};
use hub_core::error::{ErrorKind, HubError};
use hub_core::id::Partition;
use hub_core::security::{Principal, Right};
use hub_core::{Hub, Timestamp};

use super::broker::Broker;
use super::links::Desk;
use super::work::Done;
use crate::address::is_log;
use crate::endpoint::LinkKey;
use crate::inbound::Question;
use crate::outbound;
use crate::problem::{AmqpError, status};

/// The log was always there. Clients show the time and do nothing else with it.
const CREATED: Timestamp = Timestamp::ZERO;

/// What a question asks for.
enum Wanted {
    Log,
    Partition(Partition),
}

fn wanted(question: &Question, hub: &Hub) -> Result<Wanted, HubError> {
    let segments: Vec<&str> = question.name.trim_matches('/').split('/').collect();
    let nothing = |what: &str| HubError::new(ErrorKind::NoSuchPartition, what.to_owned());
    if !question.operation.eq_ignore_ascii_case("READ") {
        return Err(HubError::argument("the only operation is READ"));
    }
    if !is_log(&segments, hub.names()) {
        return Err(nothing("there is no event log of that name"));
    }
    match question.kind.as_str() {
        "com.microsoft:eventhub" => Ok(Wanted::Log),
        "com.microsoft:partition" => {
            let text = question.partition.as_deref().unwrap_or("");
            let partition = text.parse().map_err(|_| nothing("there is no such partition"))?;
            Ok(Wanted::Partition(Partition(partition)))
        }
        _ => Err(HubError::argument("the type is neither of an event hub nor of a partition")),
    }
}

async fn answer(hub: &Hub, reader: &Principal, question: &Question) -> Result<Vec<u8>, HubError> {
    let wanted = wanted(question, hub)?;
    hub.authorize(Actor::Service(reader), Action::ReadEvents).await?;
    let (id, to) = (question.id.as_deref(), question.reply_to.as_deref());
    let mut out = Vec::new();
    match wanted {
        Wanted::Log => {
            let partitions = hub.partitions();
            outbound::log_answer(&mut out, id, to, &question.name, CREATED, partitions);
        }
        Wanted::Partition(partition) => {
            let info = hub.partition_info(partition).await?;
            outbound::partition_answer(&mut out, id, to, &question.name, &info);
        }
    }
    Ok(out)
}

impl Broker {
    /// The peer asks a question about the log.
    pub(super) fn manage(&mut self, link: LinkKey, delivery: u32, settled: bool, payload: &[u8]) {
        let question = match Question::read(payload) {
            Ok(question) => question,
            Err(error) => return self.reject(link, delivery, settled, &error),
        };
        self.take(link, delivery, settled);
        let path = format!("{}/$management", question.name.trim_matches('/'));
        let reader = self.tokens.service(Right::ServiceConnect, &path).cloned();
        let hub = self.hub.clone();
        self.requests += 1;
        let work = async move {
            let answered = match &reader {
                Some(reader) => answer(&hub, reader, &question).await,
                None => {
                    let why = "no token on this connection allows that";
                    Err(HubError::new(ErrorKind::Unauthorized, why))
                }
            };
            let answer = answered.unwrap_or_else(|error| {
                let (id, to) = (question.id.as_deref(), question.reply_to.as_deref());
                let refused = (status(error.kind()), &AmqpError::from(&error));
                let mut out = Vec::new();
                outbound::management_refusal(&mut out, id, to, refused);
                out
            });
            Done::Managed(link, question, answer)
        };
        self.begin(work.boxed());
    }

    pub(super) fn managed(&mut self, link: LinkKey, question: &Question, answer: Vec<u8>) {
        self.requests -= 1;
        self.answer(link, Desk::Management, question.reply_to.as_deref(), answer);
    }
}
