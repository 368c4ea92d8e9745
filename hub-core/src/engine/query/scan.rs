//! Finding twins in a store that cannot look into them: by reading all of them.

use std::num::NonZeroU32;
use std::sync::Arc;

use async_trait::async_trait;

use super::reading::Reading;
use super::row::Row;
use crate::store::{
    Ask, Document, Find, Found, FoundRow, Key, Kind, Parts, Query, QueueId, QueueKind, Record,
    Store, StoreError,
};

/// Reads twins page by page and leaves out those that the condition does not select.
pub(crate) struct Scan {
    store: Arc<dyn Store>,
    page: NonZeroU32,
}

impl Scan {
    /// `page` is how many twins are read at once.
    pub(crate) fn new(store: Arc<dyn Store>, page: u32) -> Self {
        Self { store, page: NonZeroU32::new(page).unwrap_or(NonZeroU32::MIN) }
    }

    /// The rows of these ids, all as they stand at one instant.
    async fn rows(&self, ids: &[Arc<str>], parts: Parts) -> Result<Vec<FoundRow>, StoreError> {
        let document = |kind, id: &Arc<str>| Ask::Document(Key { kind, id: id.clone() });
        let depth =
            |id: &Arc<str>| Ask::Depth(QueueId { kind: QueueKind::Mailbox, id: id.clone() });
        let asks: Vec<Ask> = ids
            .iter()
            .flat_map(|id| {
                [
                    document(Kind::Twin, id),
                    document(Kind::Identity, id),
                    document(Kind::Session, id),
                    depth(id),
                ]
            })
            .collect();
        let mut records = self.store.read(&asks).await?.into_iter();
        let mut rows = Vec::with_capacity(ids.len());
        for id in ids {
            let mut body = || match records.next().flatten() {
                Some(Record::Document(document)) => Some(document.body),
                _ => None,
            };
            let (twin, identity, session) = (body(), body(), body());
            let messages = match records.next().flatten() {
                Some(Record::Depth(depth)) => depth,
                _ => 0,
            };
            // Deleted since the scan.
            if twin.is_none() {
                continue;
            }
            rows.push(FoundRow {
                id: id.clone(),
                twin,
                identity: identity.filter(|_| parts.identity),
                session: session.filter(|_| parts.session),
                messages,
            });
        }
        Ok(rows)
    }
}

#[async_trait]
impl Query for Scan {
    async fn find(&self, find: Find<'_>) -> Result<Found, StoreError> {
        let page = self.page.min(find.limit);
        let documents = self.store.scan(Kind::Twin, find.after, page).await?;
        let looked_at = u64::try_from(documents.len()).unwrap_or(u64::MAX);
        let last = documents.last().map(|document| document.at.key().id.clone());
        let next = last.filter(|_| looked_at >= u64::from(page.get()));
        let reading = Reading::of_filter(find.filter);
        let needed = reading.parts;
        // What the twin alone can tell is told before anything else is read.
        let by_twin = !needed.beyond_twin() && find.filter.expr().is_some();
        let wanted = documents.into_iter().filter(|document| {
            let id = &document.at.key().id;
            find.population.has(id)
                && (!by_twin
                    || Row::of_twin(id, &document.body, &reading)
                        .is_none_or(|row| find.filter.selects(&row)))
        });
        let rows = if find.parts.beyond_twin() || needed.beyond_twin() {
            let ids: Vec<Arc<str>> = wanted.map(|document| document.at.key().id.clone()).collect();
            self.rows(&ids, find.parts).await?
        } else {
            wanted.map(twin_alone).collect()
        };
        Ok(Found { rows, counted: 0, next, looked_at })
    }
}

fn twin_alone(document: Document) -> FoundRow {
    FoundRow {
        id: document.at.key().id.clone(),
        twin: Some(document.body),
        identity: None,
        session: None,
        messages: 0,
    }
}
