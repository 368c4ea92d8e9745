//! One record, carried out.

use crate::bulk::{DeviceRecord, ImportMode, Step, TwinContent};
use crate::engine::hub::Hub;
use crate::engine::registry::Registry;
use crate::error::{ErrorKind, HubError};
use crate::id::Address;
use crate::registry::{DeviceScope, Identity, IdentitySpec, IfMatch};
use crate::store::{Ask, Change, Key, Outcome, Record};

/// What became of a record that was not refused.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Imported {
    /// The identity is registered, and its twin could not be written: why.
    pub without_twin: Option<HubError>,
}

impl Registry<'_> {
    /// Carries out what a record asks for: the table of [`crate::bulk`].
    ///
    /// Creating an identity with its twin is one change; so is deleting it. Updating an identity and
    /// writing its twin are two. The generation in a scope is not compared: what another hub has
    /// exported can be imported.
    ///
    /// # Errors
    /// As [`Registry::put`], [`Registry::delete`] and [`Hub::replace_twin`].
    pub async fn apply(&self, record: &DeviceRecord) -> Result<Imported, HubError> {
        Apply { hub: self.hub }.record(record, None, |_| Change::new()).await
    }
}

/// Carries records out.
#[derive(Clone, Copy)]
pub(super) struct Apply<'h> {
    pub(super) hub: &'h Hub,
}

fn condition(etag: &Option<String>) -> Option<IfMatch> {
    etag.as_deref().map(IfMatch::parse)
}

impl Apply<'_> {
    /// Does what is not done yet of a record. `mark` goes into the change that does each step.
    pub(super) async fn record(
        &self,
        record: &DeviceRecord,
        done: Option<Step>,
        mark: impl Fn(Step) -> Change,
    ) -> Result<Imported, HubError> {
        let registry = self.hub.registry();
        let address = record.address();
        match record.mode {
            ImportMode::UpdateTwin | ImportMode::UpdateTwinIfMatch => {
                let etag = match (record.mode, condition(&record.twin_etag)) {
                    (ImportMode::UpdateTwinIfMatch, Some(IfMatch::Etag(etag))) => Some(etag),
                    _ => None,
                };
                self.twin_only(record, etag, mark(Step::Whole)).await
            }
            ImportMode::Delete => {
                registry.delete_with(address, Some(&IfMatch::Any), mark(Step::Whole)).await?;
                Ok(Imported::default())
            }
            ImportMode::DeleteIfMatch => {
                let condition = condition(&record.etag).unwrap_or_else(never);
                registry.delete_with(address, Some(&condition), mark(Step::Whole)).await?;
                Ok(Imported::default())
            }
            _ => self.identity(record, done, mark).await,
        }
    }

    async fn twin_only(
        &self,
        record: &DeviceRecord,
        etag: Option<String>,
        mark: Change,
    ) -> Result<Imported, HubError> {
        let content = TwinContent::of(record, self.hub.limits())?;
        match content.service {
            Some(patch) => {
                self.hub.replace_twin_with(record.address(), patch, etag, mark).await?;
            }
            None => {
                self.hub.registry().get(record.address()).await?;
                self.commit(record.address(), mark).await?;
            }
        }
        Ok(Imported::default())
    }

    /// Creates or updates the identity, and writes its twin.
    async fn identity(
        &self,
        record: &DeviceRecord,
        done: Option<Step>,
        mark: impl Fn(Step) -> Change,
    ) -> Result<Imported, HubError> {
        let (content, mut without_twin) = match TwinContent::of(record, self.hub.limits()) {
            Ok(content) => (Some(content), None),
            Err(error) => (None, Some(error)),
        };
        let patch = content.as_ref().and_then(|content| content.service.clone());
        if done != Some(Step::Identity) {
            let spec = self.spec(&record.spec).await?;
            let updated = if patch.is_some() { Step::Identity } else { Step::Whole };
            let write = Write {
                spec: &spec,
                content: content.as_ref(),
                create: mark(Step::Whole),
                update: mark(updated),
            };
            if self.put(record, write).await? == Put::Created {
                return Ok(Imported { without_twin });
            }
        }
        if let Some(patch) = patch {
            let mark = mark(Step::Whole);
            let written = self.hub.replace_twin_with(record.address(), patch, None, mark).await;
            without_twin = written.err();
        }
        Ok(Imported { without_twin })
    }

    async fn put(&self, record: &DeviceRecord, write: Write<'_>) -> Result<Put, HubError> {
        match record.mode {
            ImportMode::Create => self.create(&write).await,
            ImportMode::Update => self.update(&write, &IfMatch::Any).await,
            ImportMode::UpdateIfMatch => {
                self.update(&write, &condition(&record.etag).unwrap_or_else(never)).await
            }
            ImportMode::CreateOrUpdateIfMatch => {
                // One that may create needs no etag for that, and without one it updates nothing.
                let condition = condition(&record.etag).unwrap_or_else(never);
                self.create_or_update(&write, &condition).await
            }
            _ => self.create_or_update(&write, &IfMatch::Any).await,
        }
    }

    async fn create(&self, write: &Write<'_>) -> Result<Put, HubError> {
        let also = write.create.clone();
        let made = self.hub.registry().put_with(write.spec, None, write.content, also).await;
        made.map(|_| Put::Created)
    }

    async fn update(&self, write: &Write<'_>, condition: &IfMatch) -> Result<Put, HubError> {
        let also = write.update.clone();
        let made = self.hub.registry().put_with(write.spec, Some(condition), None, also).await;
        made.map(|_| Put::Updated)
    }

    /// Creates, and updates instead where there is one.
    async fn create_or_update(
        &self,
        write: &Write<'_>,
        condition: &IfMatch,
    ) -> Result<Put, HubError> {
        // Another writer may create between the two steps, or delete; each time the other step is the
        // right one.
        for _ in 0..=self.hub.limits().conflict_rounds_max {
            match self.create(write).await {
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::DeviceAlreadyExists | ErrorKind::ModuleAlreadyExists
                    ) => {}
                made => return made,
            }
            match self.update(write, condition).await {
                Err(error) if error == HubError::not_found(&write.spec.address) => {}
                made => return made,
            }
        }
        Err(HubError::new(ErrorKind::Busy, "others changed the same identity too often"))
    }

    async fn commit(&self, address: &Address, change: Change) -> Result<(), HubError> {
        if change.is_empty() {
            return Ok(());
        }
        match self.hub.commit(address, change).await? {
            Outcome::Committed(_) => Ok(()),
            _ => Err(HubError::new(ErrorKind::Busy, "somebody else carries the record out")),
        }
    }

    /// What the identity is to be, with the scopes that edge devices have in this hub.
    async fn spec(&self, wanted: &IdentitySpec) -> Result<IdentitySpec, HubError> {
        let mut spec = wanted.clone();
        let own = |text: &String| {
            DeviceScope::parse(text)
                .is_some_and(|scope| Address::from(scope.device) == spec.address)
        };
        // An edge device's own scope is the hub's to give.
        if wanted.device_scope.as_ref().is_some_and(own) {
            spec.device_scope = None;
        }
        let edges: Vec<Address> = spec.edges_named().collect();
        if edges.is_empty() {
            return Ok(spec);
        }
        let asks: Vec<Ask> = edges.iter().map(|edge| Ask::Document(Key::identity(edge))).collect();
        let found = self.hub.core().store.read(&asks).await?;
        let found: Vec<Identity> = found
            .into_iter()
            .filter_map(|record| match record {
                Some(Record::Document(document)) => Identity::decode(&document.body).ok(),
                _ => None,
            })
            .collect();
        let current = |text: &mut String| {
            let Some(scope) = DeviceScope::parse(text) else { return };
            let edge = Address::from(scope.device);
            let now = found.iter().find(|identity| *identity.address() == edge);
            if let Some(scope) = now.and_then(Identity::device_scope) {
                scope.clone_into(text);
            }
        };
        spec.device_scope
            .iter_mut()
            .chain(spec.parent_scopes.iter_mut().flatten())
            .for_each(current);
        Ok(spec)
    }
}

/// How an identity is written.
struct Write<'a> {
    spec: &'a IdentitySpec,
    content: Option<&'a TwinContent>,
    create: Change,
    update: Change,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Put {
    Created,
    Updated,
}

/// The condition that no identity meets.
fn never() -> IfMatch {
    IfMatch::Etag(String::new())
}
