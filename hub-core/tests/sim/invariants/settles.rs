//! Without faults everything settles: devices connect, messages arrive, calls and frames are
//! answered, every node sees what is stored.

use super::{Invariant, ensure};
use crate::world::World;

pub(crate) struct Settles;

impl Invariant for Settles {
    fn name(&self) -> &'static str {
        "without faults everything settles"
    }

    fn finish(&mut self, world: &World) -> Result<(), String> {
        let wrong = world.unsettled();
        ensure(wrong.is_none(), || wrong.unwrap_or_default())
    }
}
