//! File uploads: a device asks for an address, and says when it is done.

use std::sync::Arc;

use super::hub::Hub;
use super::throttle;
use crate::blob::{
    BlobAccess, BlobAddress, BlobError, BlobFolder, BlobName, BlobStore, FolderAddress,
};
use crate::error::{ErrorKind, HubError};
use crate::id::{Address, DeviceId, SequenceNumber};
use crate::quota::Operation;
use crate::registry::Identity;
use crate::security::Registered;
use crate::store::{Ask, DocumentRef, Item, Key, Outcome, QueueId, Record};
use crate::time::Timestamp;
use crate::upload::{
    CorrelationId, FileNotification, Refused, Ticket, begin, expire, finish, open,
};

/// What a device needs to upload a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadTicket {
    /// What the device names the upload by when it says that it is done.
    pub correlation: CorrelationId,
    /// The blob: the device's id, a slash, and the name that was asked for.
    pub blob: BlobName,
    /// Where to write it to.
    pub address: BlobAddress,
    /// When the address and the upload expire.
    pub expiry: Timestamp,
}

/// How an upload ended, as the device tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UploadReport {
    /// Whether the file is there.
    pub success: bool,
    /// What the store of files answered the device. For the log.
    pub status: i64,
}

impl UploadReport {
    /// The file is there.
    #[must_use]
    pub fn success() -> Self {
        Self { success: true, status: 200 }
    }

    /// The file could not be uploaded.
    #[must_use]
    pub fn failure(status: i64) -> Self {
        Self { success: false, status }
    }
}

impl Hub {
    /// Where devices upload to, if anywhere.
    #[must_use]
    pub fn blobs(&self) -> Option<&Arc<dyn BlobStore>> {
        self.core().blobs.as_ref()
    }

    pub(super) fn blob_store(&self) -> Result<&Arc<dyn BlobStore>, HubError> {
        self.blobs()
            .ok_or_else(|| HubError::new(ErrorKind::NoBlobStore, "the hub has no store of files"))
    }

    /// Begins an upload: gives a device an address that lets it write the file `name` for
    /// `Limits::upload_ttl`.
    ///
    /// The upload counts as open until [`Hub::finish_upload`] or its expiry. Dropping the future may
    /// leave one open that nobody knows of.
    ///
    /// # Errors
    /// `NoBlobStore`; `ArgumentInvalid` for a name that is none; `DeviceNotFound`, `DeviceDisabled`;
    /// `TooManyUploads` beyond `Limits::uploads_per_device_max`; `BlobStoreRefused`, `Unavailable`;
    /// `Busy`; `Throttled` and `QuotaExceeded` by the device's quotas.
    pub async fn begin_upload(
        &self,
        device: &DeviceId,
        name: &str,
    ) -> Result<UploadTicket, HubError> {
        let blobs = self.blob_store()?;
        let blob =
            BlobName::new(device, name).map_err(|error| HubError::argument(error.to_string()))?;
        let (core, limits) = (self.core(), self.limits());
        let owner = Address::from(device);
        self.has_turn(throttle::one(Operation::FileUpload, &owner)).await?;
        let mut secret = [0_u8; 16];
        getrandom::fill(&mut secret)
            .map_err(|_| HubError::new(ErrorKind::Internal, "no random numbers"))?;
        for _ in 0..=limits.conflict_rounds_max {
            let identity = self.enabled(&owner).await?;
            let now = core.clock.now();
            let expiry = now.after(limits.upload_ttl);
            // Nobody has the address before the ticket is durable.
            let address = blobs
                .address(&blob, BlobAccess::Upload, now, limits.upload_ttl)
                .await
                .map_err(|error| failed(&error))?;
            let ticket = Ticket { blob: blob.clone(), secret };
            let change = begin(&identity, device, &ticket, expiry, limits);
            match self.commit(&owner, change).await? {
                Outcome::Committed(issued) => {
                    let sequence = issued.sequences.first().copied().unwrap_or_default();
                    let correlation = CorrelationId { sequence, expiry, secret };
                    return Ok(UploadTicket { correlation, blob, address, expiry });
                }
                Outcome::Conflict => {}
                Outcome::Full(_) => {
                    // The sweep is not always there first.
                    if !self.give_up_expired(device).await? {
                        let message = format!(
                            "Number of active file upload requests cannot exceed {}",
                            limits.uploads_per_device_max
                        );
                        return Err(HubError::new(ErrorKind::TooManyUploads, message));
                    }
                }
            }
        }
        Err(HubError::new(ErrorKind::Busy, "others changed the same device too often"))
    }

    /// The identity of a device that may upload, as it is now.
    async fn enabled(&self, owner: &Address) -> Result<DocumentRef, HubError> {
        let asks = [Ask::Document(Key::identity(owner))];
        let record = self.core().store.read(&asks).await?.into_iter().next().flatten();
        let Some(Record::Document(document)) = record else {
            return Err(HubError::not_found(owner));
        };
        let identity = Identity::decode(&document.body)
            .map_err(|_| HubError::new(ErrorKind::Internal, "a stored identity cannot be read"))?;
        if !identity.is_enabled() {
            return Err(HubError::new(ErrorKind::DeviceDisabled, format!("{owner}")));
        }
        Ok(document.at)
    }

    /// Gives up the expired uploads of a device. Whether there were any.
    async fn give_up_expired(&self, device: &DeviceId) -> Result<bool, HubError> {
        let core = self.core();
        let first = SequenceNumber::default();
        let asks =
            [Ask::Items(QueueId::uploads(device), first, core.limits.uploads_per_device_max)];
        let record = core.store.read(&asks).await?.into_iter().next().flatten();
        let Some(Record::Items(items)) = record else { return Ok(false) };
        let Some(change) = expire(&items, core.clock.now()) else { return Ok(false) };
        // On a conflict somebody else gives them up.
        self.commit(&Address::from(device), change).await?;
        Ok(true)
    }

    /// Finishes an upload that was begun. If the device reports success, the file is looked for and,
    /// with `Limits::file_notifications`, back ends are notified: what they are told is returned.
    /// If it reports failure, the upload is over and nothing else happens.
    ///
    /// An upload is finished once: a second time it is not found. When this fails, it is still open.
    ///
    /// # Errors
    /// `UploadNotFound` for an id that the device was not given, or has used; `UploadExpired`;
    /// `BlobNotFound` when the device reports success and there is no file; `QueueFull` when no
    /// notification has room; `NoBlobStore`, `BlobStoreRefused`, `Unavailable`.
    pub async fn finish_upload(
        &self,
        device: &DeviceId,
        correlation: &str,
        report: UploadReport,
    ) -> Result<Option<FileNotification>, HubError> {
        let unknown =
            || HubError::new(ErrorKind::UploadNotFound, "the device has no such upload open");
        let id: CorrelationId = correlation.parse().map_err(|_| unknown())?;
        let item = self.upload(device, id.sequence).await?;
        let ticket = open(item.as_ref(), &id, self.now()).map_err(|refused| match refused {
            Refused::Unknown => unknown(),
            Refused::Expired => HubError::new(ErrorKind::UploadExpired, "the upload has expired"),
        })?;
        let Some(item) = item else { return Err(unknown()) };
        let notification = if report.success && self.limits().file_notifications {
            Some(self.uploaded(ticket.blob).await?)
        } else {
            None
        };
        let change = finish(&item, notification.as_ref(), self.limits());
        match self.commit(&Address::from(device), change).await? {
            Outcome::Committed(_) => {}
            // Another request with the same id was first.
            Outcome::Conflict => return Err(unknown()),
            Outcome::Full(_) => {
                let message = "there is no room for a file notification";
                return Err(HubError::new(ErrorKind::QueueFull, message));
            }
        }
        if notification.is_some() {
            self.core().files_ready.notify_waiters();
        }
        if !report.success {
            tracing::debug!(%device, status = report.status, "an upload has failed");
        }
        Ok(notification)
    }

    async fn upload(
        &self,
        device: &DeviceId,
        sequence: SequenceNumber,
    ) -> Result<Option<Item>, HubError> {
        let asks = [Ask::Item(QueueId::uploads(device), sequence)];
        let record = self.core().store.read(&asks).await?.into_iter().next().flatten();
        Ok(match record {
            Some(Record::Item(item)) => Some(item),
            _ => None,
        })
    }

    /// What there is to tell of a blob that was uploaded.
    async fn uploaded(&self, blob: BlobName) -> Result<FileNotification, HubError> {
        let found = self.blob_store()?.stat(&blob).await.map_err(|error| failed(&error))?;
        let info = found.ok_or_else(|| {
            HubError::new(ErrorKind::BlobNotFound, format!("there is no file {blob}"))
        })?;
        Ok(FileNotification {
            blob,
            url: info.url,
            size: info.size,
            modified: info.modified,
            enqueued: self.now(),
        })
    }

    /// An address that lets its holder read a file for `Limits::upload_ttl`.
    ///
    /// # Errors
    /// `NoBlobStore`, `BlobNotFound`, `BlobStoreRefused`, `Unavailable`.
    pub async fn file_address(
        &self,
        blob: &BlobName,
    ) -> Result<(BlobAddress, Timestamp), HubError> {
        let blobs = self.blob_store()?;
        if blobs.stat(blob).await.map_err(|error| failed(&error))?.is_none() {
            return Err(HubError::new(ErrorKind::BlobNotFound, format!("there is no file {blob}")));
        }
        let (now, valid) = (self.now(), self.limits().upload_ttl);
        let address = blobs
            .address(blob, BlobAccess::Download, now, valid)
            .await
            .map_err(|error| failed(&error))?;
        Ok((address, now.after(valid)))
    }

    /// An address of a folder of back ends, for imports and exports of the registry: one that lets its
    /// holder read, write and delete what is in it for `Limits::upload_ttl`, where the store of files
    /// can sign such.
    ///
    /// # Errors
    /// `NoBlobStore`, `BlobStoreRefused`, `Unavailable`.
    pub async fn folder_address(
        &self,
        folder: &BlobFolder,
    ) -> Result<(FolderAddress, Timestamp), HubError> {
        let (now, valid) = (self.now(), self.limits().upload_ttl);
        let address = self.blob_store()?.folder_address(folder, now, valid).await;
        let address = address.map_err(|error| failed(&error))?;
        Ok((address, now.after(valid)))
    }
}

/// The caller learns what it can do about it; why is for the log.
fn failed(error: &BlobError) -> HubError {
    let source = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    tracing::warn!(%error, source, "the store of files failed");
    HubError::from(error)
}
