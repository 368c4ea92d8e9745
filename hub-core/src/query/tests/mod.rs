//! Facts about the language, by the section of the reference that states them.

mod facts;
mod generate;
mod laws;
mod naive;
mod syntax;
mod twins;

use std::borrow::Cow;

use serde_json::Value as Json;

use super::*;
use crate::limits::Limits;

/// A message made by hand.
#[derive(Debug, Default)]
pub(super) struct Sample {
    pub(super) system: Vec<(SystemName, String)>,
    pub(super) application: Vec<(String, Option<String>)>,
    pub(super) body: Option<Json>,
    pub(super) twin: Option<Json>,
}

impl Subject for Sample {
    fn system(&self, name: SystemName) -> Option<Cow<'_, str>> {
        let found = self.system.iter().find(|(key, _)| *key == name);
        found.map(|(_, value)| value.as_str().into())
    }

    fn application(&self, name: &str) -> Option<Option<&str>> {
        let found = self.application.iter().rfind(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_deref())
    }

    fn body(&self) -> Result<&Json, BodyFault> {
        self.body.as_ref().ok_or(BodyFault::Absent)
    }

    fn twin(&self, path: &Path) -> Value<'_> {
        let twin = self.twin.as_ref();
        twin.map_or(Value::Undefined, |twin| twin.value(path, Case::ExactFirst))
    }

    fn change_includes(&self, path: &Path) -> Option<bool> {
        let body = self.body.as_ref()?;
        Some(walk(body, path.steps(), Case::ExactFirst).is_some())
    }
}

#[track_caller]
pub(super) fn parse(text: &str) -> Condition {
    Condition::parse(text, &Limits::default()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[track_caller]
pub(super) fn refused(text: &str) -> ParseError {
    match Condition::parse(text, &Limits::default()) {
        Ok(condition) => panic!("{text} was taken for {condition}"),
        Err(error) => error,
    }
}
