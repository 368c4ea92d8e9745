//! Where letters and history are kept: a message that ends unreceived lies among the dead letters by the
//! change that ends it, once and whole; and each write of a twin is in its history by that change.

use std::collections::BTreeSet;

use hub_core::delivery::DeadLetter;
use hub_core::device::Request;
use hub_core::frame::{Disposition, Inbound, LockToken};
use hub_core::id::SequenceNumber;
use hub_core::store::{Item, ItemRef, Kind, QueueId, QueueKind, Version};
use hub_core::twin::{Twin, TwinVersion, twin_at_version};

use super::{Invariant, ensure};
use crate::fact::{Fact, Moment, Shadowed, Step, Wish};

#[derive(Default)]
pub(crate) struct Kept {
    /// Claims that somebody wanted to complete.
    completed: BTreeSet<(SequenceNumber, Version)>,
}

impl Kept {
    fn wants(&mut self, token: LockToken, disposition: Disposition) {
        if disposition == Disposition::Complete {
            self.completed.insert((token.sequence, token.version));
        }
    }

    fn letters(&self, steps: &[Step]) -> Result<(), String> {
        let mut letters: Vec<DeadLetter> = pushed(steps, QueueKind::DeadLetter)
            .map(|item| DeadLetter::from_item(&item).ok_or_else(|| format!("no letter: {item:?}")))
            .collect::<Result<_, _>>()?;
        for step in steps {
            let Step::Settled { item, was: Some(was) } = step else { continue };
            if item.queue().kind != QueueKind::Mailbox {
                continue;
            }
            let of = |letter: &DeadLetter| {
                letter.sequence == item.sequence() && letter.of.as_str() == &*item.queue().id
            };
            match letters.iter().position(of) {
                Some(index) => {
                    let letter = letters.remove(index);
                    let whole =
                        letter.message.encode() == was.body && letter.expiry == was.deadline;
                    ensure(whole, || format!("{letter:?} is not {was:?}"))?;
                }
                None => {
                    let completed = self.completed.contains(&(item.sequence(), was.version));
                    ensure(completed, || format!("{item:?} has no letter"))?;
                }
            }
        }
        ensure(letters.is_empty(), || format!("of what are {letters:?}?"))
    }

    fn history(steps: &[Step]) -> Result<(), String> {
        for step in steps {
            let Step::Wrote { key, was: Some((_, was)), body, .. } = step else { continue };
            if key.kind != Kind::Twin {
                continue;
            }
            let twin = |body: &[u8]| Twin::decode(body).map_err(|error| error.to_string());
            let (was, is) = (twin(was)?, twin(body)?);
            let versions: Vec<TwinVersion> = pushed(steps, QueueKind::TwinHistory)
                .filter(|item| item.at.queue().id == key.id)
                .filter_map(|item| TwinVersion::decode(&item.body).ok())
                .collect();
            let [version] = &versions[..] else { return Err(format!("{key:?}: {versions:?}")) };
            let back = twin_at_version(is, std::slice::from_ref(version), was.version());
            ensure(back.as_ref() == Some(&was), || {
                format!("{version:?} does not lead to {was:?}")
            })?;
        }
        Ok(())
    }
}

/// What a change pushes to queues of a kind.
fn pushed(steps: &[Step], kind: QueueKind) -> impl Iterator<Item = Item> {
    steps.iter().filter_map(move |step| match step {
        Step::Pushed { queue, sequence, item, .. } if queue.kind == kind => {
            Some(as_item(queue, *sequence, item))
        }
        _ => None,
    })
}

fn as_item(queue: &QueueId, sequence: u64, item: &Shadowed) -> Item {
    Item {
        at: ItemRef::new(queue.clone(), SequenceNumber(sequence), item.version),
        visible: item.visible,
        deadline: item.deadline,
        claims: 0,
        marks: item.marks,
        body: item.body.clone(),
    }
}

impl Invariant for Kept {
    fn name(&self) -> &'static str {
        "what dies and what is written over is kept by the change that does it"
    }

    fn see(&mut self, moment: &Moment<'_>, fact: &Fact) -> Result<(), String> {
        match fact {
            Fact::Frame { inbound: Inbound::Settle(_, token, disposition), .. }
            | Fact::Asked { wish: Wish::Request(Request::Settle(token, disposition)), .. } => {
                self.wants(*token, *disposition);
            }
            Fact::Committed { steps, .. } => {
                if moment.limits.dead_letters_max > 0 {
                    self.letters(steps)?;
                }
                if moment.limits.twin_history_max > 0 {
                    Self::history(steps)?;
                }
            }
            _ => {}
        }
        Ok(())
    }
}
