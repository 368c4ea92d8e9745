//! Conditional requests: only if the blob is, or is not, what the client knows.

use std::time::SystemTime;

use http::HeaderMap;
use http::header::{IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE};

use super::problem::Problem;
use crate::disk::Stored;

/// What a request demands of the blob that is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Conditions {
    matches: Option<Tags>,
    none_match: Option<Tags>,
    modified_since: Option<SystemTime>,
    unmodified_since: Option<SystemTime>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Tags {
    Any,
    These(Vec<String>),
}

impl Tags {
    fn parse(text: &str) -> Self {
        if text.trim() == "*" {
            return Self::Any;
        }
        // Clients send tags with their quotes, and some without.
        let bare = |tag: &str| tag.trim().trim_start_matches("W/").trim_matches('"').to_owned();
        Self::These(text.split(',').map(bare).collect())
    }

    fn has(&self, blob: &Stored) -> bool {
        match self {
            Self::Any => true,
            Self::These(tags) => {
                let tag = blob.tag.to_string();
                tags.iter().any(|known| *known == tag.trim_matches('"'))
            }
        }
    }
}

impl Conditions {
    pub(super) fn parse(headers: &HeaderMap) -> Result<Self, Problem> {
        let text = |name: http::HeaderName| match headers.get(&name) {
            None => Ok(None),
            Some(value) => {
                value.to_str().map(Some).map_err(|_| Problem::header_value(name.as_str()))
            }
        };
        let time = |name: http::HeaderName| match text(name.clone())? {
            None => Ok(None),
            Some(text) => httpdate::parse_http_date(text)
                .map(Some)
                .map_err(|_| Problem::header_value(name.as_str())),
        };
        Ok(Self {
            matches: text(IF_MATCH)?.map(Tags::parse),
            none_match: text(IF_NONE_MATCH)?.map(Tags::parse),
            modified_since: time(IF_MODIFIED_SINCE)?,
            unmodified_since: time(IF_UNMODIFIED_SINCE)?,
        })
    }

    /// Whether nothing may be there.
    pub(super) fn is_exclusive(&self) -> bool {
        self.none_match == Some(Tags::Any)
    }

    /// As if the client had demanded that nothing is there.
    pub(super) fn exclusive(mut self) -> Self {
        self.none_match = Some(Tags::Any);
        self
    }

    /// Before something is written.
    pub(super) fn for_writing(&self, there: Option<&Stored>) -> Result<(), Problem> {
        let not_met =
            || Problem::new(412, "ConditionNotMet", "the condition of the request is not met");
        if let Some(tags) = &self.matches
            && !there.is_some_and(|blob| tags.has(blob))
        {
            return Err(not_met());
        }
        let Some(blob) = there else { return Ok(()) };
        match &self.none_match {
            Some(Tags::Any) => {
                let message = "the specified blob already exists";
                return Err(Problem::new(409, "BlobAlreadyExists", message));
            }
            Some(tags) if tags.has(blob) => return Err(not_met()),
            _ => {}
        }
        if self.unmodified_since.is_some_and(|since| seconds(blob.modified) > seconds(since))
            || self.modified_since.is_some_and(|since| seconds(blob.modified) <= seconds(since))
        {
            return Err(not_met());
        }
        Ok(())
    }

    /// Before the blob is read.
    pub(super) fn for_reading(&self, blob: &Stored) -> Result<(), Problem> {
        let not_met =
            || Problem::new(412, "ConditionNotMet", "the condition of the request is not met");
        let unchanged = || Problem::new(304, "ConditionNotMet", "the blob is unchanged");
        if self.matches.as_ref().is_some_and(|tags| !tags.has(blob)) {
            return Err(not_met());
        }
        if self.unmodified_since.is_some_and(|since| seconds(blob.modified) > seconds(since)) {
            return Err(not_met());
        }
        match &self.none_match {
            Some(tags) if tags.has(blob) => Err(unchanged()),
            // A tag tells more than a time.
            Some(_) => Ok(()),
            None if self
                .modified_since
                .is_some_and(|since| seconds(blob.modified) <= seconds(since)) =>
            {
                Err(unchanged())
            }
            None => Ok(()),
        }
    }
}

/// Dates of HTTP have no fractions.
fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
