//! Writing an object piece by piece.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use hub_core::blob::{BlobError, BlobWriter};
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt as _, PutPayload};

use crate::failed;

/// How many bytes are gathered into a part. Services want 5 MiB at least, of all parts but the last,
/// and take 10,000 of them.
const PART: usize = 8 << 20;

/// An object that is being written: with one request if it is small, else part by part. It is seen
/// when the last request has been answered.
pub(crate) struct Writer<S> {
    store: Arc<S>,
    path: Path,
    upload: Option<Box<dyn MultipartUpload>>,
    pieces: Vec<Bytes>,
    held: usize,
}

impl<S: ObjectStore> Writer<S> {
    pub(crate) fn new(store: Arc<S>, path: Path) -> Self {
        Self { store, path, upload: None, pieces: Vec::new(), held: 0 }
    }

    /// What was gathered.
    fn payload(&mut self) -> PutPayload {
        self.held = 0;
        std::mem::take(&mut self.pieces).into_iter().collect()
    }

    async fn put_part(&mut self) -> Result<(), object_store::Error> {
        let payload = self.payload();
        let upload = match &mut self.upload {
            Some(upload) => upload,
            none => none.insert(self.store.put_multipart(&self.path).await?),
        };
        upload.put_part(payload).await
    }

    /// The parts that are there already are of no use.
    async fn given_up(&mut self, error: object_store::Error) -> BlobError {
        if let Some(mut upload) = self.upload.take()
            && let Err(error) = upload.abort().await
        {
            tracing::debug!(%error, "parts of an object stay until the service removes them");
        }
        failed("write", error)
    }
}

#[async_trait]
impl<S: ObjectStore> BlobWriter for Writer<S> {
    async fn write(&mut self, piece: Bytes) -> Result<(), BlobError> {
        if piece.is_empty() {
            return Ok(());
        }
        self.held += piece.len();
        self.pieces.push(piece);
        if self.held < PART {
            return Ok(());
        }
        match self.put_part().await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.given_up(error).await),
        }
    }

    async fn finish(mut self: Box<Self>) -> Result<(), BlobError> {
        if self.upload.is_none() {
            let payload = self.payload();
            let put = self.store.put(&self.path, payload).await;
            return put.map(drop).map_err(|error| failed("write", error));
        }
        if self.held > 0
            && let Err(error) = self.put_part().await
        {
            return Err(self.given_up(error).await);
        }
        let Some(upload) = &mut self.upload else { return Ok(()) };
        match upload.complete().await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.given_up(error).await),
        }
    }
}
