//! What is to become of a twin.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::overlay::{changes, overlay};
use super::queue::Todo;
use super::table::{Compiled, Deployed};
use crate::id::Address;
use crate::limits::Limits;
use crate::store::Push;
use crate::twin::{Configured, Held, Mark, ServicePatch, Twin};

/// What is to become of a twin.
#[derive(Debug, Clone, PartialEq)]
pub enum Plan {
    /// It was decided by a later revision of the configurations than the one at hand: whoever knows
    /// that decides.
    Outdated,
    /// It is what it is to be.
    Nothing,
    /// It is to be written.
    Write {
        /// What is to be written to its desired properties; nothing where only the note changes.
        patch: Option<ServicePatch>,
        /// The note, once the patch is written.
        then: Configured,
        /// The note where the patch is refused.
        refused: Configured,
    },
}

impl Deployed {
    /// Whether other configurations target a twin than it says, or it waits for those that do.
    #[must_use]
    pub fn differs(&self, address: &Address, twin: &Twin) -> bool {
        let configured = twin.configured();
        if configured.revision > self.revision() {
            return false;
        }
        configured.pending || !same(configured, self.targeting(address, twin))
    }

    /// Notes which configurations target a twin, as part of a write of it. What that write has to
    /// push if others do than before: the twin waits for them then.
    pub fn retarget(&self, address: &Address, twin: &mut Twin, limits: &Limits) -> Option<Push> {
        let configured = twin.configured();
        if self.is_empty() && configured.marks.is_empty() {
            return None;
        }
        if configured.revision > self.revision() {
            return Some(Todo::new(address.clone(), configured.revision).push(limits));
        }
        if same(configured, self.targeting(address, twin)) {
            return None;
        }
        let marks = self.targeting(address, twin).map(|one| {
            let before = configured.mark(&one.mark.id);
            let before = before.filter(|mark| mark.instance == one.mark.instance);
            Mark { applied: before.is_some_and(|mark| mark.applied), ..one.mark.clone() }
        });
        let marks = marks.collect();
        let held = configured.held.clone();
        let revision = self.revision();
        twin.set_configured(Configured { revision, marks, held, pending: true });
        Some(Todo::new(address.clone(), revision).push(limits))
    }

    /// What is to become of a twin. Settings that no twin could have under the limits of now are
    /// not written: it waits.
    #[must_use]
    pub fn plan(&self, address: &Address, twin: &Twin, limits: &Limits) -> Plan {
        let before = twin.configured();
        if before.revision > self.revision() {
            return Plan::Outdated;
        }
        let targeting: Vec<&Compiled> = self.targeting(address, twin).collect();
        let winners = winners(&targeting);
        let wins = |mark: &Mark| winners.iter().any(|(winner, _)| winner.mark.id == mark.id);
        let wanted = overlay(winners.iter().map(|(_, setting)| *setting));
        let actual = match twin.desired().to_value() {
            Value::Object(actual) => actual,
            _ => Map::new(),
        };
        let patch = changes(&before.held, Some(&wanted), Some(&actual));
        let marks = |applied: &dyn Fn(&Compiled) -> bool| {
            targeting
                .iter()
                .map(|one| Mark { applied: applied(one), ..one.mark.clone() })
                .collect::<Vec<_>>()
        };
        let then = Configured {
            revision: self.revision(),
            marks: marks(&|one| one.settings.is_empty() || wins(&one.mark)),
            held: Held::of(&wanted),
            pending: false,
        };
        let refused = Configured {
            revision: self.revision(),
            marks: marks(&|one| before.mark(&one.mark.id).is_some_and(|mark| mark.applied)),
            held: before.held.clone(),
            pending: true,
        };
        let patch = match patch.is_empty() {
            true => Ok(None),
            false => {
                let patch = json!({ "properties": { "desired": patch } });
                ServicePatch::from_value(&patch, limits).map(Some)
            }
        };
        match patch {
            Ok(None) if is_as_before(&then, before) => Plan::Nothing,
            Ok(patch) => Plan::Write { patch, then, refused },
            Err(_) if is_as_before(&refused, before) => Plan::Nothing,
            Err(_) => Plan::Write { patch: None, then: refused.clone(), refused },
        }
    }
}

/// Whether two notes say the same, by whichever revision.
fn is_as_before(then: &Configured, before: &Configured) -> bool {
    Configured { revision: before.revision, ..then.clone() } == *before
}

/// Whether a twin says that exactly these target it, in this order.
fn same<'c>(configured: &Configured, mut targeting: impl Iterator<Item = &'c Compiled>) -> bool {
    let mut marks = configured.marks.iter();
    loop {
        match (marks.next(), targeting.next()) {
            (None, None) => return true,
            (Some(mark), Some(one))
                if mark.id == one.mark.id && mark.instance == one.mark.instance => {}
            _ => return false,
        }
    }
}

/// The settings that count, the lowest rank first: each path is set by the highest that sets it.
fn winners<'c>(targeting: &[&'c Compiled]) -> Vec<(&'c Compiled, &'c super::content::Setting)> {
    let mut taken = BTreeSet::new();
    let mut winners = Vec::new();
    for one in targeting.iter().rev() {
        for setting in &one.settings {
            if taken.insert(&setting.path) {
                winners.push((*one, setting));
            }
        }
    }
    winners.reverse();
    winners
}
