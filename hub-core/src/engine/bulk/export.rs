//! All identities with their twins, one after another.

use std::collections::VecDeque;
use std::num::NonZeroU32;

use futures::{Stream, stream};

use crate::bulk::DeviceRecord;
use crate::engine::hub::Hub;
use crate::engine::registry::Registry;
use crate::error::{ErrorKind, HubError};
use crate::id::Address;
use crate::registry::Identity;
use crate::store::{Ask, Key, Kind, Record};
use crate::twin::Twin;

/// How many identities are read at once: their twins may be large.
const PAGE: NonZeroU32 = match NonZeroU32::new(50) {
    Some(count) => count,
    None => NonZeroU32::MIN,
};

/// What an export gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ExportOptions {
    /// Leaves symmetric keys out.
    pub exclude_keys: bool,
}

impl ExportOptions {
    /// Without symmetric keys.
    #[must_use]
    pub fn without_keys() -> Self {
        Self { exclude_keys: true }
    }
}

impl<'h> Registry<'h> {
    /// All identities with their twins: first the edge devices with their modules, then the others, in
    /// byte order of their ids; so whoever imports them in this order finds the edge devices that others
    /// stand behind.
    ///
    /// Each identity is read with its twin at one instant. All of them are not: what is created or
    /// deleted meanwhile may be there or not, and nothing is there twice but a device that becomes an
    /// edge device meanwhile. Memory is bounded; reading goes on as the stream is polled. After an
    /// error the stream goes on where it was.
    pub fn export(
        self,
        options: ExportOptions,
    ) -> impl Stream<Item = Result<DeviceRecord, HubError>> + Send + use<'h> {
        let reader = Exporter::new(options);
        let begun = (self.hub, reader, VecDeque::<DeviceRecord>::new());
        stream::unfold(begun, |(hub, mut reader, mut page)| async move {
            loop {
                if let Some(record) = page.pop_front() {
                    return Some((Ok(record), (hub, reader, page)));
                }
                match reader.next_page(hub).await {
                    Ok(Some(next)) => page.extend(next),
                    Ok(None) => return None,
                    Err(error) => return Some((Err(error), (hub, reader, page))),
                }
            }
        })
    }
}

/// Which identities are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pass {
    /// Edge devices and their modules.
    Edges,
    /// All others.
    Others,
}

/// Reads the registry page by page.
pub(super) struct Exporter {
    options: ExportOptions,
    pass: Pass,
    after: Option<String>,
    /// The device before, and whether it is an edge device: its modules follow it.
    device: Option<(String, bool)>,
    /// How many identities were seen in the first pass, and in this one.
    all: u64,
    seen: u64,
}

impl Exporter {
    pub(super) fn new(options: ExportOptions) -> Self {
        Self { options, pass: Pass::Edges, after: None, device: None, all: 0, seen: 0 }
    }

    /// How far it came, of 100; never 100.
    pub(super) fn percent(&self) -> u8 {
        match self.pass {
            Pass::Edges => 0,
            Pass::Others => {
                let part = self.seen.saturating_mul(100).checked_div(self.all).unwrap_or(0);
                u8::try_from(part.min(99)).unwrap_or(99)
            }
        }
    }

    /// The next records: perhaps none of a page, `None` at the end. After an error it can be asked
    /// again.
    pub(super) async fn next_page(
        &mut self,
        hub: &Hub,
    ) -> Result<Option<Vec<DeviceRecord>>, HubError> {
        let store = &hub.core().store;
        let found = store.scan(Kind::Identity, self.after.as_deref(), PAGE).await?;
        let Some(last) = found.last() else {
            if self.pass == Pass::Others {
                return Ok(None);
            }
            (self.pass, self.all) = (Pass::Others, self.seen);
            (self.after, self.device, self.seen) = (None, None, 0);
            return Ok(Some(Vec::new()));
        };
        let after = last.at.key().id.to_string();
        let mut device = self.device.clone();
        let mut wanted = Vec::new();
        for document in &found {
            let address = Address::parse(&document.at.key().id);
            let address = address.map_err(|_| unreadable())?;
            let identity = Identity::decode(&document.body).map_err(|_| unreadable())?;
            if !address.is_module() {
                device = Some((address.device_str().to_owned(), identity.iot_edge()));
            }
            let edge = match &device {
                Some((of, edge)) if of == address.device_str() => *edge,
                // Modules do not always follow their device at once: ids may lie between.
                _ => self.is_edge(hub, &address).await?,
            };
            if edge == (self.pass == Pass::Edges) {
                wanted.push(address);
            }
        }
        let records = self.read(hub, &wanted).await?;
        self.seen += u64::try_from(found.len()).unwrap_or(u64::MAX);
        (self.after, self.device) = (Some(after), device);
        Ok(Some(records))
    }

    async fn is_edge(&self, hub: &Hub, module: &Address) -> Result<bool, HubError> {
        let ask = Ask::Document(Key::identity(&Address::from(module.device_id())));
        match hub.core().store.read(&[ask]).await?.into_iter().next().flatten() {
            Some(Record::Document(document)) => {
                Ok(Identity::decode(&document.body).map_err(|_| unreadable())?.iot_edge())
            }
            _ => Ok(false),
        }
    }

    /// Identities with their twins; those that were deleted since are left out.
    async fn read(&self, hub: &Hub, of: &[Address]) -> Result<Vec<DeviceRecord>, HubError> {
        if of.is_empty() {
            return Ok(Vec::new());
        }
        let asks: Vec<Ask> = of
            .iter()
            .flat_map(|address| [Key::identity(address), Key::twin(address)])
            .map(Ask::Document)
            .collect();
        let mut found = hub.core().store.read(&asks).await?.into_iter();
        let mut records = Vec::with_capacity(of.len());
        for _ in of {
            let (identity, twin) = (found.next().flatten(), found.next().flatten());
            let Some(Record::Document(identity)) = identity else { continue };
            let identity = Identity::decode(&identity.body).map_err(|_| unreadable())?;
            let twin = match twin {
                Some(Record::Document(twin)) => Some(Twin::decode(&twin.body)?),
                _ => None,
            };
            let record = DeviceRecord::of(&identity, twin.as_ref());
            records.push(if self.options.exclude_keys { record.without_keys() } else { record });
        }
        Ok(records)
    }
}

fn unreadable() -> HubError {
    HubError::new(ErrorKind::Internal, "a stored identity cannot be read")
}
