//! One connection of AMQP as a machine: protocol headers, the security layer, sessions, links,
//! windows, credit, and messages in parts.
//!
//! It takes bytes and orders, writes bytes, and says what has happened. It knows nothing of what
//! links are for, reads no clock and touches no socket.
//!
//! The hub answers a session on the channel that the peer chose and a link with the handle that
//! the peer chose, so one number names both directions.
//!
//! | phase | what the peer may send |
//! |---|---|
//! | `Header` | a protocol header: SASL once, or AMQP |
//! | `Sasl` | `sasl-init` |
//! | `Deciding` | nothing: the hub decides |
//! | `Open` | `open` |
//! | `Live` | everything but these |
//! | `Closing` | anything: it is dropped, until `close` |
//!
//! What may not be sent closes the connection; a mistake about a session ends the session, one
//! about a link the link.

mod deliver;
mod flow;
mod link;
mod receive;
mod session;
mod words;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use self::link::Link;
pub use self::link::LinkKey;
#[cfg(test)]
pub(crate) use self::link::link_key;
use self::session::Session;
pub use self::words::{Disposed, Happening, Over, SaslChoice, Taken, Turn};
use crate::codec::{
    self, Attach, Decoded, FrameBody, Mechanism, Open, Outcome, PROTOCOL_HEADER_BYTES,
    Performative, Plain, Role,
};
use crate::limits::AmqpLimits;
use crate::problem::{AmqpError, condition};

/// Where a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Header { secured: bool },
    Sasl,
    Deciding,
    Open,
    Live,
    Closing,
    Over,
}

/// A connection.
#[derive(Debug)]
pub struct Endpoint {
    limits: Arc<AmqpLimits>,
    container: Arc<str>,
    phase: Phase,
    sessions: BTreeMap<u16, Session>,
    links: HashMap<LinkKey, Link>,
    last_key: u64,
    /// The largest frame that may be sent.
    frame_max: usize,
    /// How long the peer bears silence.
    patience: Option<Duration>,
    /// Bytes of messages of which more is to come.
    partial_bytes: usize,
}

const AMQP_HEADER: [u8; PROTOCOL_HEADER_BYTES] = *b"AMQP\x00\x01\x00\x00";
const SASL_HEADER: [u8; PROTOCOL_HEADER_BYTES] = *b"AMQP\x03\x01\x00\x00";

/// The smallest limit on frames that a peer may set (§2.7.1).
const FRAME_MAX_LEAST: u32 = 512;

/// Largest frame before the connection is open. A token is the largest thing in one.
const SASL_FRAME_MAX: usize = 8 * 1024;

impl Endpoint {
    /// A connection of which nothing is known. `container` is the hub's name for itself.
    #[must_use]
    pub fn new(limits: Arc<AmqpLimits>, container: Arc<str>) -> Self {
        Self {
            limits,
            container,
            phase: Phase::Header { secured: false },
            sessions: BTreeMap::new(),
            links: HashMap::new(),
            last_key: 0,
            frame_max: 0,
            patience: None,
            partial_bytes: 0,
        }
    }

    /// Takes a protocol header or one frame off the front of `bytes`.
    pub fn take(&mut self, bytes: &[u8], turn: &mut Turn) -> Taken {
        match self.phase {
            Phase::Deciding | Phase::Over => return Taken::Nothing,
            Phase::Header { secured } => {
                let Some(header) = bytes.first_chunk::<PROTOCOL_HEADER_BYTES>() else {
                    return Taken::Needs(PROTOCOL_HEADER_BYTES);
                };
                self.header(*header, secured, turn);
                return Taken::Bytes(PROTOCOL_HEADER_BYTES);
            }
            Phase::Sasl | Phase::Open | Phase::Live | Phase::Closing => {}
        }
        let limit = match self.phase {
            Phase::Sasl => SASL_FRAME_MAX,
            _ => usize::try_from(self.limits.frame_bytes_max).unwrap_or(usize::MAX),
        };
        let frame = match codec::decode(bytes, limit) {
            Ok(Decoded::Incomplete(needs)) => return Taken::Needs(needs),
            Ok(Decoded::Frame(frame)) => frame,
            Err(error) => {
                self.violation(error.into(), turn);
                return Taken::Nothing;
            }
        };
        let done = match (self.phase, frame.body) {
            (Phase::Sasl, FrameBody::Sasl(body)) => self.sasl(body, turn),
            (Phase::Sasl, _) | (_, FrameBody::Sasl(_)) => {
                Err(AmqpError::new(condition::FRAMING, "a frame of another layer"))
            }
            // A sign of life.
            (_, FrameBody::Amqp(_, [])) => Ok(()),
            (_, FrameBody::Amqp(channel, body)) => self.frame(channel, body, turn),
        };
        if let Err(error) = done {
            self.violation(error, turn);
        }
        Taken::Bytes(frame.length)
    }

    fn header(&mut self, header: [u8; PROTOCOL_HEADER_BYTES], secured: bool, turn: &mut Turn) {
        if header == AMQP_HEADER {
            turn.wire.extend_from_slice(&AMQP_HEADER);
            self.phase = Phase::Open;
        } else if header == SASL_HEADER && !secured {
            turn.wire.extend_from_slice(&SASL_HEADER);
            codec::sasl_mechanisms(&mut turn.wire);
            self.phase = Phase::Sasl;
        } else {
            // What the hub speaks, and no more (§2.2).
            turn.wire.extend_from_slice(if secured { &AMQP_HEADER } else { &SASL_HEADER });
            self.over(Over::Refused, turn);
        }
    }

    fn sasl(&mut self, body: &[u8], turn: &mut Turn) -> Result<(), AmqpError> {
        let init = codec::sasl_init(body)?;
        let choice = match init.mechanism {
            Some(Mechanism::Cbs | Mechanism::Anonymous | Mechanism::External) => {
                Some(SaslChoice::Open)
            }
            Some(Mechanism::Plain) => Plain::parse(init.response).map(|plain| SaslChoice::Plain {
                name: plain.name.to_owned(),
                token: plain.password.to_owned(),
            }),
            None => None,
        };
        self.phase = Phase::Deciding;
        match choice {
            Some(SaslChoice::Open) => self.sasl_decided(true, turn),
            Some(choice) => turn.happened.push(Happening::Sasl(choice)),
            None => self.sasl_decided(false, turn),
        }
        Ok(())
    }

    /// The hub has decided whether the peer passes the security layer.
    pub fn sasl_decided(&mut self, admitted: bool, turn: &mut Turn) {
        if self.phase != Phase::Deciding {
            return;
        }
        codec::sasl_outcome(&mut turn.wire, admitted);
        if admitted {
            self.phase = Phase::Header { secured: true };
        } else {
            self.over(Over::Refused, turn);
        }
    }

    fn frame(&mut self, channel: u16, body: &[u8], turn: &mut Turn) -> Result<(), AmqpError> {
        let performative = codec::performative(body)?;
        match (self.phase, performative) {
            (Phase::Open, Performative::Open(open)) => {
                self.open(&open, turn);
                Ok(())
            }
            (Phase::Live, Performative::Close(_)) => {
                codec::close(&mut turn.wire, None);
                self.over(Over::Goodbye, turn);
                Ok(())
            }
            (Phase::Closing, Performative::Close(_)) => {
                self.over(Over::Answered, turn);
                Ok(())
            }
            (Phase::Closing, _) => Ok(()),
            (Phase::Live, performative) => self.live(channel, performative, body, turn),
            _ => Err(AmqpError::new(condition::ILLEGAL_STATE, "the connection is not open")),
        }
    }

    fn open(&mut self, open: &Open<'_>, turn: &mut Turn) {
        let ours = self.limits.frame_bytes_max.max(FRAME_MAX_LEAST);
        let frame_max = open.max_frame_size.clamp(FRAME_MAX_LEAST, ours);
        self.frame_max = usize::try_from(frame_max).unwrap_or(usize::MAX);
        self.patience = open
            .idle_time_out
            .filter(|millis| *millis > 0)
            .map(|millis| Duration::from_millis(millis.into()));
        self.phase = Phase::Live;
        let idle = u32::try_from(self.limits.idle_timeout.as_millis()).unwrap_or(u32::MAX);
        codec::open(
            &mut turn.wire,
            &self.container,
            self.limits.frame_bytes_max,
            self.limits.channel_max,
            idle,
        );
    }

    fn live(
        &mut self,
        channel: u16,
        performative: Performative<'_>,
        body: &[u8],
        turn: &mut Turn,
    ) -> Result<(), AmqpError> {
        match performative {
            Performative::Open(_) => {
                Err(AmqpError::new(condition::ILLEGAL_STATE, "the connection is open already"))
            }
            Performative::Begin(begin) => self.begin(channel, &begin, turn),
            Performative::End(_) => self.ended(channel, turn),
            Performative::Attach(attach) => self.attach(channel, &attach, body, turn),
            Performative::Detach(detach) => self.detached(channel, &detach, turn),
            Performative::Flow(flow) => self.flow(channel, &flow, turn),
            Performative::Transfer(transfer, payload) => {
                self.transfer(channel, &transfer, payload, turn)
            }
            Performative::Disposition(disposition) => self.disposition(channel, &disposition, turn),
            Performative::Close(_) => Ok(()),
        }
    }

    /// Whether the peer has opened the connection and nobody has closed it.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.phase == Phase::Live
    }

    /// Whether the hub has closed the connection, and waits for the peer's answer.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.phase == Phase::Closing
    }

    /// How often something must be sent so that the peer does not give up; none if it never does.
    #[must_use]
    pub fn patience(&self) -> Option<Duration> {
        self.patience
    }

    /// Writes a sign of life.
    pub fn heartbeat(&mut self, turn: &mut Turn) {
        if self.is_live() {
            codec::empty_frame(&mut turn.wire);
        }
    }

    /// How many links there are.
    #[must_use]
    pub fn links(&self) -> usize {
        self.links.len()
    }

    /// What the peer asked for when it asked for this link; until that is decided.
    #[must_use]
    pub fn asked(&self, link: LinkKey) -> Option<Attach<'_>> {
        self.links.get(&link)?.asked()
    }

    /// Closes the connection from the hub's side.
    pub fn close(&mut self, why: Option<&AmqpError>, turn: &mut Turn) {
        match self.phase {
            Phase::Live => {
                codec::close(&mut turn.wire, why);
                self.phase = Phase::Closing;
            }
            Phase::Closing | Phase::Over => {}
            _ => self.over(Over::Refused, turn),
        }
    }

    fn violation(&mut self, why: AmqpError, turn: &mut Turn) {
        match self.phase {
            Phase::Live | Phase::Closing => codec::close(&mut turn.wire, Some(&why)),
            // A peer that waits for an open gets one, or it could not read the close.
            Phase::Open => {
                codec::open(&mut turn.wire, &self.container, FRAME_MAX_LEAST, 0, 0);
                codec::close(&mut turn.wire, Some(&why));
            }
            _ => {}
        }
        tracing::debug!(condition = why.condition, reason = %why.description, "amqp violation");
        self.over(Over::Violation, turn);
    }

    fn over(&mut self, how: Over, turn: &mut Turn) {
        if self.phase != Phase::Over {
            self.phase = Phase::Over;
            turn.happened.push(Happening::Over(how));
        }
    }

    /// Settles messages that the peer has sent on a link, by their first and last number.
    pub fn settle(
        &mut self,
        link: LinkKey,
        deliveries: (u32, u32),
        outcome: Outcome<'_>,
        turn: &mut Turn,
    ) {
        if let Some(link) = self.links.get(&link).filter(|link| link.is_live())
            && self.phase == Phase::Live
        {
            codec::disposition(&mut turn.wire, link.channel, Role::Receiver, deliveries, outcome);
        }
    }

    /// Settles a message that the peer was sent and has said what became of.
    pub fn settle_sent(
        &mut self,
        link: LinkKey,
        delivery: u32,
        outcome: Outcome<'_>,
        turn: &mut Turn,
    ) {
        if let Some(link) = self.links.get(&link).filter(|link| link.is_live())
            && self.phase == Phase::Live
        {
            let deliveries = (delivery, delivery);
            codec::disposition(&mut turn.wire, link.channel, Role::Sender, deliveries, outcome);
        }
    }
}

#[cfg(test)]
mod tests;
