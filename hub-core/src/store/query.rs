//! The optional second port: finding twins by what is in them.
//!
//! A [`Store`](super::Store) keeps bodies it does not look into. One that can (an SQL database with
//! JSON columns and indexes on them) may implement [`Query`] as well, and is then asked for the twins
//! that a condition selects instead of being scanned. The hub evaluates the condition itself on
//! whatever comes, so a store may give more than was asked for: what it must never do is leave out a
//! twin for which the condition is true.
//!
//! Bodies are JSON of documented forms: [`Twin::encode`](crate::twin::Twin::encode),
//! [`Identity::encode`](crate::registry::Identity::encode),
//! [`Session::encode`](crate::session::Session::encode).
//!
//! # The contract
//!
//! The conformance kit (feature `conformance`) has cases for each sentence, named after it.
//!
//! - **Q1** A row for which the condition is true, whose id is after `after` and, if `next` is there,
//!   not after `next`, is among the rows, or was counted (Q7). Others may be among the rows.
//! - **Q2** Rows are of the population asked for, and come in byte order of their ids, each id once, all
//!   of them after `after` and none after `next`; at most `limit`.
//! - **Q3** What was committed before the call is seen.
//! - **Q4** The documents of one row stand as they did at one instant. Those of different rows need
//!   not be of the same instant.
//! - **Q5** `next` is there unless no further row can follow, and is after `after`: going on from it,
//!   again and again, comes to an end.
//! - **Q6** One call takes bounded time and memory: a store that would have to look at very many
//!   documents gives what it has, be it nothing, and `next`.
//! - **Q7** Where only the number is wanted, a store may count rows in `counted` instead of giving them:
//!   rows for which it knows the condition to be true, as Q1 names them, each counted or given, never
//!   both. Where rows are wanted `counted` is 0.

use std::num::NonZeroU32;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::error::StoreError;
use crate::query::Filter;

/// Whose twins are looked through. Ids of modules contain a `/`, those of devices do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Population {
    /// Devices, modules not among them.
    Devices,
    /// Modules.
    Modules,
}

impl Population {
    /// Whether an id belongs to it.
    #[must_use]
    pub fn has(self, id: &str) -> bool {
        id.contains('/') == (self == Self::Modules)
    }
}

/// Which parts of a row are wanted. Others may be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Parts {
    /// The body of the twin.
    pub twin: bool,
    /// The body of the identity.
    pub identity: bool,
    /// The body of the session.
    pub session: bool,
    /// The depth of the mailbox.
    pub messages: bool,
}

impl Parts {
    /// All of them.
    pub const ALL: Self = Self { twin: true, identity: true, session: true, messages: true };

    /// Whether anything besides the twin is wanted.
    #[must_use]
    pub fn beyond_twin(self) -> bool {
        self.identity || self.session || self.messages
    }
}

/// What is wanted of the twins that are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wanted {
    /// Each of them.
    Rows,
    /// How many they are. A store that does not know for sure gives them, and the hub counts.
    Number,
}

/// What a store is to find.
#[derive(Debug, Clone, Copy)]
pub struct Find<'q> {
    /// Whose twins.
    pub population: Population,
    /// Which of them. The columns of its expression are paths of a twin as back ends read it:
    /// `deviceId`, `status`, `tags.…`, `properties.reported.…` and so on.
    pub filter: &'q Filter,
    /// What is needed of each to evaluate the condition and to make the answer.
    pub parts: Parts,
    /// Whether the twins are wanted or their number.
    pub wanted: Wanted,
    /// Only those whose id is after this one.
    pub after: Option<&'q str>,
    /// How many rows at most.
    pub limit: NonZeroU32,
}

/// A twin that was found, with what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundRow {
    /// The address of the device or module, as in its documents' keys.
    pub id: Arc<str>,
    /// The body of the twin.
    pub twin: Option<Bytes>,
    /// The body of the identity.
    pub identity: Option<Bytes>,
    /// The body of the session. There is none before the first connect.
    pub session: Option<Bytes>,
    /// How many items its mailbox has.
    pub messages: u32,
}

/// What a store has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The rows.
    pub rows: Vec<FoundRow>,
    /// How many twins the condition selects beside them (Q7).
    pub counted: u64,
    /// Where to go on. `None`: there is nothing more.
    pub next: Option<Arc<str>>,
    /// How many twins were looked at, for the hub's bound on the work of a query. A store that finds
    /// by an index looks at those it gives or counts.
    pub looked_at: u64,
}

/// Finds twins by what is in them. The contract is the module's documentation.
#[async_trait]
pub trait Query: Send + Sync + 'static {
    /// Finds twins (Q1–Q7). Dropping the future leaves nothing behind.
    async fn find(&self, find: Find<'_>) -> Result<Found, StoreError>;
}
