//! The conformance kit on PostgreSQL, alone and inside a store that fails.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends where something is not as it should be"
)]

mod server;

use async_trait::async_trait;
use hub_core::conformance::store::{Faulty, Fixture, Retry};
use hub_store_postgres::PostgresStore;
use server::Schema;

/// Stores in schemas of their own, dropped at the end.
#[derive(Default)]
struct Schemas {
    schemas: Vec<Schema>,
}

#[async_trait]
impl Fixture for Schemas {
    type Store = PostgresStore;

    async fn open(&mut self) -> PostgresStore {
        let schema = Schema::new();
        let store = schema.open().await;
        self.schemas.push(schema);
        store
    }

    async fn reopen(&mut self, store: PostgresStore) -> Option<PostgresStore> {
        drop(store);
        let schema = self.schemas.last().unwrap();
        schema.left().await;
        Some(schema.open().await)
    }
}

/// The same behind a store that fails.
#[derive(Default)]
struct Failing {
    inner: Schemas,
    seed: u64,
}

impl Failing {
    fn around(&mut self, store: PostgresStore) -> Retry<Faulty<PostgresStore>> {
        self.seed += 1;
        Retry::new(Faulty::new(store, self.seed))
    }
}

#[async_trait]
impl Fixture for Failing {
    type Store = Retry<Faulty<PostgresStore>>;

    async fn open(&mut self) -> Self::Store {
        let store = self.inner.open().await;
        self.around(store)
    }

    async fn reopen(&mut self, store: Self::Store) -> Option<Self::Store> {
        let store = self.inner.reopen(store.into_inner().into_inner()).await?;
        Some(self.around(store))
    }
}

mod alone {
    hub_core::store_tests!(super::Schemas::default());
}

mod faulty {
    hub_core::store_tests!(super::Failing::default());
}
