//! The configurations in force, ready to be asked about twins.

use super::content::{Kind, Setting};
use super::state::Configuration;
use crate::error::{ErrorKind, HubError};
use crate::id::Address;
use crate::limits::Limits;
use crate::query::{Case, Collection, Fields, Path, Query, Step, Value};
use crate::twin::{Mark, Twin};

/// What a target condition may look at.
const MAY_LOOK_AT: &str = "deviceId, moduleId, a tag or a reported property";

/// Reads a target condition: on devices, `*` for all of them, `FROM devices.modules WHERE …` on
/// modules. `None` for an empty one, which targets nothing.
///
/// It may look at ids, tags and reported properties: what configurations write themselves, or what
/// changes with every connection, would have them come and go.
///
/// # Errors
/// `ConfigurationTargetInvalid`, with the place.
pub fn target(text: &str, kind: Kind, limits: &Limits) -> Result<Option<Query>, HubError> {
    let invalid = |message: String| HubError::new(ErrorKind::ConfigurationTargetInvalid, message);
    if text.trim().is_empty() {
        return Ok(None);
    }
    let query = Query::of_target(text, limits).map_err(|error| invalid(error.to_string()))?;
    query
        .filter
        .check_fields(text, MAY_LOOK_AT, may_look_at)
        .map_err(|error| invalid(error.to_string()))?;
    match (kind, query.from) {
        (Kind::Device, Collection::Devices) | (Kind::Module, Collection::Modules) => {
            Ok(Some(query))
        }
        (Kind::Device, _) => {
            Err(invalid("deviceContent is for devices, and this targets modules".to_owned()))
        }
        (Kind::Module, _) => {
            Err(invalid("moduleContent needs a target `FROM devices.modules …`".to_owned()))
        }
    }
}

fn may_look_at(path: &Path) -> bool {
    match path.split_first() {
        Some(("deviceId" | "moduleId", [])) | Some(("tags", _)) => true,
        Some(("properties", [Step::Member(section), ..])) => &**section == "reported",
        _ => false,
    }
}

/// A configuration, ready to be asked about twins.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Compiled {
    pub(super) mark: Mark,
    priority: u32,
    kind: Kind,
    target: Option<Query>,
    pub(super) settings: Vec<Setting>,
}

impl Compiled {
    fn selects(&self, address: &Address, twin: &Twin) -> bool {
        let kind = if address.is_module() { Kind::Module } else { Kind::Device };
        self.kind == kind
            && self.target.as_ref().is_some_and(|query| query.filter.selects(&Named(address, twin)))
    }
}

/// A twin with its name: all that a target condition looks at.
struct Named<'t>(&'t Address, &'t Twin);

impl Fields for Named<'_> {
    fn value(&self, path: &Path, case: Case) -> Value<'_> {
        match path.split_first() {
            Some(("deviceId", [])) => Value::Text(self.0.device_str().into()),
            Some(("moduleId", [])) => match self.0.module_str() {
                Some(module) => Value::Text(module.into()),
                None => Value::Missing,
            },
            _ => self.1.value(path, case),
        }
    }
}

/// The configurations in force as they stood at one revision. Cheap to ask, dear to make.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Deployed {
    revision: u64,
    /// The lowest rank first.
    pub(super) configurations: Vec<Compiled>,
}

impl Deployed {
    /// Makes ready these configurations. What cannot be read under the limits of now is left as if
    /// it were not there, and named.
    #[must_use]
    pub fn new<'c>(
        revision: u64,
        configurations: impl IntoIterator<Item = &'c Configuration>,
        limits: &Limits,
    ) -> (Self, Vec<HubError>) {
        let (mut compiled, mut refused) = (Vec::new(), Vec::new());
        for configuration in configurations {
            let read = configuration.parsed(limits).and_then(|content| {
                let target = target(&configuration.target, content.kind, limits)?;
                Ok((content, target))
            });
            match read {
                Ok((content, target)) => compiled.push(Compiled {
                    mark: Mark {
                        id: configuration.id.as_str().into(),
                        instance: configuration.instance,
                        applied: false,
                    },
                    priority: configuration.priority,
                    kind: content.kind,
                    target,
                    settings: content.settings,
                }),
                Err(error) => {
                    let message = format!("{}: {}", configuration.id, error.message());
                    refused.push(HubError::new(error.kind(), message));
                }
            }
        }
        // Instances are counted as configurations are made: the higher is the newer.
        compiled.sort_by_key(|one| (one.priority, one.mark.instance));
        (Self { revision, configurations: compiled }, refused)
    }

    /// Counts the changes of the configurations.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.configurations.is_empty()
    }

    /// Those that target a twin, the lowest rank first.
    pub(super) fn targeting<'d>(
        &'d self,
        address: &'d Address,
        twin: &'d Twin,
    ) -> impl Iterator<Item = &'d Compiled> {
        self.configurations.iter().filter(|one| one.selects(address, twin))
    }
}
