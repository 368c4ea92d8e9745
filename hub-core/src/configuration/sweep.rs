//! How far all twins were looked through.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::limits::Limits;
use crate::store::{Key, Kind};
use crate::time::Timestamp;

/// How far all twins were looked through, and when they are again. One document, written by whichever
/// node has looked at the next of them, together with what it found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sweep {
    /// The revision of the configurations they are compared with.
    pub revision: u64,
    /// How far.
    pub progress: Progress,
}

/// How far a sweep has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// It has looked at the twins up to this one.
    After(Option<String>, Round),
    /// It has looked at all of them, and begins anew at this time.
    Done(Timestamp),
}

/// Why a sweep was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Round {
    /// The configurations have changed, or a node has begun that did not know them: all twins are
    /// looked through once more soon after.
    Change,
    /// Somebody may have written a twin who had not heard of the change, or a sign was lost.
    Again,
}

impl Default for Progress {
    fn default() -> Self {
        Self::Done(Timestamp::ZERO)
    }
}

#[derive(Serialize, Deserialize)]
struct Body {
    v: u8,
    revision: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    round: Option<Round>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after: Option<String>,
    #[serde(default)]
    next: u64,
}

const FORMAT: u8 = 1;

impl Sweep {
    /// The key of its document.
    #[must_use]
    pub fn key() -> Key {
        Key::new(Kind::Setting, "configurations-sweep")
    }

    /// The body for the store.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let (round, after, next) = match &self.progress {
            Progress::After(after, round) => (Some(*round), after.clone(), 0),
            Progress::Done(next) => (None, None, next.as_millis()),
        };
        let body = Body { v: FORMAT, revision: self.revision, round, after, next };
        // Writing text and numbers to memory cannot fail.
        serde_json::to_vec(&body).unwrap_or_default().into()
    }

    /// Reads a body. `None` if it is none of this format.
    #[must_use]
    pub fn decode(body: &[u8]) -> Option<Self> {
        let body: Body = serde_json::from_slice(body).ok()?;
        (body.v == FORMAT).then_some(())?;
        let progress = match body.round {
            Some(round) => Progress::After(body.after, round),
            None => Progress::Done(Timestamp::from_millis(body.next)),
        };
        Some(Self { revision: body.revision, progress })
    }

    /// What is to be looked at next by whoever knows the configurations of this revision: the sweep as
    /// it goes on, or one that begins. `None` while nothing is due, or if it is for others to go on.
    #[must_use]
    pub fn due(&self, revision: u64, now: Timestamp) -> Option<Self> {
        if self.revision > revision {
            return None;
        }
        let begun = |round| Self { revision, progress: Progress::After(None, round) };
        match &self.progress {
            _ if self.revision < revision => Some(begun(Round::Change)),
            Progress::After(..) => Some(self.clone()),
            Progress::Done(next) if *next <= now => Some(begun(Round::Again)),
            Progress::Done(_) => None,
        }
    }

    /// What a node asks for that has begun and did not know the configurations until now: the sweep
    /// goes on where it is, and soon all twins are looked through once more.
    #[must_use]
    pub fn soon(&self, now: Timestamp, limits: &Limits) -> Self {
        let soon = now.after(limits.configuration_settle);
        let progress = match &self.progress {
            Progress::After(after, _) => Progress::After(after.clone(), Round::Change),
            Progress::Done(next) => Progress::Done(soon.min(*next)),
        };
        Self { revision: self.revision, progress }
    }

    /// The twin after which it goes on.
    #[must_use]
    pub fn after(&self) -> Option<&str> {
        match &self.progress {
            Progress::After(after, _) => after.as_deref(),
            Progress::Done(_) => None,
        }
    }

    /// When it begins anew, if it has looked at all twins.
    #[must_use]
    pub fn next(&self) -> Option<Timestamp> {
        match self.progress {
            Progress::Done(next) => Some(next),
            Progress::After(..) => None,
        }
    }

    /// The sweep once the twins up to `last` were looked at; `None`: there are no more. Where there
    /// are no configurations there is nothing to look for until they change.
    #[must_use]
    pub fn seen(
        &self,
        last: Option<String>,
        is_empty: bool,
        now: Timestamp,
        limits: &Limits,
    ) -> Self {
        let progress = match (&self.progress, last) {
            (Progress::After(_, round), Some(last)) => Progress::After(Some(last), *round),
            (Progress::After(_, Round::Change), None) => {
                Progress::Done(now.after(limits.configuration_settle))
            }
            _ if is_empty => Progress::Done(Timestamp::MAX),
            _ => Progress::Done(now.after(limits.configuration_sweep_every)),
        };
        Self { revision: self.revision, progress }
    }
}
