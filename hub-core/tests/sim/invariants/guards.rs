//! A change takes effect only if the records it was decided on are as they were read.

use super::{Invariant, ensure};
use crate::fact::{Fact, Moment, Step};

#[derive(Default)]
pub(crate) struct Guards;

impl Invariant for Guards {
    fn name(&self) -> &'static str {
        "a change takes effect only on what it was decided on"
    }

    fn see(&mut self, _: &Moment<'_>, fact: &Fact) -> Result<(), String> {
        let Fact::Committed { steps, .. } = fact else { return Ok(()) };
        for step in steps {
            let (guard, was) = match step {
                Step::Wrote { guard, was, .. } => (*guard, was.as_ref().map(|(v, _)| *v)),
                Step::Removed { guard, was, .. } => {
                    (Some(*guard), was.as_ref().map(|(version, _)| *version))
                }
                Step::Required { guard, was, .. } => (*guard, *was),
                Step::Settled { item, was } | Step::Retimed { item, was, .. } => {
                    (Some(item.version()), was.as_ref().map(|was| was.version))
                }
                Step::Pushed { .. } | Step::Cleared { .. } | Step::Appended { .. } => continue,
            };
            ensure(guard == was, || format!("{step:?} was done on {was:?}"))?;
        }
        Ok(())
    }
}
