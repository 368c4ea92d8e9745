//! What peers say to each other about connections, sessions, links and deliveries (§2.7).

use super::DecodeError;
use super::items::{Described, Descriptor, Fields, Items};
use super::value::{Value, read};

/// Which end of a link somebody is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// It sends messages.
    Sender,
    /// It receives messages.
    Receiver,
}

impl Role {
    fn read(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        Ok(if fields.flag()? { Self::Receiver } else { Self::Sender })
    }
}

/// `open`: what a peer says of its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Open<'a> {
    /// The peer's name for itself.
    pub container_id: &'a str,
    /// The host it addresses.
    pub hostname: Option<&'a str>,
    /// The largest frame it takes.
    pub max_frame_size: u32,
    /// The highest channel it takes.
    pub channel_max: u16,
    /// After how many milliseconds of silence it gives up; none is never.
    pub idle_time_out: Option<u32>,
}

/// `begin`: a session begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Begin {
    /// The channel that it answers; none when it begins the session itself.
    pub remote_channel: Option<u16>,
    /// The id of its next transfer.
    pub next_outgoing_id: u32,
    /// How many transfers it takes.
    pub incoming_window: u32,
    /// The highest handle it takes.
    pub handle_max: u32,
}

/// Where a link begins or ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Terminus<'a> {
    /// The address, if it is a text.
    pub address: Option<&'a str>,
    /// Whether the peer asks the hub to make up an address.
    pub dynamic: bool,
    /// The filters of a source.
    pub filter: Items<'a>,
    /// All of it as it was sent.
    pub raw: &'a [u8],
}

/// `attach`: a link begins.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Attach<'a> {
    /// The link's name.
    pub name: &'a str,
    /// The number by which the peer refers to it.
    pub handle: u32,
    /// Which end the peer is.
    pub role: Role,
    /// How the sender settles: 0 unsettled, 1 settled, 2 either.
    pub snd_settle_mode: u8,
    /// How the receiver settles: 0 at once, 1 after the sender.
    pub rcv_settle_mode: u8,
    /// Where messages come from.
    pub source: Option<Terminus<'a>>,
    /// Where messages go.
    pub target: Option<Terminus<'a>>,
    /// The largest message it takes; none is any.
    pub max_message_size: Option<u64>,
    /// Capabilities it would like: an array, a single symbol, or null.
    pub desired_capabilities: Value<'a>,
    /// Properties of the link.
    pub properties: Items<'a>,
}

/// `flow`: how much may be sent, on a session and, with a handle, on a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flow {
    /// The id of the next transfer that the peer expects; none before it has seen a begin.
    pub next_incoming_id: Option<u32>,
    /// How many transfers it takes from there.
    pub incoming_window: u32,
    /// The id of its next transfer.
    pub next_outgoing_id: u32,
    /// The link, if it is about one.
    pub handle: Option<u32>,
    /// How many deliveries the sender has made.
    pub delivery_count: Option<u32>,
    /// How many it may make from there.
    pub link_credit: Option<u32>,
    /// Whether credit that cannot be used at once is to be used up.
    pub drain: bool,
    /// Whether a flow is wanted in answer.
    pub echo: bool,
}

/// `transfer`: a message, or a part of one. The payload follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transfer<'a> {
    /// The link.
    pub handle: u32,
    /// The number of the delivery in its session; in later parts there may be none.
    pub delivery_id: Option<u32>,
    /// The sender's name for the delivery.
    pub delivery_tag: Option<&'a [u8]>,
    /// Whether the sender has forgotten it already.
    pub settled: Option<bool>,
    /// Whether there are more parts.
    pub more: bool,
    /// Whether the delivery is taken back.
    pub aborted: bool,
}

/// What became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State<'a> {
    /// Taken.
    Accepted,
    /// Never to be taken, and why: the condition and a sentence.
    Rejected(Option<(&'a str, Option<&'a str>)>),
    /// Not taken; others may try.
    Released,
    /// Not taken, and changed.
    Modified,
    /// Something else, or nothing.
    Other,
}

/// `disposition`: what became of deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disposition<'a> {
    /// Which end says so.
    pub role: Role,
    /// The first delivery.
    pub first: u32,
    /// The last.
    pub last: u32,
    /// Whether it has forgotten them.
    pub settled: bool,
    /// What became of them.
    pub state: State<'a>,
}

/// `detach`: a link ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Detach<'a> {
    /// The link.
    pub handle: u32,
    /// Whether for ever.
    pub closed: bool,
    /// Why, if something went wrong.
    pub condition: Option<&'a str>,
}

/// `end`: a session ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End<'a> {
    /// Why, if something went wrong.
    pub condition: Option<&'a str>,
}

/// `close`: a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Close<'a> {
    /// Why, if something went wrong.
    pub condition: Option<&'a str>,
}

/// What a frame says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Performative<'a> {
    /// A connection opens.
    Open(Open<'a>),
    /// A session begins.
    Begin(Begin),
    /// A link begins.
    Attach(LazyAttach<'a>),
    /// How much may be sent.
    Flow(Flow),
    /// A message, or a part of one.
    Transfer(Transfer<'a>, &'a [u8]),
    /// What became of deliveries.
    Disposition(Disposition<'a>),
    /// A link ends.
    Detach(Detach<'a>),
    /// A session ends.
    End(End<'a>),
    /// The connection ends.
    Close(Close<'a>),
}

/// An attach whose fields are read when they are wanted: it is several times the size of all
/// others.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LazyAttach<'a>(Described<'a>);

impl<'a> LazyAttach<'a> {
    /// Its fields.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn read(&self) -> Result<Attach<'a>, DecodeError> {
        attach(self.0.fields(0x12)?)
    }
}

/// Reads the body of a frame of AMQP.
///
/// # Errors
/// [`DecodeError`].
pub fn performative<'a>(body: &'a [u8]) -> Result<Performative<'a>, DecodeError> {
    let mut rest = body;
    let Value::Described(described) = read(&mut rest)? else {
        return Err(DecodeError::Performative);
    };
    let Descriptor::Code(code) = described.descriptor else {
        return Err(DecodeError::Performative);
    };
    let fields = described.fields(code);
    Ok(match code {
        0x10 => Performative::Open(open(fields?)?),
        0x11 => Performative::Begin(begin(fields?)?),
        0x12 => Performative::Attach(LazyAttach(described)),
        0x13 => Performative::Flow(flow(fields?)?),
        0x14 => Performative::Transfer(transfer(fields?)?, rest),
        0x15 => Performative::Disposition(disposition(fields?)?),
        0x16 => Performative::Detach(detach(fields?)?),
        0x17 => Performative::End(End { condition: condition(&mut fields?)? }),
        0x18 => Performative::Close(Close { condition: condition(&mut fields?)? }),
        _ => return Err(DecodeError::Performative),
    })
}

fn open(mut fields: Fields<'_>) -> Result<Open<'_>, DecodeError> {
    Ok(Open {
        container_id: fields.text()?.unwrap_or(""),
        hostname: fields.text()?,
        max_frame_size: fields.number()?.unwrap_or(u32::MAX),
        channel_max: fields.number()?.unwrap_or(u16::MAX),
        idle_time_out: fields.number()?,
    })
}

fn begin(mut fields: Fields<'_>) -> Result<Begin, DecodeError> {
    let remote_channel = fields.number()?;
    let next_outgoing_id = fields.number()?.ok_or(DecodeError::Missing)?;
    let incoming_window = fields.number()?.ok_or(DecodeError::Missing)?;
    let _outgoing_window = fields.number::<u32>()?;
    let handle_max = fields.number()?.unwrap_or(u32::MAX);
    Ok(Begin { remote_channel, next_outgoing_id, incoming_window, handle_max })
}

fn attach(mut fields: Fields<'_>) -> Result<Attach<'_>, DecodeError> {
    let name = fields.text()?.ok_or(DecodeError::Missing)?;
    let handle = fields.number()?.ok_or(DecodeError::Missing)?;
    let role = Role::read(&mut fields)?;
    let snd_settle_mode = fields.number()?.unwrap_or(2);
    let rcv_settle_mode = fields.number()?.unwrap_or(0);
    let source = terminus(fields.raw()?, 0x28)?;
    let target = terminus(fields.raw()?, 0x29)?;
    // What a peer remembers of deliveries of an earlier link. The hub resumes no link.
    fields.skip()?;
    fields.skip()?;
    let _initial_delivery_count = fields.number::<u32>()?;
    let max_message_size = fields.number::<u64>()?.filter(|size| *size > 0);
    fields.skip()?;
    let desired_capabilities = fields.value()?;
    let properties = fields.map()?;
    Ok(Attach {
        name,
        handle,
        role,
        snd_settle_mode,
        rcv_settle_mode,
        source,
        target,
        max_message_size,
        desired_capabilities,
        properties,
    })
}

fn terminus(raw: Option<&[u8]>, code: u64) -> Result<Option<Terminus<'_>>, DecodeError> {
    let Some(raw) = raw else { return Ok(None) };
    let Value::Described(described) = read(&mut { raw })? else { return Err(DecodeError::Type) };
    // A coordinator of transactions is a target without an address, and refused as such.
    if described.descriptor != Descriptor::Code(code) {
        let filter = Items::none();
        return Ok(Some(Terminus { address: None, dynamic: false, filter, raw }));
    }
    let mut fields = described.fields(code)?;
    let address = fields.value()?.as_text();
    fields.skip()?;
    fields.skip()?;
    fields.skip()?;
    let dynamic = fields.flag()?;
    fields.skip()?;
    let filter = if code == 0x28 {
        fields.skip()?;
        fields.map()?
    } else {
        Items::none()
    };
    Ok(Some(Terminus { address, dynamic, filter, raw }))
}

fn flow(mut fields: Fields<'_>) -> Result<Flow, DecodeError> {
    let next_incoming_id = fields.number()?;
    let incoming_window = fields.number()?.ok_or(DecodeError::Missing)?;
    let next_outgoing_id = fields.number()?.ok_or(DecodeError::Missing)?;
    let _outgoing_window = fields.number::<u32>()?;
    let handle = fields.number()?;
    let delivery_count = fields.number()?;
    let link_credit = fields.number()?;
    fields.skip()?;
    let drain = fields.flag()?;
    let echo = fields.flag()?;
    Ok(Flow {
        next_incoming_id,
        incoming_window,
        next_outgoing_id,
        handle,
        delivery_count,
        link_credit,
        drain,
        echo,
    })
}

fn transfer(mut fields: Fields<'_>) -> Result<Transfer<'_>, DecodeError> {
    let handle = fields.number()?.ok_or(DecodeError::Missing)?;
    let delivery_id = fields.number()?;
    let delivery_tag = fields.binary()?;
    let _message_format = fields.number::<u32>()?;
    let settled = match fields.value()? {
        Value::Null => None,
        Value::Bool(settled) => Some(settled),
        _ => return Err(DecodeError::Type),
    };
    let more = fields.flag()?;
    fields.skip()?;
    fields.skip()?;
    fields.skip()?;
    let aborted = fields.flag()?;
    Ok(Transfer { handle, delivery_id, delivery_tag, settled, more, aborted })
}

fn disposition(mut fields: Fields<'_>) -> Result<Disposition<'_>, DecodeError> {
    let role = Role::read(&mut fields)?;
    let first = fields.number()?.ok_or(DecodeError::Missing)?;
    let last = fields.number()?.unwrap_or(first);
    let settled = fields.flag()?;
    let state = state(fields.value()?)?;
    Ok(Disposition { role, first, last, settled, state })
}

fn state(value: Value<'_>) -> Result<State<'_>, DecodeError> {
    let Value::Described(described) = value else { return Ok(State::Other) };
    Ok(match described.descriptor {
        Descriptor::Code(0x24) => State::Accepted,
        Descriptor::Code(0x25) => State::Rejected(error(described.fields(0x25)?.value()?)?),
        Descriptor::Code(0x26) => State::Released,
        Descriptor::Code(0x27) => State::Modified,
        _ => State::Other,
    })
}

fn error(value: Value<'_>) -> Result<Option<(&str, Option<&str>)>, DecodeError> {
    let Value::Described(described) = value else { return Ok(None) };
    let mut fields = described.fields(0x1d)?;
    let condition = fields.text()?.unwrap_or("");
    Ok(Some((condition, fields.text()?)))
}

fn condition<'a>(fields: &mut Fields<'a>) -> Result<Option<&'a str>, DecodeError> {
    Ok(error(fields.value()?)?.map(|(condition, _)| condition))
}

fn detach(mut fields: Fields<'_>) -> Result<Detach<'_>, DecodeError> {
    let handle = fields.number()?.ok_or(DecodeError::Missing)?;
    let closed = fields.flag()?;
    Ok(Detach { handle, closed, condition: condition(&mut fields)? })
}
