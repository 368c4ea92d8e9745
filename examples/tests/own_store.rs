//! The conformance kit on the store of the example `own-store`.

#[path = "../own-store/store.rs"]
mod store;

use hub_core::conformance::store::Fresh;

hub_core::store_tests!(Fresh(store::OwnStore::default));
