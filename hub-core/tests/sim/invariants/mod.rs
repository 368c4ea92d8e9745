//! What must be true, one file each. Safety is judged at every fact and after every event, liveness
//! at the end of the second phase.

use crate::fact::{Fact, Moment};
use crate::world::World;

mod bounds;
mod calls;
mod durable;
mod feedback;
mod guards;
mod kept;
mod latest_token;
mod log;
mod nothing_lost;
mod one_epoch;
mod overdue;
mod settled_once;
mod settles;
mod twin_versions;

/// Something that is always true, or that is true in the end.
pub(crate) trait Invariant {
    /// The sentence.
    fn name(&self) -> &'static str;

    fn see(&mut self, _moment: &Moment<'_>, _fact: &Fact) -> Result<(), String> {
        Ok(())
    }

    fn step(&mut self, _world: &World) -> Result<(), String> {
        Ok(())
    }

    fn finish(&mut self, _world: &World) -> Result<(), String> {
        Ok(())
    }
}

pub(crate) fn all() -> Vec<Box<dyn Invariant>> {
    vec![
        Box::<durable::Durable>::default(),
        Box::<settled_once::SettledOnce>::default(),
        Box::<latest_token::LatestToken>::default(),
        Box::<nothing_lost::NothingLost>::default(),
        Box::<twin_versions::TwinVersions>::default(),
        Box::<one_epoch::OneEpoch>::default(),
        Box::<calls::Calls>::default(),
        Box::<bounds::Bounds>::default(),
        Box::<log::Log>::default(),
        Box::<feedback::Feedback>::default(),
        Box::<guards::Guards>::default(),
        Box::<kept::Kept>::default(),
        Box::new(overdue::Overdue),
        Box::new(settles::Settles),
    ]
}

fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}
