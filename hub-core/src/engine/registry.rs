//! The identity registry: identities of devices and modules, and what lives and dies with them.

use std::num::NonZeroU32;

use super::holder::Holder;
use super::hub::Hub;
use crate::bulk::TwinContent;
use crate::device::events::{Lifecycle, Transition, presence_changed, registered};
use crate::device::{Input, Setup};
use crate::error::{CloseReason, ErrorKind, HubError};
use crate::id::{Address, DeviceId};
use crate::inbox::{Gone, Post};
use crate::registry::{
    Context, Identity, IdentitySpec, IfMatch, check_delete, check_module_parent, create,
    edge_runtime, put,
};
use crate::route::Presence;
use crate::security::Registered;
use crate::session::Session;
use crate::store::{Ask, Change, Document, DocumentRef, Key, Kind, QueueId, Record};
use crate::time::Timestamp;
use crate::twin::Twin;

/// An identity with what the hub knows of it now.
#[derive(Debug, Clone, PartialEq)]
pub struct Registration {
    /// The identity.
    pub identity: Identity,
    /// Its session; the default before the first connect.
    pub session: Session,
    /// How many cloud-to-device messages it has.
    pub messages: u32,
}

/// An identity with its twin.
#[derive(Debug, Clone, PartialEq)]
pub struct TwinState {
    /// The identity and what the hub knows of it.
    pub registration: Registration,
    /// The twin.
    pub twin: Twin,
}

/// How many identities there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Statistics {
    /// Devices, modules not counted.
    pub devices: u64,
    /// Of these, enabled.
    pub enabled: u64,
    /// Devices and modules connected, to all nodes: see [`Hub::connections_of_all_nodes`].
    pub connected: u64,
}

/// The identity registry of a hub. Every write is one change: identity, twin, session and queue
/// begin and end together.
#[derive(Debug, Clone, Copy)]
pub struct Registry<'a> {
    pub(super) hub: &'a Hub,
}

impl Hub {
    /// The identity registry.
    #[must_use]
    pub fn registry(&self) -> Registry<'_> {
        Registry { hub: self }
    }
}

struct Found {
    at: Option<DocumentRef>,
    identity: Option<Identity>,
}

impl Found {
    fn new(record: Option<Record>) -> Result<Self, HubError> {
        match record {
            Some(Record::Document(Document { at, body })) => {
                let identity = Identity::decode(&body).map_err(|_| {
                    HubError::new(ErrorKind::Internal, "a stored identity cannot be read")
                })?;
                Ok(Self { at: Some(at), identity: Some(identity) })
            }
            _ => Ok(Self { at: None, identity: None }),
        }
    }
}

impl Registry<'_> {
    /// Creates an identity, or with a condition updates one: as [`put`]. Creates its twin with it.
    ///
    /// # Errors
    /// As [`put`]; also `DeviceNotFound` for a module without device, `TooManyModules`, `Busy`.
    pub async fn put(
        &self,
        spec: &IdentitySpec,
        if_match: Option<&IfMatch>,
    ) -> Result<Identity, HubError> {
        self.put_with(spec, if_match, None, Change::new()).await
    }

    /// The same, in one with another change. A twin that is made begins with this content, if it is
    /// given and has room.
    pub(super) async fn put_with(
        &self,
        spec: &IdentitySpec,
        if_match: Option<&IfMatch>,
        content: Option<&TwinContent>,
        also: Change,
    ) -> Result<Identity, HubError> {
        let (hub, core) = (self.hub, self.hub.core());
        let mut random = [0_u8; 64];
        getrandom::fill(&mut random)
            .map_err(|_| HubError::new(ErrorKind::Internal, "no random numbers"))?;
        let key = Key::identity(&spec.address);
        for _ in 0..=core.limits.conflict_rounds_max {
            let session = Key::session(&spec.address);
            let mut asks = vec![Ask::Document(key.clone()), Ask::Document(session)];
            let parent = spec.address.is_module().then(|| Address::from(spec.address.device_id()));
            asks.extend(parent.iter().map(|device| Ask::Document(Key::identity(device))));
            asks.extend(spec.edges_named().map(|edge| Ask::Document(Key::identity(&edge))));
            let mut records = core.store.read(&asks).await?.into_iter();
            let before = Found::new(records.next().flatten())?;
            let session = records.next().flatten();
            let mut change = Change::new();
            if let Some(parent) = &parent {
                let device = Found::new(records.next().flatten())?;
                if before.at.is_none() && if_match.is_none() {
                    let modules = self.modules(parent).await?.len();
                    check_module_parent(
                        &spec.address,
                        device.identity.as_ref(),
                        modules,
                        &core.limits,
                    )?;
                }
                // A module must not outlive its device by a race.
                if let Some(at) = &device.at {
                    change = change.require(at);
                }
            }
            let edges = records
                .map(|record| Found::new(record).map(|found| found.identity))
                .filter_map(Result::transpose)
                .collect::<Result<Vec<_>, _>>()?;
            let context = Context {
                now: core.clock.now(),
                previous_generation: None,
                random: &random,
                limits: &core.limits,
                edges: &edges.iter().collect::<Vec<_>>(),
            };
            let identity = put(before.identity.as_ref(), spec, if_match, &context)?;
            change = match &before.at {
                Some(at) => {
                    let change = change.replace(at, identity.encode());
                    let holder = Holder::new(&spec.address, session);
                    let change = holder.told(core, holder.required(change), Post::Changed);
                    self.modules_told(&identity, change).await?
                }
                None => {
                    let begin =
                        |identity: &Identity, content| self.begin(identity, content, &context);
                    let mut change = change.and(begin(&identity, content));
                    if identity.iot_edge() && !spec.address.is_module() {
                        for module in edge_runtime(&spec.address) {
                            change = change.and(begin(&create(&module, &context)?, None));
                        }
                    }
                    change
                }
            };
            if hub.commit_post(&spec.address, change.and(also.clone())).await? {
                if before.at.is_some() {
                    self.judge(&identity).await;
                }
                return Ok(identity);
            }
        }
        Err(HubError::new(ErrorKind::Busy, "others changed the same identity too often"))
    }

    /// What begins with an identity: itself, its twin, an empty queue, and the word of it.
    fn begin(
        &self,
        identity: &Identity,
        content: Option<&TwinContent>,
        context: &Context<'_>,
    ) -> Change {
        let address = identity.address();
        let twin = content.and_then(|content| content.twin(context.now, context.limits).ok());
        let mut twin = twin.unwrap_or_else(|| Twin::new(context.now));
        let core = self.hub.core();
        let found = core.deployed().retarget(address, &mut twin, &core.limits);
        found
            .map_or_else(Change::new, |push| Change::new().push(push))
            .create(Key::identity(address), identity.encode())
            .create(Key::twin(address), twin.encode())
            .clear(QueueId::mailbox(address))
            .and(self.event(Lifecycle::Created, identity, &twin, context.now))
    }

    /// The word of an identity's beginning or end, for whoever has a route for it.
    fn event(&self, what: Lifecycle, identity: &Identity, twin: &Twin, at: Timestamp) -> Change {
        let core = self.hub.core();
        let (table, partitions) = (core.router.table(), core.setup.partitions);
        registered(&table, partitions, what, identity, twin, at)
    }

    /// An identity was changed: whoever is connected with it may have to go.
    async fn judge(&self, identity: &Identity) {
        self.hub.changed(identity.address());
        if !identity.is_enabled() && !identity.address().is_module() {
            self.expel_modules(identity.address(), CloseReason::IdentityDisabled).await;
        }
    }

    /// The change of a device that is disabled also tells the nodes that hold its modules.
    async fn modules_told(
        &self,
        identity: &Identity,
        mut change: Change,
    ) -> Result<Change, HubError> {
        if identity.is_enabled() || identity.address().is_module() {
            return Ok(change);
        }
        let modules = self.modules(identity.address()).await?;
        let asks: Vec<Ask> =
            modules.iter().map(|module| Ask::Document(Key::session(module.address()))).collect();
        let core = self.hub.core();
        let sessions = core.store.read(&asks).await?;
        for (module, session) in modules.iter().zip(sessions) {
            let holder = Holder::new(module.address(), session);
            let post = |of| Post::Expelled(of, Gone::Disabled);
            change = holder.told(core, holder.required(change), post);
        }
        Ok(change)
    }

    async fn expel_modules(&self, device: &Address, reason: CloseReason) {
        for module in self.modules(device).await.unwrap_or_default() {
            if let Ok(shard) = self.hub.shard(module.address()) {
                shard.input(module.address(), Input::Expel(reason));
            }
        }
    }

    /// Deletes an identity with its twin and the twin's history, session, queue, dead letters and
    /// pending feedback; a device with all its modules and open uploads. What it has uploaded stays.
    ///
    /// # Errors
    /// `DeviceNotFound`, `ModuleNotFound`, `PreconditionFailed`, `Busy`.
    pub async fn delete(
        &self,
        address: &Address,
        if_match: Option<&IfMatch>,
    ) -> Result<(), HubError> {
        self.delete_with(address, if_match, Change::new()).await
    }

    /// The same, in one with another change.
    pub(super) async fn delete_with(
        &self,
        address: &Address,
        if_match: Option<&IfMatch>,
        also: Change,
    ) -> Result<(), HubError> {
        let core = self.hub.core();
        for _ in 0..=core.limits.conflict_rounds_max {
            let mut doomed = vec![address.clone()];
            if !address.is_module() {
                let modules = self.modules(address).await?;
                doomed.extend(modules.iter().map(|module| module.address().clone()));
            }
            let keys: Vec<Key> = doomed
                .iter()
                .flat_map(|a| [Key::identity(a), Key::twin(a), Key::session(a), Key::known(a)])
                .collect();
            let asks: Vec<Ask> = keys.iter().cloned().map(Ask::Document).collect();
            let records = core.store.read(&asks).await?;
            let found = Found::new(records.first().cloned().flatten())?;
            let identity = found.identity.ok_or_else(|| HubError::not_found(address))?;
            check_delete(&identity, if_match)?;
            let mut change = Change::new();
            for records in records.chunks(4) {
                change = change.and(self.end(records));
            }
            // What was not there may not have come since: a first connection, above all.
            for (key, _) in keys.into_iter().zip(&records).filter(|(_, record)| record.is_none()) {
                change = change.require_absent(key);
            }
            for gone in &doomed {
                change = change
                    .clear(QueueId::mailbox(gone))
                    .clear(QueueId::dead_letters(gone))
                    .clear(QueueId::twin_history(gone));
            }
            if !address.is_module() {
                let device = address.device_id();
                change = change
                    .clear(QueueId::feedback_pending(&device))
                    .clear(QueueId::uploads(&device));
            }
            if self.hub.commit_post(address, change.and(also.clone())).await? {
                for gone in &doomed {
                    self.hub.changed(gone);
                }
                return Ok(());
            }
        }
        Err(HubError::new(ErrorKind::Busy, "others changed the same identity too often"))
    }

    /// What ends with an identity, of its documents as they were read: identity, twin, session, and
    /// what it knows.
    fn end(&self, records: &[Option<Record>]) -> Change {
        let mut change = Change::new();
        for record in records.iter().flatten() {
            if let Record::Document(document) = record {
                change = change.remove(&document.at);
                // Its removal is the guard.
                let of = Address::parse(&document.at.key().id);
                if let (Kind::Session, Ok(of)) = (document.at.key().kind, of) {
                    let holder = Holder::new(&of, Some(record.clone()));
                    change = holder.told(self.hub.core(), change, Post::Changed);
                }
            }
        }
        let [Some(Record::Document(identity)), Some(Record::Document(twin)), ..] = records else {
            return change;
        };
        // What cannot be read has no event, and can be deleted all the same.
        match (Identity::decode(&identity.body), Twin::decode(&twin.body)) {
            (Ok(identity), Ok(twin)) => {
                let now = self.hub.now();
                let gone = self.disconnected(&identity, records.get(2), &twin, now);
                change.and(gone).and(self.event(Lifecycle::Deleted, &identity, &twin, now))
            }
            _ => change,
        }
    }

    /// The word of a connection that ends with its identity: whoever holds it finds no session to end.
    fn disconnected(
        &self,
        identity: &Identity,
        session: Option<&Option<Record>>,
        twin: &Twin,
        at: Timestamp,
    ) -> Change {
        let Some(Some(Record::Document(document))) = session else { return Change::new() };
        let session = Session::decode(&document.body).unwrap_or_default();
        if !session.is_connected() {
            return Change::new();
        }
        let core = self.hub.core();
        let setup = Setup { routing: core.router.table(), ..Setup::clone(&core.setup) };
        let transition = Transition {
            presence: Presence::Disconnected,
            generation: identity.generation(),
            epoch: session.epoch,
            at,
        };
        presence_changed(&setup, identity.address(), transition, Some(twin))
    }

    /// An identity.
    ///
    /// # Errors
    /// `DeviceNotFound`, `ModuleNotFound`.
    pub async fn get(&self, address: &Address) -> Result<Registration, HubError> {
        let asks = [
            Ask::Document(Key::identity(address)),
            Ask::Document(Key::session(address)),
            Ask::Depth(QueueId::mailbox(address)),
        ];
        let mut records = self.hub.core().store.read(&asks).await?.into_iter();
        registration(address, &mut records)
    }

    /// An identity with its twin.
    ///
    /// # Errors
    /// `DeviceNotFound`, `ModuleNotFound`.
    pub async fn twin(&self, address: &Address) -> Result<TwinState, HubError> {
        let asks = [
            Ask::Document(Key::identity(address)),
            Ask::Document(Key::session(address)),
            Ask::Depth(QueueId::mailbox(address)),
            Ask::Document(Key::twin(address)),
        ];
        let mut records = self.hub.core().store.read(&asks).await?.into_iter();
        let registration = registration(address, &mut records)?;
        match records.next().flatten() {
            Some(Record::Document(document)) => {
                let twin = Twin::decode(&document.body).map_err(|_| {
                    HubError::new(ErrorKind::Internal, "a stored twin cannot be read")
                })?;
                Ok(TwinState { registration, twin })
            }
            _ => Err(HubError::not_found(address)),
        }
    }

    /// Devices in byte order of their ids, after `after`; at most `limit`, and no more than
    /// `Limits::list_page_max`. Modules are not among them.
    ///
    /// # Errors
    /// `Unavailable` when the store cannot be reached.
    pub async fn devices(
        &self,
        after: Option<&DeviceId>,
        limit: u32,
    ) -> Result<Vec<Registration>, HubError> {
        let core = self.hub.core();
        let limit = limit.min(core.limits.list_page_max);
        let mut devices = Vec::new();
        let mut after = after.map(|id| id.as_str().to_owned());
        let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
        let Some(page) = NonZeroU32::new(core.limits.list_page_max) else { return Ok(devices) };
        while devices.len() < wanted {
            let documents = core.store.scan(Kind::Identity, after.as_deref(), page).await?;
            let Some(last) = documents.last() else { break };
            after = Some(last.at.key().id.to_string());
            let addresses: Vec<Address> = documents
                .iter()
                .filter(|document| !document.at.key().id.contains('/'))
                .filter_map(|document| Address::parse(&document.at.key().id).ok())
                .take(wanted - devices.len())
                .collect();
            devices.extend(self.get_all(&addresses).await?);
        }
        Ok(devices)
    }

    /// Those of these identities that exist, in the order asked.
    ///
    /// # Errors
    /// `Unavailable` when the store cannot be reached.
    pub async fn get_all(&self, addresses: &[Address]) -> Result<Vec<Registration>, HubError> {
        let asks: Vec<Ask> = addresses
            .iter()
            .flat_map(|address| {
                [
                    Ask::Document(Key::identity(address)),
                    Ask::Document(Key::session(address)),
                    Ask::Depth(QueueId::mailbox(address)),
                ]
            })
            .collect();
        let mut records = self.hub.core().store.read(&asks).await?.into_iter();
        let mut found = Vec::with_capacity(addresses.len());
        for address in addresses {
            match registration(address, &mut records) {
                Ok(registration) => found.push(registration),
                // Deleted since the scan.
                Err(error) if error.kind() == ErrorKind::DeviceNotFound => {}
                Err(error) if error.kind() == ErrorKind::ModuleNotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    /// The modules of a device, in byte order of their ids.
    ///
    /// # Errors
    /// `Unavailable` when the store cannot be reached.
    pub async fn modules(&self, device: &Address) -> Result<Vec<Identity>, HubError> {
        let core = self.hub.core();
        let prefix = format!("{}/", device.device_str());
        let mut modules = Vec::new();
        let mut after = prefix.clone();
        let Some(page) = NonZeroU32::new(core.limits.list_page_max) else { return Ok(modules) };
        loop {
            let documents = core.store.scan(Kind::Identity, Some(&after), page).await?;
            let count = documents.len();
            for document in documents {
                let id = document.at.key().id.clone();
                if !id.starts_with(&prefix) {
                    return Ok(modules);
                }
                after = id.to_string();
                modules.extend(Found::new(Some(Record::Document(document)))?.identity);
            }
            if u32::try_from(count).is_ok_and(|count| count < page.get()) {
                return Ok(modules);
            }
        }
    }

    /// Counts the registry. Reads all of it.
    ///
    /// # Errors
    /// `Unavailable` when the store cannot be reached.
    pub async fn statistics(&self) -> Result<Statistics, HubError> {
        let core = self.hub.core();
        let mut statistics =
            Statistics { connected: self.hub.connections_of_all_nodes(), ..Statistics::default() };
        let mut after: Option<String> = None;
        let Some(page) = NonZeroU32::new(core.limits.list_page_max) else {
            return Ok(statistics);
        };
        loop {
            let documents = core.store.scan(Kind::Identity, after.as_deref(), page).await?;
            let Some(last) = documents.last() else { return Ok(statistics) };
            after = Some(last.at.key().id.to_string());
            for document in documents {
                if document.at.key().id.contains('/') {
                    continue;
                }
                statistics.devices += 1;
                let found = Found::new(Some(Record::Document(document)))?;
                if found.identity.is_some_and(|identity| identity.is_enabled()) {
                    statistics.enabled += 1;
                }
            }
        }
    }
}

fn registration(
    address: &Address,
    records: &mut impl Iterator<Item = Option<Record>>,
) -> Result<Registration, HubError> {
    let found = Found::new(records.next().flatten())?;
    let session = match records.next().flatten() {
        Some(Record::Document(document)) => Session::decode(&document.body).unwrap_or_default(),
        _ => Session::default(),
    };
    let messages = match records.next().flatten() {
        Some(Record::Depth(depth)) => depth,
        _ => 0,
    };
    let identity = found.identity.ok_or_else(|| HubError::not_found(address))?;
    Ok(Registration { identity, session, messages })
}
