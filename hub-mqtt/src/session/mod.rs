//! One device's connection as a machine: packets and the hub's frames in, bytes and frames for the
//! hub out. It reads no clock and touches no socket.
//!
//! | a device publishes | the hub gets | PUBACK (QoS 1), in the order of the publishes |
//! |---|---|---|
//! | telemetry | the messages of one read as one `Telemetry` | when they are durable |
//! | a patch of reported properties | `Report` | when the patch is durable or refused |
//! | a request for its twin | `GetTwin`, if it subscribed to answers | at once: nothing is to be kept |
//! | an answer to a direct method | `Reply`, if the call is known | at once |
//!
//! A notice of desired properties of QoS 1 that it acknowledges is told to the hub as `Heard`.
//!
//! A device that never subscribed to twin responses gets none: the Python SDK asks for the twin in
//! that state, and would take an answer for a change of desired properties.
//!
//! Publishes to the device have the QoS of its subscription, at most 1. A cloud-to-device message
//! of QoS 1 is completed by its PUBACK, one of QoS 0 when its bytes were written.

mod acks;
mod down;
mod end;
mod flight;
mod turn;
mod up;

use std::time::Duration;

use hub_core::envelope::Stamp;
use hub_core::frame::{LockToken, Outbound, Subscriptions};
use hub_core::hello::{SessionMode, Welcome};
use hub_core::id::Tag;
use hub_core::limits::Limits;
use hub_core::time::Timestamp;

pub use self::end::End;
pub use self::turn::Turn;

use self::acks::Acks;
use self::flight::Flight;
use crate::codec::{ConnectCode, Packet, PacketId, connack};
use crate::connect::{Introduction, LastWill};
use crate::topics::Topics;

/// What can happen to a session.
#[derive(Debug)]
pub enum Input<'a> {
    /// The device sent a packet.
    Packet(Packet<'a>),
    /// No more packets can be read for now: what has gathered is for the hub.
    ReadEnd,
    /// The hub says something.
    Hub(Outbound),
    /// Every byte asked to be written so far was taken by the operating system.
    Written,
    /// Time has passed.
    Tick,
    /// The driver ends the session: the connection is lost, or cannot go on.
    Over(End),
}

/// What every step needs to know.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The time. One that is earlier than the last is read as the last.
    pub now: Timestamp,
    /// What is stamped on telemetry of this connection.
    pub stamp: &'a Stamp,
    /// The hub's bounds.
    pub limits: &'a Limits,
}

/// What an answer of the hub leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Asked {
    /// An answer to a twin request, by this id; without one there is none.
    Twin(Option<Box<str>>),
    /// A SUBACK with these codes.
    Subscribe(PacketId, Box<[u8]>),
    /// An UNSUBACK.
    Unsubscribe(PacketId),
}

/// The connection of one device, from its CONNACK on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    topics: Topics,
    link: u64,
    subscriptions: Subscriptions,
    silence_max: Duration,
    heard: Timestamp,
    next_tag: u64,
    /// The tag of the telemetry that gathers, if any does.
    gathering: Option<Tag>,
    acks: Acks,
    asked: Vec<(Tag, Asked)>,
    flight: Flight,
    /// Messages of QoS 0 that are to be written.
    unwritten: Vec<LockToken>,
    will: Option<Box<LastWill>>,
    over: bool,
}

impl Session {
    /// A session that was granted. Writes its CONNACK.
    ///
    /// Silence is bounded by one and a half times the keep-alive the client announced, and by
    /// [`Limits::silence_max`], which also counts for clients that announced none.
    pub fn begin(
        introduction: Introduction,
        welcome: &Welcome,
        limits: &Limits,
        now: Timestamp,
        turn: &mut Turn,
    ) -> Self {
        let resumed = introduction.hello.session == SessionMode::Persistent;
        connack(&mut turn.wire, welcome.session_present && resumed, ConnectCode::Accepted);
        let asked = introduction.keep_alive.map(|k| k.saturating_add(k / 2));
        Self {
            topics: Topics::new(&introduction.hello.address),
            link: welcome.link.0,
            subscriptions: if resumed { welcome.subscriptions } else { Subscriptions::NONE },
            silence_max: asked.map_or(limits.silence_max, |asked| asked.min(limits.silence_max)),
            heard: now,
            next_tag: 0,
            gathering: None,
            acks: Acks::default(),
            asked: Vec::new(),
            flight: Flight::default(),
            unwritten: Vec::new(),
            will: introduction.will,
            over: false,
        }
    }

    /// The one way in. After the end nothing has an effect.
    pub fn handle(&mut self, context: Context<'_>, input: Input<'_>, turn: &mut Turn) {
        if self.over {
            return;
        }
        let end = match input {
            Input::Packet(packet) => {
                self.heard(context.now);
                self.packet(context, packet, turn)
            }
            Input::ReadEnd => {
                self.end_batch(turn);
                Ok(())
            }
            Input::Hub(outbound) => self.outbound(context, outbound, turn),
            Input::Written => {
                self.written(turn);
                Ok(())
            }
            Input::Tick if context.now >= self.deadline() => Err(End::Silent),
            Input::Tick => Ok(()),
            Input::Over(end) => Err(end),
        };
        if let Err(end) = end {
            self.finish(context, end, turn);
        }
    }

    /// When the device has been silent for too long.
    #[must_use]
    pub fn deadline(&self) -> Timestamp {
        self.heard.after(self.silence_max)
    }

    /// The device was heard, though it did not finish a packet; or it could not be heard, because
    /// the hub did not read.
    pub fn heard(&mut self, now: Timestamp) {
        self.heard = self.heard.max(now);
    }

    /// Whether no more packets should be read, because too many answers are outstanding.
    #[must_use]
    pub fn is_full(&self, limits: &Limits) -> bool {
        self.asked.len() >= limits.link_window || self.acks.len() >= usize::from(u16::MAX)
    }

    /// What it is subscribed to.
    #[must_use]
    pub fn subscriptions(&self) -> Subscriptions {
        self.subscriptions
    }

    fn tag(&mut self) -> Tag {
        self.next_tag = self.next_tag.wrapping_add(1);
        Tag(self.next_tag)
    }

    fn finish(&mut self, context: Context<'_>, end: End, turn: &mut Turn) {
        // What came before the end is still the device's word.
        self.end_batch(turn);
        let will = self.will.take().filter(|_| end.publishes_will());
        if let Some(will) = will {
            self.publish_will(context, &will, turn);
        }
        self.over = true;
        turn.end = Some(end);
    }
}

#[cfg(test)]
mod tests;
