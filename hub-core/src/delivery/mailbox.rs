//! What is out for delivery to one identity, and when to fetch more.

use std::collections::{BTreeMap, BTreeSet};

use super::MessageOutcome;
use super::feedback::FeedbackSeed;
use super::letter::LetterSeed;
use super::policy::{Verdict, delivery_count};
use crate::envelope::{Ack, Stored, SystemProperty};
use crate::frame::{Delivery, LockToken};
use crate::id::SequenceNumber;
use crate::limits::Limits;
use crate::store::{Item, ItemRef, Version};
use crate::time::Timestamp;

/// A message that somebody holds the latest claim of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offered {
    /// The claim.
    pub at: ItemRef,
    /// When its lock ends.
    pub until: Timestamp,
    /// How often it was given back.
    pub delivery_count: u8,
    /// What its sender wants to know.
    pub(crate) feedback: Option<Box<FeedbackSeed>>,
    /// What is kept of it when it is dead; nothing where no letters are kept.
    pub(crate) letter: Option<Box<LetterSeed>>,
}

impl Offered {
    /// The claim on an item as a store has it. `None` if the item is no message.
    #[must_use]
    pub fn from_item(item: &Item, limits: &Limits) -> Option<(Self, Stored)> {
        let message = Stored::decode(item.body.clone())?;
        let feedback = (message.ack != Ack::None).then(|| {
            Box::new(FeedbackSeed {
                ack: message.ack,
                message_id: message
                    .properties
                    .system(SystemProperty::MessageId)
                    .unwrap_or_default()
                    .to_owned(),
                generation: message.generation,
            })
        });
        let letter = (limits.dead_letters_max > 0)
            .then(|| Box::new(LetterSeed { expiry: item.deadline, body: item.body.clone() }));
        let offered = Self {
            at: item.at.clone(),
            until: item.visible,
            delivery_count: delivery_count(item.marks, item.claims, limits),
            feedback,
            letter,
        };
        Some((offered, message))
    }

    /// What proves its receipt.
    #[must_use]
    pub fn token(&self) -> LockToken {
        LockToken { sequence: self.at.sequence(), version: self.at.version(), until: self.until }
    }
}

/// A claimed item, judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// The claim.
    pub offered: Offered,
    /// The message.
    pub delivery: Delivery,
    /// What is to become of it.
    pub verdict: Verdict,
}

/// Judges a claimed item. `None` if it is no message; such an item expires in its queue.
#[must_use]
pub(crate) fn judge(item: &Item, now: Timestamp, limits: &Limits) -> Option<Claimed> {
    let (offered, message) = Offered::from_item(item, limits)?;
    let verdict = if item.deadline <= now {
        Verdict::Dead(MessageOutcome::Expired)
    } else if offered.delivery_count >= limits.c2d_delivery_count_max {
        Verdict::Dead(MessageOutcome::DeliveryCountExceeded)
    } else {
        Verdict::Offer
    };
    let delivery = Delivery {
        token: offered.token(),
        message,
        expiry: item.deadline,
        delivery_count: offered.delivery_count,
        redelivered: item.claims > 1,
    };
    Some(Claimed { offered, delivery, verdict })
}

/// The deliveries of one link, and whether the queue may hold more.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mailbox {
    out: BTreeMap<SequenceNumber, Offered>,
    claiming: bool,
    maybe_more: bool,
    /// When something of the queue becomes visible without a sign.
    looks: BTreeSet<Timestamp>,
    /// When to look for what nobody here knows of.
    poll: Option<Timestamp>,
}

/// Most times that a mailbox remembers to look again. Later ones give way: what they would have
/// found is found by [`Limits::c2d_poll_every`].
const LOOKS_MAX: usize = 64;

impl Mailbox {
    /// Something may have been added to the queue, or made visible.
    pub fn stir(&mut self) {
        self.maybe_more = true;
    }

    /// How many items to claim now for a link with this window; zero is none. A claim that is asked
    /// for must be answered by [`Mailbox::claimed`] or [`Mailbox::claim_failed`].
    pub fn wants(&mut self, window: u32) -> u32 {
        let out = u32::try_from(self.out.len()).unwrap_or(u32::MAX);
        let free = window.saturating_sub(out);
        if self.claiming || !self.maybe_more || free == 0 {
            return 0;
        }
        self.claiming = true;
        self.maybe_more = false;
        free
    }

    /// A claim could not be made; it may be asked for again at `retry`.
    pub fn claim_failed(&mut self, retry: Timestamp) {
        self.claiming = false;
        self.look_at(retry);
    }

    /// What a claim of at most `limit` brought. Everything is judged; what is to be offered counts
    /// against the window until it is settled, its lock ends, or the link goes.
    pub fn claimed(
        &mut self,
        items: &[Item],
        limit: u32,
        now: Timestamp,
        limits: &Limits,
    ) -> Vec<Claimed> {
        self.claiming = false;
        if u32::try_from(items.len()).is_ok_and(|n| n >= limit) {
            // A full answer may have left some behind.
            self.maybe_more = true;
        } else {
            // Others may hold some under a lock that ends without a sign.
            self.poll = Some(now.after(limits.c2d_poll_every));
        }
        let judged: Vec<_> = items.iter().filter_map(|item| judge(item, now, limits)).collect();
        for claimed in judged.iter().filter(|claimed| claimed.verdict == Verdict::Offer) {
            self.out.insert(claimed.offered.at.sequence(), claimed.offered.clone());
        }
        judged
    }

    /// The held claim that a token names, if it is still the latest and its lock has not ended.
    #[must_use]
    pub fn held(&self, token: &LockToken, now: Timestamp) -> Option<&Offered> {
        self.out
            .get(&token.sequence)
            .filter(|offered| offered.at.version() == token.version && now < offered.until)
    }

    /// This claim of a message has ended: its place in the window is free. That of a later claim
    /// of the same message is not.
    pub fn forget(&mut self, sequence: SequenceNumber, claim: Version) {
        if self.out.get(&sequence).is_some_and(|offered| offered.at.version() == claim) {
            self.gone(sequence);
        }
    }

    /// A message is gone, whoever held it.
    pub fn gone(&mut self, sequence: SequenceNumber) {
        if self.out.remove(&sequence).is_some() {
            self.maybe_more = true;
        }
    }

    /// The link is gone: what it held, to be made visible again.
    pub fn released(&mut self) -> Vec<Offered> {
        self.maybe_more = true;
        std::mem::take(&mut self.out).into_values().collect()
    }

    /// Something of the queue becomes visible then.
    pub fn look_at(&mut self, at: Timestamp) {
        self.looks.insert(at);
        if self.looks.len() > LOOKS_MAX {
            self.looks.pop_last();
        }
    }

    /// Time has passed: locks that ended free their place, and their messages are visible again.
    pub fn tick(&mut self, now: Timestamp) {
        let before = self.out.len();
        self.out.retain(|_, offered| now < offered.until);
        let due = self.looks.first().copied().into_iter().chain(self.poll).any(|at| at <= now);
        self.looks.retain(|at| *at > now);
        self.poll = self.poll.filter(|at| *at > now);
        if self.out.len() < before || due {
            self.maybe_more = true;
        }
    }

    /// When to call [`Mailbox::tick`] if nothing else happens.
    #[must_use]
    pub fn deadline(&self) -> Option<Timestamp> {
        let ends = self.out.values().map(|offered| offered.until).min();
        ends.into_iter().chain(self.looks.first().copied()).chain(self.poll).min()
    }

    /// Whether nothing is out and no claim is on its way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.out.is_empty() && !self.claiming
    }

    /// How many messages are out.
    #[must_use]
    pub fn out(&self) -> usize {
        self.out.len()
    }
}
