//! Configurations: making them, looking at them, removing them. What a configuration does is in
//! [`crate::configuration`].

mod content;
mod metrics;
mod supervisor;
mod worker;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

pub use self::metrics::{MetricState, QueryTrial};
pub(super) use self::supervisor::start;

use super::hub::Hub;
use crate::configuration::{self, Configuration, ConfigurationSpec, Deployed, Index, not_found};
use crate::error::{ErrorKind, HubError};
use crate::id::{ConfigurationId, DeviceId};
use crate::registry::IfMatch;
use crate::store::{Ask, Change, Document, Outcome, Record, Version};

/// A configuration with what its queries come to.
#[derive(Debug, Clone, PartialEq)]
pub struct ConfigurationState {
    /// The configuration.
    pub configuration: Configuration,
    /// How many twins it targets, `targetedCount`, and how many have its settings, `appliedCount`.
    pub system_metrics: BTreeMap<&'static str, MetricState>,
    /// Its own metrics, by name.
    pub metrics: BTreeMap<String, MetricState>,
}

/// The configurations of a hub. Nodes that share a store share them, too.
#[derive(Debug, Clone, Copy)]
pub struct Configurations<'a> {
    hub: &'a Hub,
}

impl Hub {
    /// The configurations of the hub.
    #[must_use]
    pub fn configurations(&self) -> Configurations<'_> {
        Configurations { hub: self }
    }
}

/// The index and one configuration, as they were read.
struct Read {
    index_at: Option<Version>,
    index: Index,
    at: Option<Version>,
    configuration: Option<Configuration>,
}

impl Configurations<'_> {
    /// Makes a configuration, or with a condition updates one: as [`configuration::put`]. It is
    /// durable when this returns; twins get its settings by and by, see [`crate::configuration`].
    ///
    /// # Errors
    /// As [`configuration::put`]; also `TooManyConfigurations`, `Busy`, and `Unavailable` when the
    /// store cannot be reached.
    pub async fn put(
        &self,
        spec: &ConfigurationSpec,
        if_match: Option<&IfMatch>,
    ) -> Result<Configuration, HubError> {
        let limits = self.hub.limits();
        for _ in 0..=limits.conflict_rounds_max {
            let read = self.read(&spec.id).await?;
            let (before, revision) = (read.configuration.as_ref(), read.index.revision + 1);
            let now = self.hub.now();
            let after = configuration::put(before, spec, if_match, revision, now, limits)?;
            let next = read.index.with(&spec.id);
            if before.is_none() && next.ids.len() > limits.configurations_max {
                let message = format!("there may be {} configurations", limits.configurations_max);
                return Err(HubError::new(ErrorKind::TooManyConfigurations, message));
            }
            let change = Change::new().write(&Index::key(), read.index_at, next.encode()).write(
                &Configuration::key(&spec.id),
                read.at,
                after.encode(),
            );
            if self.commit(change).await? {
                self.changed().await;
                return Ok(after);
            }
        }
        Err(busy())
    }

    /// Removes a configuration, if it has this etag (`None`: any). Its settings go from the twins
    /// that have them by and by.
    ///
    /// # Errors
    /// `ConfigurationNotFound`, `PreconditionFailed`, `Busy`; `Unavailable` when the store cannot be
    /// reached.
    pub async fn delete(
        &self,
        id: &ConfigurationId,
        if_match: Option<&IfMatch>,
    ) -> Result<(), HubError> {
        for _ in 0..=self.hub.limits().conflict_rounds_max {
            let read = self.read(id).await?;
            configuration::delete(id, read.configuration.as_ref(), if_match)?;
            let next = read.index.without(id);
            let mut change = Change::new().write(&Index::key(), read.index_at, next.encode());
            if let Some(version) = read.at {
                let at = crate::store::DocumentRef::new(Configuration::key(id), version);
                change = change.remove(&at);
            }
            if self.commit(change).await? {
                self.changed().await;
                return Ok(());
            }
        }
        Err(busy())
    }

    /// A configuration, with what its queries come to now.
    ///
    /// # Errors
    /// `ConfigurationNotFound`; `Unavailable` when the store cannot be reached.
    pub async fn get(&self, id: &ConfigurationId) -> Result<ConfigurationState, HubError> {
        let found = self.read(id).await?.configuration.ok_or_else(|| not_found(id))?;
        Ok(self.states([found]).await.remove(0))
    }

    /// Configurations in byte order of their ids, with what their queries come to now: at most `top`
    /// (`None`: all).
    ///
    /// # Errors
    /// `Unavailable` when the store cannot be reached.
    pub async fn list(&self, top: Option<usize>) -> Result<Vec<ConfigurationState>, HubError> {
        let (_, mut all) = self.read_all().await?;
        all.truncate(top.unwrap_or(usize::MAX));
        Ok(self.states(all).await)
    }

    /// Puts a content on one device, whatever configurations there are: `deviceContent` on the
    /// device, `modulesContent` on the modules of an edge device. Modules that are not registered
    /// are.
    ///
    /// The device and each module are written one after the other. All of it is checked before.
    ///
    /// # Errors
    /// `ConfigurationContentInvalid` for what cannot be applied; `DeviceNotFound`, `TooManyModules`,
    /// and as [`Hub::patch_twin`].
    pub async fn apply_content(&self, to: &DeviceId, content: &Value) -> Result<(), HubError> {
        content::apply(self.hub, to, content).await
    }

    async fn read(&self, id: &ConfigurationId) -> Result<Read, HubError> {
        let asks = [Ask::Document(Index::key()), Ask::Document(Configuration::key(id))];
        let mut records = self.hub.core().store.read(&asks).await?.into_iter();
        let index = document(records.next().flatten());
        let found = document(records.next().flatten());
        let decode =
            |document: &Document| Configuration::decode(&document.body).ok_or_else(damaged);
        Ok(Read {
            index_at: index.as_ref().map(|index| index.at.version()),
            index: read_index(index.as_ref())?,
            at: found.as_ref().map(|found| found.at.version()),
            configuration: found.as_ref().map(decode).transpose()?,
        })
    }

    /// All configurations in byte order of their ids, as they stand at one revision.
    async fn read_all(&self) -> Result<(u64, Vec<Configuration>), HubError> {
        let store = &self.hub.core().store;
        let mut index = Index::default();
        loop {
            let mut asks = vec![Ask::Document(Index::key())];
            asks.extend(index.ids.iter().map(|id| Ask::Document(Configuration::key(id))));
            let mut records = store.read(&asks).await?.into_iter();
            let now = read_index(document(records.next().flatten()).as_ref())?;
            if now == index {
                let found = records
                    .filter_map(document)
                    .map(|document| Configuration::decode(&document.body).ok_or_else(damaged));
                return Ok((now.revision, found.collect::<Result<_, _>>()?));
            }
            index = now;
        }
    }

    /// Learns of the configurations as they are now, and tells the machines of this node.
    async fn refresh(&self) -> Result<Arc<Deployed>, HubError> {
        let core = self.hub.core();
        let (revision, all) = self.read_all().await?;
        if revision > core.deployed().revision() {
            let (deployed, refused) = Deployed::new(revision, &all, &core.limits);
            for error in refused {
                tracing::warn!(%error, "a configuration is not in force");
            }
            let deployed = Arc::new(deployed);
            core.deploy(&deployed);
            for shard in &self.hub.inner.shards {
                shard.deploy(&deployed);
            }
        }
        Ok(core.deployed())
    }

    async fn changed(&self) {
        if let Err(error) = self.refresh().await {
            tracing::debug!(%error, "the configurations are read later");
        }
        self.hub.core().configurations_changed.notify_waiters();
    }

    /// Commits a change of no device. Whether it was.
    async fn commit(&self, change: Change) -> Result<bool, HubError> {
        Ok(matches!(self.outcome(change).await?, Outcome::Committed(_)))
    }

    async fn outcome(&self, change: Change) -> Result<Outcome, HubError> {
        let shard = self.hub.inner.shards.first();
        let shard = shard.ok_or_else(|| HubError::new(ErrorKind::Internal, "there is no shard"))?;
        shard.commit(change, self.hub.limits().call_timeout).await
    }
}

fn document(record: Option<Record>) -> Option<Document> {
    match record {
        Some(Record::Document(document)) => Some(document),
        _ => None,
    }
}

fn read_index(document: Option<&Document>) -> Result<Index, HubError> {
    match document {
        None => Ok(Index::default()),
        Some(document) => Index::decode(&document.body).ok_or_else(damaged),
    }
}

fn damaged() -> HubError {
    HubError::new(ErrorKind::Internal, "a stored configuration cannot be read")
}

fn busy() -> HubError {
    HubError::new(ErrorKind::Busy, "others changed the configurations too often")
}
