//! Twins to be found, and short calls.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use serde_json::{Value as Json, json};

use super::{Fixture, Opened};
use crate::limits::Limits;
use crate::query::{Case, Fields, Filter, Path, Value};
use crate::store::{
    Ask, Batch, BatchId, Change, Find, Found, Key, Kind, Outcome, Parts, Population, Record, Wanted,
};
use crate::time::Timestamp;
use crate::twin::{ServicePatch, Twin};

/// Pages after which an answer has no end.
const PAGES_MAX: usize = 10_000;

/// The twin alone.
pub(super) const TWIN: Parts =
    Parts { twin: true, identity: false, session: false, messages: false };

/// A store with twins, and what finds them.
pub(super) struct Probe {
    opened: Opened,
    batches: AtomicU64,
    twins: Vec<(String, Twin)>,
}

/// What is asked, besides the condition.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) population: Population,
    pub(super) parts: Parts,
    pub(super) wanted: Wanted,
    pub(super) after: Option<&'a str>,
    pub(super) limit: u32,
}

impl Default for Asked<'_> {
    fn default() -> Self {
        let (population, wanted) = (Population::Devices, Wanted::Rows);
        Self { population, parts: TWIN, wanted, after: None, limit: 1000 }
    }
}

/// A twin as a condition sees it.
struct Seen<'t>(&'t str, &'t Twin);

impl Fields for Seen<'_> {
    fn value(&self, path: &Path, case: Case) -> Value<'_> {
        match path.split_first() {
            Some(("deviceId", [])) => {
                Value::Text(self.0.split_once('/').map_or(self.0, |(device, _)| device).into())
            }
            _ => self.1.value(path, case),
        }
    }
}

/// A twin with these tags.
pub(super) fn twin(tags: &Json) -> Twin {
    let limits = Limits::default();
    let mut twin = Twin::new(Timestamp::from_millis(1));
    let write = ServicePatch::parse(json!({ "tags": tags }).to_string().as_bytes(), &limits);
    let write = write.unwrap_or_else(|error| panic!("{tags}: {error}"));
    let done = twin.patch(&write, None, Timestamp::from_millis(2), &limits);
    done.unwrap_or_else(|error| panic!("{tags}: {error}"));
    twin
}

pub(super) fn filter(condition: &str) -> Filter {
    let filter = Filter::parse(condition, &Limits::default());
    filter.unwrap_or_else(|error| panic!("{condition}: {error}"))
}

pub(super) fn key(kind: Kind, id: &str) -> Key {
    Key::new(kind, id)
}

impl Probe {
    /// A store with these twins.
    pub(super) async fn open<F: Fixture>(
        fixture: &mut F,
        twins: impl IntoIterator<Item = (String, Json)>,
    ) -> Self {
        let opened = fixture.open().await;
        let mut probe = Self { opened, batches: AtomicU64::new(0), twins: Vec::new() };
        for (id, tags) in twins {
            let twin = twin(&tags);
            probe.done(Change::new().create(key(Kind::Twin, &id), twin.encode())).await;
            probe.twins.push((id, twin));
        }
        probe
    }

    /// Commits a change that must succeed.
    pub(super) async fn done(&self, change: Change) {
        let id = BatchId(u128::from(self.batches.fetch_add(1, Ordering::Relaxed)) + 1);
        let batch = Batch { id, changes: vec![change], nudges: Vec::new() };
        let outcomes = self.opened.store.commit(&batch).await.expect("the store takes it");
        assert!(matches!(outcomes[..], [Outcome::Committed(_)]), "{outcomes:?}");
    }

    /// A change of a document that is there.
    pub(super) async fn replaced(&self, change: Change, key: Key, body: Bytes) -> Change {
        let records = self.opened.store.read(&[Ask::Document(key)]).await.expect("it can be read");
        match records.into_iter().next().flatten() {
            Some(Record::Document(document)) => change.replace(&document.at, body),
            other => panic!("there is no document: {other:?}"),
        }
    }

    pub(super) async fn removed(&self, change: Change, key: Key) -> Change {
        let records = self.opened.store.read(&[Ask::Document(key)]).await.expect("it can be read");
        match records.into_iter().next().flatten() {
            Some(Record::Document(document)) => change.remove(&document.at),
            other => panic!("there is no document: {other:?}"),
        }
    }

    /// One page.
    pub(super) async fn page(&self, filter: &Filter, asked: Asked<'_>) -> Found {
        let Asked { population, parts, wanted, after, limit } = asked;
        let limit = NonZeroU32::new(limit).expect("not zero");
        let find = Find { population, filter, parts, wanted, after, limit };
        self.opened.query.find(find).await.expect("it can be asked")
    }

    /// All pages.
    pub(super) async fn pages(&self, filter: &Filter, asked: Asked<'_>) -> Vec<Found> {
        let (mut pages, mut after): (Vec<Found>, Option<String>) =
            (Vec::new(), asked.after.map(str::to_owned));
        loop {
            let page = self.page(filter, Asked { after: after.as_deref(), ..asked }).await;
            let next = page.next.as_deref().map(str::to_owned);
            assert!(next.is_none() || next > after, "Q5: {next:?} is not after {after:?}");
            pages.push(page);
            assert!(pages.len() < PAGES_MAX, "Q5: there is no end");
            match next {
                Some(next) => after = Some(next),
                None => return pages,
            }
        }
    }

    /// The ids of all rows that come.
    pub(super) async fn found(&self, filter: &Filter, asked: Asked<'_>) -> Vec<String> {
        let pages = self.pages(filter, asked).await;
        pages.iter().flat_map(|page| &page.rows).map(|row| row.id.to_string()).collect()
    }

    /// The ids of all twins that a condition selects.
    pub(super) fn selected(&self, filter: &Filter, population: Population) -> BTreeSet<String> {
        let twins = self.twins.iter().filter(|(id, _)| population.has(id));
        twins
            .filter(|(id, twin)| filter.selects(&Seen(id, twin)))
            .map(|(id, _)| id.clone())
            .collect()
    }
}

/// Values of every kind, with those that stores find hard.
pub(super) fn values() -> Vec<Json> {
    vec![
        json!(true),
        json!(false),
        json!(0),
        json!(1),
        json!(-1),
        json!(1.5),
        json!((1_i64 << 52) - 1),
        json!(-(1_i64 << 52)),
        json!("a"),
        json!("b"),
        json!(""),
        json!("true"),
        // What many databases refuse in text, what is too long for an index, what is to be escaped.
        json!("a\u{0}"),
        json!("a".repeat(600)),
        json!("a\"\\\n'é"),
        json!({"k": 1}),
        json!([1, "a"]),
    ]
}

/// Devices and modules with each value, and without any.
pub(super) fn fleet() -> Vec<(String, Json)> {
    let mut twins = vec![("none".to_owned(), json!({})), ("none/m".to_owned(), json!({}))];
    for (i, value) in values().into_iter().enumerate() {
        let tags = json!({"x": value, "y": i % 3});
        twins.push((format!("d{i:02}"), tags.clone()));
        twins.push((format!("e{i:02}"), tags.clone()));
        if i % 2 == 0 {
            twins.push((format!("d{i:02}/m"), tags));
        }
    }
    twins
}

/// Conditions of every form.
pub(super) const CONDITIONS: [&str; 30] = [
    "*",
    "true",
    "false",
    "tags.x = 'a'",
    "'a' = tags.x",
    "tags.x = 1",
    "tags.x = 1.5",
    "tags.x = true",
    "tags.x",
    "tags.x = ''",
    "tags.x = null",
    "tags.x != 'a'",
    "tags.x = 4503599627370495",
    "tags.x < 1",
    "tags.x >= 1",
    "0 < tags.x",
    "tags.x > 'a'",
    "tags.x IN ['a', 1, true]",
    "tags.x NIN ['a', 1]",
    "tags.x.k = 1",
    "is_defined(tags.x)",
    "NOT is_defined(tags.x)",
    "starts_with(tags.x, 'a')",
    "tags.y = 1",
    "tags.x = 'a' AND tags.y = 2",
    "tags.x = 'a' OR tags.y = 2",
    "tags.x = 'a' OR tags.z = 2",
    "tags.y > 0 AND NOT (tags.x = 'b')",
    "deviceId = 'd03'",
    "deviceId IN ['d03', 'none', 'gone'] OR tags.x = 'b'",
];
