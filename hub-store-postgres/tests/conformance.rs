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
use hub_core::conformance::store::{Failing, Fixture};
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

mod alone {
    hub_core::store_tests!(super::Schemas::default());
}

mod faulty {
    hub_core::store_tests!(super::Failing::new(super::Schemas::default()));
}
