//! The conformance kit on the memory store, on the kit's own model, and on a memory store that
//! fails.

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
