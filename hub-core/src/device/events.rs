//! What happens to an identity as events: each is part of the change of which it tells, so that
//! there is none without the other.

use serde_json::Value;

use super::{Setup, room};
use crate::envelope::EventSource;
use crate::id::{Address, Epoch};
use crate::limits::Limits;
use crate::query::Fields;
use crate::registry::Identity;
use crate::route::{Fact, Presence, Routing};
use crate::session::Session;
use crate::store::{Change, Push, QueueId, QueueKind};
use crate::time::Timestamp;
use crate::twin::{ChangeKind, Twin, TwinChange, digital_changes};

/// The digital twin of a device before a write, where somebody wants to hear of what becomes of it.
pub(crate) struct Digital {
    model: String,
    before: Value,
}

impl Digital {
    /// The digital twin of a device that has announced a model. Modules have none.
    pub(crate) fn before(
        setup: &Setup,
        address: &Address,
        session: Option<&Session>,
        twin: &Twin,
    ) -> Option<Self> {
        if !setup.routing.wants(EventSource::DigitalTwinChange) || address.is_module() {
            return None;
        }
        let model = session?.model.clone().filter(|model| !model.is_empty())?;
        let before = twin.digital(address, &model);
        Some(Self { model, before })
    }
}

/// The twin before a write, if somebody wants to know of it.
pub(crate) fn before_write(setup: &Setup, twin: &Twin) -> Option<Twin> {
    let limits = &setup.limits;
    let told = limits.twin_events_with_previous && setup.routing.wants(EventSource::TwinChange);
    (told || limits.twin_history_max > 0).then(|| twin.clone())
}

/// What a twin's write adds to its change: the event, and its place in the history. `before` is what
/// [`before_write`] gave, and `twin` is as the write left it.
pub(crate) fn twin_changed(
    setup: &Setup,
    address: &Address,
    before: Option<&Twin>,
    change: &TwinChange,
    digital: Option<Digital>,
    twin: &Twin,
) -> Change {
    let (at, number) = (change.at(), change.version());
    let record = |source, op, body| {
        let fact = Fact { source, address, op, at, number, body };
        setup.routing.record(&fact, setup.partitions, Some(twin))
    };
    let mut told = kept(&setup.limits, address, before, change);
    let source = EventSource::TwinChange;
    let previous = before.filter(|_| setup.limits.twin_events_with_previous);
    if setup.routing.wants(source)
        && let Some(body) = change.event_body(address, twin, previous)
    {
        told = told.and(record(source, change.kind().op_type(), body));
    }
    if let Some(Digital { model, before }) = digital {
        let changes = digital_changes(&before, &twin.digital(address, &model));
        if changes.as_array().is_some_and(|changes| !changes.is_empty()) {
            let (source, op) = (EventSource::DigitalTwinChange, ChangeKind::Update.op_type());
            told = told.and(record(source, op, changes.to_string().into()));
        }
    }
    told
}

fn kept(limits: &Limits, of: &Address, before: Option<&Twin>, change: &TwinChange) -> Change {
    let Some(before) = before.filter(|_| limits.twin_history_max > 0) else {
        return Change::new();
    };
    Change::new().push(Push {
        queue: QueueId::twin_history(of),
        capacity: room::most(QueueKind::TwinHistory, limits),
        visible: Timestamp::ZERO,
        deadline: change.at().after(limits.twin_history_retention),
        body: change.history_item(before, limits.twin_history_bytes_max),
    })
}

/// Notes in a twin which configurations target it, as part of its write; and what that adds to the
/// change, unless `mute`: then a sweep finds the twin.
pub(crate) fn retargeted(setup: &Setup, address: &Address, twin: &mut Twin, mute: bool) -> Change {
    match setup.configurations.retarget(address, twin, &setup.limits) {
        Some(push) if !mute => Change::new().push(push),
        _ => Change::new(),
    }
}

/// Whether an identity came to be or went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lifecycle {
    Created,
    Deleted,
}

/// What creating or deleting an identity adds to its change.
pub(crate) fn registered(
    routing: &Routing,
    partitions: u16,
    what: Lifecycle,
    identity: &Identity,
    twin: &Twin,
    at: Timestamp,
) -> Change {
    let (source, address) = (EventSource::DeviceLifecycle, identity.address());
    if !routing.wants(source) {
        return Change::new();
    }
    let op = match what {
        Lifecycle::Created => "createDeviceIdentity",
        Lifecycle::Deleted => "deleteDeviceIdentity",
    };
    let body = twin.lifecycle_body(address);
    let fact = Fact { source, address, op, at, number: identity.generation(), body };
    routing.record(&fact, partitions, Some(twin))
}

/// A connect or disconnect, as the session's document is to have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Transition {
    pub(crate) presence: Presence,
    /// The generation of the identity.
    pub(crate) generation: u64,
    /// The epoch of the connection that began or ended.
    pub(crate) epoch: Epoch,
    pub(crate) at: Timestamp,
}

/// What a connect or disconnect adds to its change.
pub(crate) fn presence_changed(
    setup: &Setup,
    address: &Address,
    transition: Transition,
    twin: Option<&Twin>,
) -> Change {
    let source = EventSource::ConnectionState;
    if !setup.routing.wants(source) {
        return Change::new();
    }
    let Transition { presence, generation, epoch, at } = transition;
    let fact = Fact {
        source,
        address,
        op: presence.op_type(),
        at,
        number: presence.number(epoch),
        body: presence.body(generation, epoch),
    };
    setup.routing.record(&fact, setup.partitions, twin.map(|twin| -> &dyn Fields { twin }))
}

/// Whether the twin has to be read for the events of a source.
pub(super) fn needs_twin(routing: &Routing, source: EventSource) -> bool {
    routing.wants(source) && routing.needs_twin(source)
}
