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

/// Application properties that are kept at hand. Messages with more are read again for each that is
/// asked for.
const AT_HAND: usize = 12;
/// Room for a value of each system property, by its discriminant.
const SYSTEM: usize = 17;

/// An event of the log as conditions see it: properties at once, the body when the first condition
/// asks for it, and then for all of them.
///
/// Making one costs a pass over the properties and no allocation, so one is made for each event and
/// used for all routes.
pub struct EventSubject<'e> {
    event: Parts<'e>,
    twin: Option<&'e dyn Fields>,
    system: [Option<&'e str>; SYSTEM],
    application: [(&'e str, Option<&'e str>); AT_HAND],
    /// How many application properties the event has.
    count: usize,
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
        let mut system = [None; SYSTEM];
        let mut application = [("", None); AT_HAND];
        let mut count = 0;
        for property in event.properties.clone() {
            match property {
                Property::System(name, value) => {
                    if let Some(slot) = system.get_mut(usize::from(name as u8)) {
                        *slot = Some(value);
                    }
                }
                Property::Application(name, value) => {
                    if let Some(slot) = application.get_mut(count) {
                        *slot = (name, value);
                    }
                    count += 1;
                }
            }
        }
        let (body, enqueued) = (OnceCell::new(), OnceCell::new());
        Self { event, twin: None, system, application, count, body, enqueued }
    }

    /// The same event with the twin of its sender: for conditions whose
    /// [`Needs::twin`](super::Needs) says so.
    #[must_use]
    pub fn with_twin(mut self, twin: &'e dyn Fields) -> Self {
        self.twin = Some(twin);
        self
    }

    /// The last value of a system property.
    fn set(&self, wanted: SystemProperty) -> Option<&'e str> {
        self.system.get(usize::from(wanted as u8)).copied().flatten()
    }

    /// The last application property of a name.
    fn last(&self, wanted: &str) -> Option<Option<&'e str>> {
        if let Some(all) = self.application.get(..self.count) {
            let found = all.iter().rev().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
            return found.map(|(_, value)| *value);
        }
        let all = self.event.properties.clone().filter_map(|property| match property {
            Property::Application(name, value) if name.eq_ignore_ascii_case(wanted) => Some(value),
            _ => None,
        });
        all.last()
    }
}

const _: () = {
    let mut at = 0;
    while at < SystemProperty::ALL.len() {
        #[expect(clippy::indexing_slicing, reason = "fails the build, not the program")]
        let code = SystemProperty::ALL[at] as usize;
        assert!(code < SYSTEM, "a system property has no room");
        at += 1;
    }
};

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
        let found = self.last(name);
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
