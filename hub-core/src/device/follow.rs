//! Telling a device what it has missed of its desired properties, where that is wanted
//! ([`Limits::desired_catch_up`](crate::limits::Limits::desired_catch_up)).
//!
//! What a device may have is kept in a document, [`Known`]: written *before* it is told of a name that
//! is not in there, and read when a connection begins to listen. So whatever happens to the connection,
//! or to its node, the next one knows enough to tell the device what it has missed.
//!
//! | event | what follows |
//! |---|---|
//! | it begins to listen, or a notice was lost | [`Job::CatchUp`]: the twin and the document are read; the names of the twin are written down; it is told one patch of all since it last was heard to have |
//! | a notice brings new names | the same job, which tells it the notice as it is |
//! | a notice brings none | it is told at once |
//! | it acknowledges one | it is remembered that it has that version, if it has all before it |
//! | it leaves | what was remembered is written down, in the change that ends the session |

use std::collections::BTreeMap;

use bytes::Bytes;

use super::cache::Cached;
use super::effect::Effects;
use super::job::{After, Job};
use super::{Device, Online};
use crate::error::CloseReason;
use crate::frame::{Interest, Outbound};
use crate::id::{LinkId, Tag};
use crate::store::{Change, DocumentRef, Key};
use crate::twin::{DesiredNotice, Known, Names};

/// Most notices that wait until the device may be told of them. Beyond it they give way to one patch.
const HELD_MAX: usize = 16;
/// Most notices that are told and not acknowledged, as far as they are told apart.
const OPEN_MAX: usize = 64;

/// What a connection has been told, and how much of it has arrived.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Following {
    /// The names that are written down for it. `None` before the first look.
    names: Option<Names>,
    /// It may have missed something. Until it is told of that, notices wait.
    behind: bool,
    held: Vec<(u64, Bytes)>,
    acks: Acks,
}

/// Which notices have arrived.
#[derive(Debug, Clone, PartialEq, Default)]
struct Acks {
    /// What it had at the least when it was told the first.
    base: u64,
    /// The latest that it was told; zero for none.
    last: u64,
    /// Those that are not acknowledged, each with the one that it was told before. Between the two there
    /// may be versions that it was never told by themselves.
    open: BTreeMap<u64, u64>,
    /// There were too many to keep them apart.
    lost: bool,
}

impl Acks {
    fn told(&mut self, version: u64) {
        if self.open.len() >= OPEN_MAX {
            self.lost = true;
        }
        if !self.lost {
            // What is told again says nothing of what came before it.
            let before = if version > self.last { self.last } else { 0 };
            self.open.entry(version).or_insert(before);
            self.last = self.last.max(version);
        }
    }

    fn heard(&mut self, version: u64) {
        self.open.remove(&version);
    }

    /// The version that it has at the least.
    fn sure(&self) -> u64 {
        let told = self.open.first_key_value().map_or(self.last, |(_, before)| *before);
        if self.lost { self.base } else { told.max(self.base) }
    }
}

impl Following {
    /// That of a connection that takes the place of another one.
    pub(super) fn after(&self) -> Self {
        let acks = Acks { base: self.acks.sure(), ..Acks::default() };
        Self { acks, ..Self::default() }
    }

    /// The version that the device has at the least.
    pub(super) fn sure(&self) -> u64 {
        self.acks.sure()
    }
}

impl Device {
    pub(super) fn follows(&self) -> bool {
        self.setup.limits.desired_catch_up
    }

    /// The connection listens to its desired properties from now on.
    pub(super) fn listens(&mut self, fx: &mut Effects) {
        if self.follows()
            && let Some(online) = &mut self.online
        {
            online.following.behind = true;
            self.enqueue(Job::CatchUp, fx);
        }
    }

    /// The device has got the notice of this version.
    pub(super) fn has_heard(&mut self, link: LinkId, version: u64, fx: &mut Effects) {
        let limit = self.setup.limits.desired_names_bytes_max;
        let Some(online) = self.online.as_mut().filter(|online| online.link == link) else {
            return;
        };
        let following = &mut online.following;
        following.acks.heard(version);
        // It has all that it was told, so what is gone of that need not be remembered.
        let all = following.acks.open.is_empty() && following.held.is_empty();
        let many = following.names.as_ref().is_some_and(|names| names.bytes() > limit / 2);
        if self.follows() && all && many {
            self.enqueue(Job::CatchUp, fx);
        }
    }

    /// Whether a notice has to wait: for earlier ones, or until its names are written down. It is kept
    /// then.
    pub(super) fn holds(&mut self, version: u64, patch: &Bytes, fx: &mut Effects) -> bool {
        let follows = self.follows();
        let Some(online) = self.online.as_mut().filter(|_| follows) else { return false };
        let following = &mut online.following;
        let names = following.names.as_ref();
        let waits = following.behind || !following.held.is_empty();
        let covered = names.is_some_and(|names| names.cover_notice(patch));
        // Whoever does not listen is not told, and begins anew when it does.
        let listens = online.subscriptions.has(Interest::DesiredProperties);
        if !listens || (covered && !waits) {
            return false;
        }
        if following.held.len() < HELD_MAX {
            following.held.push((version, patch.clone()));
        } else {
            following.held.clear();
            following.behind = true;
        }
        if !waits {
            self.enqueue(Job::CatchUp, fx);
        }
        true
    }

    /// The device is told of this version.
    pub(super) fn tells(&mut self, version: u64) {
        if self.follows()
            && let Some(online) = &mut self.online
        {
            online.following.acks.told(version);
        }
    }

    /// Tells the device what it has missed, once what it may then have is written down.
    pub(super) fn follow(&mut self, fx: &mut Effects) {
        let Some(online) = &self.online else { return };
        if !self.is_live(online.epoch) {
            return self.close(CloseReason::TakenOver, fx);
        }
        let Some(twin) = self.documents.twin.get() else { return };
        let Online { following, grant, .. } = online;
        let known = self.documents.known.get();
        let known = known.filter(|known| known.generation == grant.generation);
        let heard = known.map_or(0, |known| known.heard).max(following.sure());
        let version = twin.desired_version();
        let listens = online.subscriptions.has(Interest::DesiredProperties);
        let behind = listens && (following.behind || online.notices.has_missed(version));
        let mut names = match known {
            Some(known) if heard < version => known.names.clone(),
            // It has what there is, so it has no names but those.
            _ => Names::default(),
        };
        if names.bytes() > self.setup.limits.desired_names_bytes_max {
            names = Names::default();
        }
        names.add(twin.desired());
        for (_, patch) in &following.held {
            names.add_notice(patch);
        }
        let notice = if behind { twin.desired_since(heard, &names) } else { None };
        let written = known.is_some_and(|known| known.names == names);
        let known = Known { generation: grant.generation, heard, names };
        let followed = Followed { known, notice, version, behind };
        if written {
            return self.followed(followed, fx);
        }
        let change = self.remember(&followed.known);
        self.write(Job::CatchUp, change, After::Followed(Box::new(followed)), fx);
    }

    /// Writes down what the device may have, as long as its connection is the live one.
    fn remember(&self, known: &Known) -> Change {
        let key = Key::known(&self.address);
        let read = self.documents.known.version();
        self.require_session(Change::new()).write(&key, read, known.encode())
    }

    /// What it may have is written down: now it may be told.
    pub(super) fn followed(&mut self, followed: Followed, fx: &mut Effects) {
        let Followed { known, notice, version, behind } = followed;
        let Some(online) = &mut self.online else { return };
        let following = &mut online.following;
        following.names = Some(known.names);
        following.acks.base = following.acks.base.max(known.heard);
        following.behind = false;
        let held = std::mem::take(&mut following.held);
        if behind {
            if let Some(notice) = notice {
                following.acks.told(notice.version);
                fx.say(online.link, Outbound::Desired(notice.version, notice.body));
            }
            self.knows_desired(version, fx);
        }
        for (version, patch) in held {
            self.notice(version, patch, fx);
        }
    }

    /// Before a device is shown its whole twin: what it may then have is written down.
    pub(super) fn remember_view(&mut self, link: LinkId, tag: Tag, fx: &mut Effects) -> bool {
        let Some(online) = self.online.as_ref().filter(|_| self.follows()) else { return false };
        let Some(twin) = self.documents.twin.get() else { return false };
        if !self.is_live(online.epoch) {
            self.close(CloseReason::TakenOver, fx);
            return true;
        }
        let generation = online.grant.generation;
        let known = self.documents.known.get().filter(|known| known.generation == generation);
        if known.is_some_and(|known| known.names.cover_section(twin.desired())) {
            return false;
        }
        let mut known = known.cloned().unwrap_or(Known { generation, ..Known::default() });
        known.names.add(twin.desired());
        let change = self.remember(&known);
        self.write(Job::GetTwin { link, tag }, change, After::Remembered(Box::new(known)), fx);
        true
    }

    /// What the device may have is written down: now it is shown its twin.
    pub(super) fn remembered(&mut self, link: LinkId, tag: Tag, known: Known, fx: &mut Effects) {
        if let Some(online) = self.online.as_mut().filter(|online| online.link == link)
            && online.following.names.is_some()
        {
            online.following.names = Some(known.names);
        }
        self.show_twin(link, tag, fx);
    }

    /// The connection cannot be told what it has missed: it is to begin anew.
    pub(super) fn cannot_follow(&mut self, fx: &mut Effects) {
        let stuck = |online: &Online| online.following.behind || !online.following.held.is_empty();
        if self.follows() && self.online.as_ref().is_some_and(stuck) {
            self.close(CloseReason::Internal, fx);
        }
    }

    /// What the end of a connection adds to its change: what the device has for sure.
    pub(super) fn heard_at_end(&self, generation: u64, sure: u64) -> Change {
        let Cached::Known(version, known) = &self.documents.known else { return Change::new() };
        if !self.follows() || known.generation != generation || known.heard >= sure {
            return Change::new();
        }
        let key = Key::known(&self.address);
        let known = Known { heard: sure, ..(**known).clone() };
        Change::new().replace(&DocumentRef::new(key, *version), known.encode())
    }
}

/// What is told once what the device may have is written down.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Followed {
    pub(super) known: Known,
    notice: Option<DesiredNotice>,
    /// The version of the twin that was read.
    version: u64,
    /// It was to be told what it has missed.
    behind: bool,
}
