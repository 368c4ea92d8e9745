//! The conformance kit on the memory store, on the kit's own model, and on a memory store that
//! fails; and the kit for queries on the way in which the hub finds twins in them.

use hub_core::conformance::query::ByReading;
use hub_core::conformance::store::{Failing, Fresh, Model};
use hub_store_memory::MemoryStore;

mod memory {
    hub_core::store_tests!(super::Fresh(super::MemoryStore::new));
}

mod model {
    hub_core::store_tests!(super::Fresh(super::Model::new));
}

mod faulty {
    hub_core::store_tests!(super::Failing::new(super::Fresh(super::MemoryStore::new)));
}

mod queries {
    hub_core::query_tests!(super::ByReading(super::Fresh(super::MemoryStore::new)));
}
