//! Readers of the event log.
//!
//! A reader takes a page from the log when it has sent the last one and its link has credit: no
//! more events than that credit. What it holds is bounded by both. Without credit it holds nothing
//! and waits for nothing.

use std::collections::VecDeque;

use hub_core::engine::{Action, Actor, EventReader, PartitionInfo, check_group};
use hub_core::envelope::Event;
use hub_core::id::Partition;
use hub_core::security::Right;
use hub_core::{HubError, Timestamp};

use super::broker::{Broker, WAITING_MAX};
use super::links::Served;
use super::work::{CallOff, Done, Page, abortable};
use crate::codec::{Attach, Items, Value};
use crate::endpoint::LinkKey;
use crate::filter;
use crate::problem::{AmqpError, condition};
use crate::readers::Place;

/// How many events the first page has at most. Later ones grow while they are small.
const FIRST: u32 = 64;

/// How many bytes a page should have at most. It has more when a single event has.
const PAGE_BYTES: usize = 512 * 1024;

/// The capability of clients that want to know with each event where the partition ends.
const METRIC: &str = "com.microsoft:enable-receiver-runtime-metric";

/// A reader of one partition.
pub(super) struct Reading {
    /// Absent while a page is being read.
    reader: Option<EventReader>,
    waiting: VecDeque<Event>,
    info: Option<(PartitionInfo, Timestamp)>,
    metric: bool,
    /// How many events the next page may have.
    take: u32,
    /// Bytes of what was sent of this page.
    bytes: usize,
    path: String,
    partition: Partition,
    /// Whether it stands among those that have something to send.
    queued: bool,
    _place: Place,
    work: Option<CallOff>,
}

impl Reading {
    /// The path for which it needs a token.
    pub(super) fn path(&self) -> &str {
        &self.path
    }
}

/// What a reader asks for besides its position.
struct Wishes {
    epoch: Option<i64>,
    metric: bool,
}

fn wishes(attach: &Attach<'_>) -> Result<Wishes, AmqpError> {
    let epoch = attach.properties.find("com.microsoft:epoch")?;
    let epoch =
        match epoch {
            None | Some(Value::Null) => None,
            Some(value) => Some(value.as_i64().ok_or_else(|| {
                AmqpError::new(condition::ARGUMENT, "an epoch is a whole number")
            })?),
        };
    let metric = match attach.desired_capabilities {
        Value::Array(items) => has(items, METRIC)?,
        Value::Symbol(name) => name == METRIC,
        _ => false,
    };
    Ok(Wishes { epoch, metric })
}

fn has(mut items: Items<'_>, wanted: &str) -> Result<bool, AmqpError> {
    while let Some(item) = items.take()? {
        if item.as_text() == Some(wanted) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Takes the next page; with what the partition holds, if that is wanted.
async fn page(
    mut reader: EventReader,
    take: u32,
    metric: Option<Partition>,
    hub: hub_core::Hub,
) -> Page {
    let read = reader.read(take).await;
    let info = match metric {
        Some(partition) if read.is_ok() => {
            hub.partition_info(partition).await.ok().map(|info| (info, hub.now()))
        }
        _ => None,
    };
    Page { reader, read, info }
}

impl Broker {
    /// The peer asks to read a partition.
    pub(super) fn attach_events(
        &mut self,
        link: LinkKey,
        path: String,
        group: String,
        partition: Partition,
    ) {
        let Some(principal) = self.tokens.service(Right::ServiceConnect, &path) else {
            return self.unauthorized(link);
        };
        let principal = principal.clone();
        let Some(attach) = self.endpoint.asked(link) else { return };
        let filters = attach.source.map(|source| source.filter);
        let judged = check_group(&group)
            .map_err(|error| AmqpError::from(&error))
            .and_then(|()| wishes(&attach))
            .and_then(|wishes| {
                let position =
                    filters.map_or(Ok(hub_core::engine::Position::Earliest), filter::position)?;
                Ok((wishes, position))
            });
        let (wishes, position) = match judged {
            Ok(judged) => judged,
            Err(error) => return self.refuse(link, &error),
        };
        let readers_max = self.limits().readers_max;
        let shared = (group, partition);
        let place = self.shared.readers.take(shared, wishes.epoch, readers_max, link, &self.evict);
        let place = match place {
            Ok(place) => place,
            Err(error) => return self.refuse(link, &error),
        };
        let hub = self.hub.clone();
        let (work, handle) = abortable(async move {
            let actor = Actor::Service(&principal);
            let opened = match hub.authorize(actor, Action::ReadEvents).await {
                Ok(()) => hub.reader(partition, position).await,
                Err(error) => Err(error),
            };
            Done::Opened(link, opened)
        });
        let reading = Reading {
            reader: None,
            waiting: VecDeque::new(),
            info: None,
            metric: wishes.metric,
            take: FIRST,
            bytes: 0,
            path,
            partition,
            queued: false,
            _place: place,
            work: Some(CallOff(handle)),
        };
        self.links.insert(link, Served::Opening(Box::new(reading)));
        self.begin(work);
    }

    pub(super) fn opened(&mut self, link: LinkKey, opened: Result<EventReader, HubError>) {
        let Some(Served::Opening(_)) = self.links.get(&link) else { return };
        let Some(Served::Opening(mut reading)) = self.links.remove(&link) else { return };
        match opened {
            Ok(reader) => {
                reading.reader = Some(reader);
                reading.work = None;
                self.accept(link, Served::Events(reading), 0, true);
                self.wake_reader(link);
            }
            Err(error) => self.refuse(link, &AmqpError::from(&error)),
        }
    }

    /// A page has come.
    pub(super) fn page(&mut self, link: LinkKey, page: Page) {
        let Some(Served::Events(reading)) = self.links.get_mut(&link) else { return };
        let Page { reader, read, info } = page;
        reading.work = None;
        reading.reader = Some(reader);
        match read {
            Ok(events) => {
                reading.waiting.extend(events);
                reading.info = info;
                self.wake_reader(link);
            }
            Err(error) => self.detach(link, &AmqpError::from(&error)),
        }
    }

    /// A reader may have something to send, or room for more.
    pub(super) fn wake_reader(&mut self, link: LinkKey) {
        if let Some(Served::Events(reading)) = self.links.get_mut(&link)
            && !std::mem::replace(&mut reading.queued, true)
        {
            self.ready.push_back(link);
        }
    }

    /// Sends events of readers that have some, in turn, while the socket takes them.
    pub(super) fn pump(&mut self) {
        while self.end.is_none() && self.unwritten + self.turn.wire.len() < WAITING_MAX {
            let Some(link) = self.ready.pop_front() else { return };
            self.send_events(link);
        }
    }

    fn send_events(&mut self, link: LinkKey) {
        let Some(Served::Events(reading)) = self.links.get_mut(&link) else { return };
        reading.queued = false;
        let info = reading.info.as_ref().map(|(info, at)| (info, *at));
        while let Some(event) = reading.waiting.front()
            && self.endpoint.can_send(link)
        {
            if self.unwritten + self.turn.wire.len() >= WAITING_MAX {
                reading.queued = true;
                self.ready.push_back(link);
                return;
            }
            self.scratch.clear();
            self.events.write(&mut self.scratch, event, info);
            reading.bytes = reading.bytes.saturating_add(self.scratch.len());
            self.endpoint.send(link, &self.scratch, true, &mut self.turn);
            reading.waiting.pop_front();
        }
        if self.scratch.capacity() > PAGE_BYTES {
            // One large event must not pin its memory to the connection for ever.
            self.scratch = Vec::new();
        }
        if reading.waiting.is_empty() {
            self.read_on(link);
        }
        if self.endpoint.is_draining(link) {
            self.endpoint.drain(link, &mut self.turn);
        }
    }

    /// Takes the next page, if the link has credit for any of it.
    fn read_on(&mut self, link: LinkKey) {
        let credit = self.endpoint.credit(link);
        let page_max = self.hub.limits().log_page_max.max(1);
        let Some(Served::Events(reading)) = self.links.get_mut(&link) else { return };
        if credit == 0 {
            return;
        }
        let Some(reader) = reading.reader.take() else { return };
        // Events differ in size, and the log counts them by number.
        if reading.bytes > PAGE_BYTES {
            reading.take = (reading.take / 2).max(1);
        } else if reading.bytes > 0 && reading.bytes < PAGE_BYTES / 4 {
            reading.take = (reading.take * 2).min(page_max);
        }
        reading.bytes = 0;
        reading.waiting.shrink_to(usize::try_from(FIRST).unwrap_or(0));
        let metric = reading.metric.then_some(reading.partition);
        let (hub, take) = (self.hub.clone(), reading.take.min(credit));
        let (work, handle) =
            abortable(
                async move { Done::Read(link, Box::new(page(reader, take, metric, hub).await)) },
            );
        reading.work = Some(CallOff(handle));
        self.begin(work);
    }
}
