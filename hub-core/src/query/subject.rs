//! What a condition is asked about.

use std::borrow::Cow;
use std::cell::OnceCell;

use serde_json::Value as Json;

use super::ast::SystemName;
use super::body::{BodyFault, parse_body};
use super::columns;
use super::path::{Case, Path, walk};
use super::value::Value;
use crate::envelope::{AuthMethod, Event, EventSource, EventView, Iter, Property, SystemProperty};
use crate::time::Timestamp;

/// Values by path: of a twin, or of a row that a query looks at.
pub trait Fields {
    /// What stands at the end of a path from the root: [`Value::Missing`] where it leads nowhere.
    fn value(&self, path: &Path, case: Case) -> Value<'_>;
}

impl Fields for Json {
    fn value(&self, path: &Path, case: Case) -> Value<'_> {
        Value::of_json(walk(self, path.steps(), case))
    }
}

/// A message as a condition of a route sees it.
///
/// Everything is looked up when it is asked for. [`EventSubject`] is the one for events; an
/// implementation of another keeps to the same rules: names of application properties match in
/// whatever case, and of several the last counts; a body is parsed once.
pub trait Subject {
    /// The value of a system property.
    fn system(&self, name: SystemName) -> Option<Cow<'_, str>>;

    /// The value of an application property. `Some(None)` if it is there without a value.
    fn application(&self, name: &str) -> Option<Option<&str>>;

    /// The body, parsed.
    ///
    /// # Errors
    /// [`BodyFault`] says why it cannot be looked into.
    fn body(&self) -> Result<&Json, BodyFault>;

    /// A value in the twin of the sender; the path begins with `tags` or `properties`.
    /// [`Value::Undefined`] if there is no twin at hand.
    fn twin(&self, path: &Path) -> Value<'_>;

    /// Whether the change of a twin that the message tells of names this path, also to delete it.
    /// `None` if it tells of no such change.
    fn change_includes(&self, path: &Path) -> Option<bool>;
}

/// Properties that are kept at hand. Messages with more are read again for each that is asked for.
const AT_HAND: usize = 16;

/// An event of the log as conditions see it: properties at once, the body when the first condition
/// asks for it, and then for all of them.
///
/// Making one costs a pass over the properties and no allocation, so one is made for each event and
/// used for all routes.
pub struct EventSubject<'e> {
    event: Parts<'e>,
    twin: Option<&'e dyn Fields>,
    properties: [Option<Property<'e>>; AT_HAND],
    body: OnceCell<Result<Json, BodyFault>>,
    enqueued: OnceCell<String>,
}

/// What there is to see of an event.
struct Parts<'e> {
    source: EventSource,
    enqueued: Timestamp,
    sender: &'e str,
    generation: &'e str,
    auth: Option<AuthMethod>,
    model: Option<&'e str>,
    properties: Iter<'e>,
    body: &'e [u8],
}

impl std::fmt::Debug for EventSubject<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EventSubject({} of {})", self.event.source.name(), self.event.sender)
    }
}

impl<'e> EventSubject<'e> {
    /// An event without the twin of its sender.
    #[must_use]
    pub fn new(event: &'e Event) -> Self {
        Self::seen(Parts {
            source: event.source,
            enqueued: event.enqueued,
            sender: event.sender.as_str(),
            generation: &event.generation,
            auth: event.auth,
            model: event.model.as_deref(),
            properties: event.properties.iter(),
            body: &event.body,
        })
    }

    /// An encoded event that the hub accepts at this time, without the twin of its sender.
    #[must_use]
    pub fn of(event: &EventView<'e>, enqueued: Timestamp) -> Self {
        Self::seen(Parts {
            source: event.source,
            enqueued,
            sender: event.sender,
            generation: event.generation,
            auth: event.auth,
            model: event.model,
            properties: event.properties(),
            body: event.body,
        })
    }

    fn seen(event: Parts<'e>) -> Self {
        let mut properties = [None; AT_HAND];
        let mut all = event.properties.clone();
        for (slot, property) in properties.iter_mut().zip(&mut all) {
            *slot = Some(property);
        }
        if all.next().is_some() {
            properties = [None; AT_HAND];
        }
        Self { event, twin: None, properties, body: OnceCell::new(), enqueued: OnceCell::new() }
    }

    /// The same event with the twin of its sender: for conditions whose
    /// [`Needs::twin`](super::Needs) says so.
    #[must_use]
    pub fn with_twin(mut self, twin: &'e dyn Fields) -> Self {
        self.twin = Some(twin);
        self
    }

    /// The last of the properties that a test picks.
    fn last<T>(&self, pick: impl Fn(Property<'e>) -> Option<T>) -> Option<T> {
        if self.properties.first().is_some_and(Option::is_some) {
            self.properties.iter().rev().flatten().find_map(|property| pick(*property))
        } else {
            self.event.properties.clone().filter_map(pick).last()
        }
    }

    fn set(&self, wanted: SystemProperty) -> Option<&'e str> {
        self.last(|property| match property {
            Property::System(name, value) if name == wanted => Some(value),
            _ => None,
        })
    }
}

impl Subject for EventSubject<'_> {
    fn system(&self, name: SystemName) -> Option<Cow<'_, str>> {
        let event = &self.event;
        match name {
            SystemName::MessageId => self.set(SystemProperty::MessageId).map(Into::into),
            SystemName::CorrelationId => self.set(SystemProperty::CorrelationId).map(Into::into),
            SystemName::UserId => self.set(SystemProperty::UserId).map(Into::into),
            SystemName::ContentType => self.set(SystemProperty::ContentType).map(Into::into),
            SystemName::ContentEncoding => {
                self.set(SystemProperty::ContentEncoding).map(Into::into)
            }
            SystemName::CreationTime => self.set(SystemProperty::CreationTime).map(Into::into),
            SystemName::EnqueuedTime => {
                let text = self.enqueued.get_or_init(|| event.enqueued.to_string());
                Some(text.as_str().into())
            }
            SystemName::ConnectionDeviceId => {
                Some(event.sender.split('/').next().unwrap_or_default().into())
            }
            SystemName::ConnectionModuleId => {
                event.sender.split_once('/').map(|(_, module)| module.into())
            }
            SystemName::ConnectionDeviceGenerationId => Some(event.generation.into()),
            SystemName::ConnectionAuthMethod => event.auth.map(|auth| auth.to_json().into()),
            SystemName::Subject => self.set(SystemProperty::Subject).map(Into::into),
            SystemName::DataSchema => event.model.map(Into::into),
        }
    }

    fn application(&self, name: &str) -> Option<Option<&str>> {
        let found = self.last(|property| match property {
            Property::Application(key, value) if key.eq_ignore_ascii_case(name) => Some(value),
            _ => None,
        });
        // Two system properties are known to conditions by their plain names as well.
        found.or_else(|| {
            let system = [SystemProperty::MessageSchema, SystemProperty::CreationTime];
            let keyword = |property: SystemProperty| match property {
                SystemProperty::CreationTime => SystemName::CreationTime.keyword(),
                property => property.name(),
            };
            let property = system.into_iter().find(|p| keyword(*p).eq_ignore_ascii_case(name))?;
            self.set(property).map(Some)
        })
    }

    fn body(&self) -> Result<&Json, BodyFault> {
        let parsed = self.body.get_or_init(|| {
            let content_type = self.set(SystemProperty::ContentType);
            let encoding = self.set(SystemProperty::ContentEncoding);
            parse_body(content_type, encoding, self.event.body)
        });
        parsed.as_ref().map_err(|fault| *fault)
    }

    fn twin(&self, path: &Path) -> Value<'_> {
        self.twin.map_or(Value::Undefined, |twin| twin.value(path, Case::ExactFirst))
    }

    fn change_includes(&self, path: &Path) -> Option<bool> {
        if self.event.source != EventSource::TwinChange {
            return None;
        }
        debug_assert!(columns::is_twin_value(path));
        self.body().ok().map(|body| walk(body, path.steps(), Case::ExactFirst).is_some())
    }
}
