//! The conformance kit on the store of the example `own-store`.

#[path = "../own-store/store.rs"]
mod store;

use hub_core::conformance::store::Fresh;
use hub_core::store::OneLock;

hub_core::store_tests!(Fresh(OneLock::<store::World>::default));
