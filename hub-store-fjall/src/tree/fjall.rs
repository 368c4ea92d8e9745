//! The tree on fjall.

use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::{Space, Tree, Write};

/// A fjall database in a folder of the store's directory.
pub(crate) struct FjallTree {
    path: PathBuf,
    cache_bytes: u64,
    open: RwLock<Option<Open>>,
}

#[derive(Clone)]
struct Open {
    database: Database,
    spaces: Arc<[Keyspace]>,
}

impl std::fmt::Debug for FjallTree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FjallTree").field("path", &self.path).finish_non_exhaustive()
    }
}

fn failed(error: fjall::Error) -> io::Error {
    match error {
        fjall::Error::Io(error) => error,
        fjall::Error::Storage(fjall::LsmError::Io(error)) => error,
        other => io::Error::other(other.to_string()),
    }
}

impl FjallTree {
    pub(crate) fn open(path: &Path, cache_bytes: u64) -> io::Result<Self> {
        let open = open(path, cache_bytes)?;
        Ok(Self { path: path.to_owned(), cache_bytes, open: RwLock::new(Some(open)) })
    }

    fn opened(&self) -> io::Result<Open> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        open.clone().ok_or_else(|| io::Error::other("the state is closed"))
    }
}

fn open(path: &Path, cache_bytes: u64) -> io::Result<Open> {
    let database = Database::builder(path)
        // Checkpoints say when to sync, and nothing is to be written behind their back.
        .manual_journal_persist(true)
        .cache_size(cache_bytes)
        // What opening has to read again is bounded by this; 64 MiB is the least.
        .max_journaling_size(64 << 20)
        .worker_threads(1)
        .open()
        .map_err(failed)?;
    let mut spaces = Vec::new();
    for space in Space::ALL {
        let options = || KeyspaceCreateOptions::default().max_memtable_size(16 << 20);
        spaces.push(database.keyspace(space.name(), options).map_err(failed)?);
    }
    Ok(Open { database, spaces: spaces.into() })
}

impl Open {
    fn space(&self, space: Space) -> io::Result<&Keyspace> {
        self.spaces
            .get(space as usize)
            .ok_or_else(|| io::Error::other("a part of the state is not open"))
    }
}

impl Tree for FjallTree {
    fn get(&self, space: Space, key: &[u8]) -> io::Result<Option<Bytes>> {
        let value = self.opened()?.space(space)?.get(key).map_err(failed)?;
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    }

    fn after(
        &self,
        space: Space,
        key: Option<&[u8]>,
        limit: usize,
    ) -> io::Result<Vec<(Vec<u8>, Bytes)>> {
        let open = self.opened()?;
        let from = key.map_or(Bound::Unbounded, Bound::Excluded);
        let range = open.space(space)?.range::<&[u8], _>((from, Bound::Unbounded));
        let mut rows = Vec::new();
        for row in range.take(limit) {
            let (key, value) = row.into_inner().map_err(failed)?;
            rows.push((key.to_vec(), Bytes::copy_from_slice(&value)));
        }
        Ok(rows)
    }

    fn write(&self, writes: Vec<Write>) -> io::Result<()> {
        let open = self.opened()?;
        let mut batch = open.database.batch();
        for (space, key, value) in writes {
            match value {
                Some(value) => batch.insert(open.space(space)?, key, value),
                None => batch.remove(open.space(space)?, key),
            }
        }
        batch.commit().map_err(failed)
    }

    fn sync(&self) -> io::Result<()> {
        self.opened()?.database.persist(PersistMode::SyncAll).map_err(failed)
    }

    fn revive(&self) -> io::Result<()> {
        let mut slot = self.open.write().unwrap_or_else(PoisonError::into_inner);
        // The old one holds fjall's lock on the folder until it is gone.
        *slot = None;
        *slot = Some(open(&self.path, self.cache_bytes)?);
        Ok(())
    }

    fn close(&self) {
        *self.open.write().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
