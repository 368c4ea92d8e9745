//! The versions of a twin's sections rise by one with each change, and never go back or skip.

use std::collections::BTreeMap;

use hub_core::frame::Outbound;
use hub_core::store::Kind;
use hub_core::twin::Twin;

use super::{Invariant, ensure};
use crate::fact::{Conn, Fact, Moment, Step, Wish};

#[derive(Default)]
pub(crate) struct TwinVersions {
    links: BTreeMap<Conn, String>,
    reported: BTreeMap<Conn, u64>,
    desired: BTreeMap<Conn, u64>,
}

impl Invariant for TwinVersions {
    fn name(&self) -> &'static str {
        "twin versions rise by one"
    }

    fn see(&mut self, _: &Moment<'_>, fact: &Fact) -> Result<(), String> {
        match fact {
            Fact::Committed { steps, .. } => {
                for step in steps {
                    let Step::Wrote { key, was, body, .. } = step else { continue };
                    if key.kind != Kind::Twin {
                        continue;
                    }
                    let is = Twin::decode(body).map_err(|error| error.to_string())?;
                    let Some((_, was)) = was else {
                        // A device made anew counts from the beginning, also on a link of the old.
                        let id = key.id.to_string();
                        self.reported.retain(|conn, _| self.links.get(conn) != Some(&id));
                        self.desired.retain(|conn, _| self.links.get(conn) != Some(&id));
                        continue;
                    };
                    let was = Twin::decode(was).map_err(|error| error.to_string())?;
                    let versions = |twin: &Twin| {
                        [twin.version(), twin.desired_version(), twin.reported_version()]
                    };
                    let (before, after) = (versions(&was), versions(&is));
                    let steps = before.iter().zip(&after).map(|(b, a)| a.checked_sub(*b));
                    let steps: Option<Vec<u64>> = steps.collect();
                    let right = steps.is_some_and(|s| s[0] == 1 && s[1] <= 1 && s[2] <= 1);
                    ensure(right, || format!("{key:?} went from {before:?} to {after:?}"))?;
                }
            }
            Fact::Asked { address, wish: Wish::Connect { conn }, .. } => {
                self.links.insert(*conn, address.to_string());
            }
            Fact::Told { conn, outbound: Outbound::Reported(_, version) } => {
                let last = self.reported.insert(*conn, *version).unwrap_or(0);
                ensure(last <= *version, || format!("reported {version} was told after {last}"))?;
            }
            Fact::Told { conn, outbound: Outbound::Desired(version, _) } => {
                let last = self.desired.insert(*conn, *version).unwrap_or(0);
                // The same again is all of them: the first notice of a link had overtaken one.
                ensure(last <= *version, || format!("desired {version} was told after {last}"))?;
            }
            _ => {}
        }
        Ok(())
    }
}
