//! How much may be sent, both ways.

use super::link::LinkKey;
use super::session::{OUTGOING_WINDOW, Session, no_session};
use super::{Endpoint, Happening, Turn};
use crate::codec::{self, Flow, Role};
use crate::problem::AmqpError;

/// What is left of a limit when `sent` of it are under way. More under way than half the numbers
/// there are is a peer that counts backwards; it gets what it asks for.
fn left(limit: u32, sent: u32) -> u32 {
    if sent > u32::MAX / 2 { limit } else { limit.saturating_sub(sent) }
}

impl Endpoint {
    pub(super) fn flow(
        &mut self,
        channel: u16,
        flow: &Flow,
        turn: &mut Turn,
    ) -> Result<(), AmqpError> {
        let session = self.sessions.get_mut(&channel).ok_or_else(no_session)?;
        if session.ended {
            return Ok(());
        }
        let under_way =
            session.next_outgoing_id.wrapping_sub(flow.next_incoming_id.unwrap_or_default());
        let was_shut = session.outgoing_left == 0;
        session.outgoing_left = left(flow.incoming_window, under_way);
        let opened = was_shut && session.outgoing_left > 0;
        // Someone else's transfers may have been waiting for the window.
        let waiting: Vec<LinkKey> =
            if opened { session.handles.values().copied().collect() } else { Vec::new() };
        let named = match flow.handle {
            None => None,
            Some(handle) => match session.handles.get(&handle) {
                Some(key) => Some(*key),
                None => {
                    self.unattached(channel, turn);
                    return Ok(());
                }
            },
        };
        if let Some(key) = named {
            self.link_flow(key, flow, turn);
        }
        for key in waiting {
            self.resume(key, turn);
            if Some(key) != named
                && self.links.get(&key).is_some_and(|link| link.peer == Role::Receiver)
            {
                turn.happened.push(Happening::Sendable(key));
            }
        }
        if flow.echo {
            self.write_flow(channel, named, false, turn);
        }
        Ok(())
    }

    fn link_flow(&mut self, key: LinkKey, flow: &Flow, turn: &mut Turn) {
        let Some(link) = self.links.get_mut(&key) else { return };
        // Credit on a link on which the peer sends is its own business; some clients send it.
        if link.peer == Role::Sender || link.is_ended() {
            return;
        }
        if let Some(credit) = flow.link_credit {
            let made = link.delivery_count.wrapping_sub(flow.delivery_count.unwrap_or_default());
            link.credit = left(credit, made);
        }
        link.draining = flow.drain;
        if link.credit > 0 || link.draining {
            turn.happened.push(Happening::Sendable(key));
        }
    }

    /// Uses up the credit of a link whose peer asked for that, and says so.
    pub fn drain(&mut self, key: LinkKey, turn: &mut Turn) {
        let Some(link) = self.links.get_mut(&key) else { return };
        if !link.is_live() || !link.draining || link.rest.is_some() {
            return;
        }
        link.draining = false;
        link.delivery_count = link.delivery_count.wrapping_add(link.credit);
        link.credit = 0;
        let channel = link.channel;
        self.write_flow(channel, Some(key), true, turn);
    }

    /// Whether the peer wants the link's credit used up.
    #[must_use]
    pub fn is_draining(&self, key: LinkKey) -> bool {
        self.links.get(&key).is_some_and(|link| link.is_live() && link.draining)
    }

    /// Lets the peer send so many messages on a link from now on.
    pub fn grant(&mut self, key: LinkKey, credit: u32, turn: &mut Turn) {
        let Some(link) = self.links.get_mut(&key).filter(|link| link.is_live()) else { return };
        if link.peer == Role::Receiver || link.credit == credit {
            return;
        }
        link.credit = credit;
        let channel = link.channel;
        self.write_flow(channel, Some(key), false, turn);
    }

    /// How many messages may still be sent on a link: by the hub, or by the peer.
    #[must_use]
    pub fn credit(&self, key: LinkKey) -> u32 {
        self.links.get(&key).filter(|link| link.is_live()).map_or(0, |link| link.credit)
    }

    pub(super) fn write_flow(
        &mut self,
        channel: u16,
        link: Option<LinkKey>,
        drain: bool,
        turn: &mut Turn,
    ) {
        let window = self.limits.incoming_window;
        let Some(session) = self.sessions.get_mut(&channel) else { return };
        session.incoming_left = window;
        let link = link.and_then(|key| self.links.get(&key)).filter(|link| link.is_live());
        let link = link.map(|link| (link.handle, link.delivery_count, link.credit));
        let incoming = (session.next_incoming_id, window);
        let outgoing = (session.next_outgoing_id, OUTGOING_WINDOW);
        codec::flow(&mut turn.wire, channel, incoming, outgoing, link, drain);
    }

    /// Opens the window of a session again when half of it is used up.
    pub(super) fn widen(&mut self, channel: u16, turn: &mut Turn) {
        let half = self.limits.incoming_window / 2;
        let narrow = |session: &Session| session.incoming_left <= half;
        if self.sessions.get(&channel).is_some_and(narrow) {
            self.write_flow(channel, None, false, turn);
        }
    }
}
