//! A back end's side of reading the log, over AMQP 1.0 and as a stream of HTTP: as much of both as a
//! run needs, and no more, so that most of what it costs is the server's.

use std::io;
use std::net::SocketAddr;

use bytes::{Buf, BytesMut};
use hub_amqp::codec::{self, Decoded, FrameBody, Performative, Write as _};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::HOST;

/// Largest frame that is read.
const FRAME_MAX: usize = 1 << 20;
/// Transfers that may be on their way to this end, over all links.
const WINDOW: u32 = 1 << 30;
/// Bytes read at once.
const READ: usize = 64 * 1024;

/// A connection of AMQP with a session, whose links receive events.
#[derive(Debug)]
pub struct AmqpReader {
    socket: TcpStream,
    input: BytesMut,
    output: Vec<u8>,
    /// Transfers so far.
    transfers: u32,
}

/// What the hub has said, as far as anybody wants to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    Begin,
    Attach {
        refused: bool,
    },
    /// An event, or the last part of one.
    Event,
    Over,
    Else,
}

impl AmqpReader {
    /// Connects with a token of a policy.
    ///
    /// # Errors
    /// What the operating system says, or that the hub refused.
    pub async fn connect(to: SocketAddr, token: &str) -> io::Result<Self> {
        let socket = TcpStream::connect(to).await?;
        socket.set_nodelay(true)?;
        let (input, output) = (BytesMut::with_capacity(READ), Vec::new());
        let mut reader = Self { socket, input, output, transfers: 0 };
        reader.output.extend_from_slice(b"AMQP\x03\x01\x00\x00");
        let (mut mechanism, mut response) = (Vec::new(), Vec::new());
        mechanism.symbol("PLAIN");
        response.binary(format!("\0reader\0{token}").as_bytes());
        frame(&mut reader.output, 1, 0x41, &[&mechanism, &response]);
        // The hub takes what follows when it has let the token in.
        reader.output.extend_from_slice(b"AMQP\x00\x01\x00\x00");
        frame(&mut reader.output, 0, 0x10, &[&text("reader"), &text(HOST)]);
        let window = uint(WINDOW);
        frame(&mut reader.output, 0, 0x11, &[NULL, &uint(0), &window, &window]);
        reader.flush().await?;
        loop {
            match reader.next().await? {
                Said::Begin => return Ok(reader),
                Said::Over => return Err(io::Error::other("the hub refused")),
                _ => {}
            }
        }
    }

    /// Attaches a link that reads a partition from its oldest event on, without credit.
    ///
    /// # Errors
    /// What the operating system says, or that the hub refused.
    pub async fn attach(&mut self, handle: u32, group: &str, partition: u16) -> io::Result<()> {
        let address = format!("{HOST}/ConsumerGroups/{group}/Partitions/{partition}");
        let (name, source) = (text(&format!("link-{handle}")), terminus(0x28, &address));
        let target = terminus(0x29, "here");
        let fields: [&[u8]; 7] = [&name, &uint(handle), TRUE, NULL, NULL, &source, &target];
        frame(&mut self.output, 0, 0x12, &fields);
        self.flush().await?;
        loop {
            match self.next().await? {
                Said::Attach { refused: false } => return Ok(()),
                Said::Attach { refused: true } | Said::Over => {
                    return Err(io::Error::other("the hub refused the link"));
                }
                _ => {}
            }
        }
    }

    /// Grants credit: how many events may come on a link after the first `count` of it.
    ///
    /// # Errors
    /// What the operating system says.
    pub async fn credit(&mut self, handle: u32, count: u32, credit: u32) -> io::Result<()> {
        let (window, next) = (uint(WINDOW), uint(self.transfers));
        let fields: [&[u8]; 7] =
            [&next, &window, &uint(0), &window, &uint(handle), &uint(count), &uint(credit)];
        frame(&mut self.output, 0, 0x13, &fields);
        self.flush().await
    }

    /// Waits for events, at least one, and counts all that are there.
    ///
    /// # Errors
    /// What the operating system says, or that the hub closed.
    pub async fn events(&mut self) -> io::Result<u64> {
        let mut count = 0;
        loop {
            while let Some(said) = self.said()? {
                match said {
                    Said::Event => count += 1,
                    Said::Over => return Err(io::Error::other("the hub closed")),
                    _ => {}
                }
            }
            if count > 0 {
                return Ok(count);
            }
            self.read().await?;
        }
    }

    async fn flush(&mut self) -> io::Result<()> {
        self.socket.write_all(&self.output).await?;
        self.output.clear();
        Ok(())
    }

    async fn read(&mut self) -> io::Result<()> {
        self.input.reserve(READ);
        if self.socket.read_buf(&mut self.input).await? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the hub closed"));
        }
        Ok(())
    }

    async fn next(&mut self) -> io::Result<Said> {
        loop {
            if let Some(said) = self.said()? {
                return Ok(said);
            }
            self.read().await?;
        }
    }

    /// The next thing that is there whole.
    fn said(&mut self) -> io::Result<Option<Said>> {
        if self.input.starts_with(b"AMQP") {
            if self.input.len() < codec::PROTOCOL_HEADER_BYTES {
                return Ok(None);
            }
            self.input.advance(codec::PROTOCOL_HEADER_BYTES);
            return Ok(Some(Said::Else));
        }
        let frame = match codec::decode(&self.input, FRAME_MAX).map_err(io::Error::other)? {
            Decoded::Frame(frame) => frame,
            Decoded::Incomplete(_) => return Ok(None),
        };
        let said = match frame.body {
            FrameBody::Amqp(_, body) if !body.is_empty() => {
                match codec::performative(body).map_err(io::Error::other)? {
                    Performative::Begin(_) => Said::Begin,
                    Performative::Attach(attach) => {
                        let attach = attach.read().map_err(io::Error::other)?;
                        Said::Attach { refused: attach.source.is_none() }
                    }
                    Performative::Transfer(transfer, _) => {
                        self.transfers = self.transfers.wrapping_add(1);
                        if transfer.more { Said::Else } else { Said::Event }
                    }
                    Performative::Detach(_) | Performative::End(_) | Performative::Close(_) => {
                        Said::Over
                    }
                    _ => Said::Else,
                }
            }
            _ => Said::Else,
        };
        let length = frame.length;
        self.input.advance(length);
        Ok(Some(said))
    }
}

const NULL: &[u8] = b"\x40";
const TRUE: &[u8] = b"\x41";

fn uint(number: u32) -> Vec<u8> {
    let mut out = Vec::new();
    out.uint(number);
    out
}

fn text(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    out.text(text);
    out
}

/// A described list of values that have their constructors.
fn described(out: &mut Vec<u8>, code: u8, fields: &[&[u8]]) {
    let bytes: usize = fields.iter().map(|field| field.len()).sum();
    out.extend_from_slice(&[0, 0x53, code, 0xd0]);
    out.extend_from_slice(&size(bytes + 4));
    out.extend_from_slice(&size(fields.len()));
    for field in fields {
        out.extend_from_slice(field);
    }
}

/// A source (0x28) or target (0x29).
fn terminus(code: u8, address: &str) -> Vec<u8> {
    let mut out = Vec::new();
    described(&mut out, code, &[&text(address)]);
    out
}

/// A frame of AMQP (kind 0) or of the security layer (kind 1), on channel 0.
fn frame(out: &mut Vec<u8>, kind: u8, code: u8, fields: &[&[u8]]) {
    let start = out.len();
    out.extend_from_slice(&[0, 0, 0, 0, 2, kind, 0, 0]);
    described(out, code, fields);
    let length = size(out.len() - start);
    if let Some(slot) = out.get_mut(start..start + 4) {
        slot.copy_from_slice(&length);
    }
}

fn size(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).unwrap_or(u32::MAX).to_be_bytes()
}

/// A live stream of a partition over HTTP, as lines of JSON.
#[derive(Debug)]
pub struct HttpReader {
    socket: TcpStream,
    buffer: Vec<u8>,
    lines: Lines,
}

/// Counts the lines of a body in chunks: the end of each is a `}` and a line feed, while lines of
/// HTTP end with a carriage return before it.
#[derive(Debug, Default)]
struct Lines {
    last: u8,
}

impl Lines {
    fn count(&mut self, bytes: &[u8]) -> u64 {
        let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return 0 };
        let before = u64::from(*first == b'\n' && self.last == b'}');
        self.last = *last;
        // Without a state from byte to byte, many are looked at at once: the reader must not be
        // what the figure is of.
        let pairs = bytes.iter().zip(bytes.get(1..).unwrap_or(&[]));
        before + pairs.filter(|(a, b)| **a == b'}' && **b == b'\n').count() as u64
    }
}

impl HttpReader {
    /// Asks for all events of a partition, from the oldest on.
    ///
    /// # Errors
    /// What the operating system says, or that the hub refused.
    pub async fn open(
        to: SocketAddr,
        token: &str,
        group: &str,
        partition: u16,
    ) -> io::Result<(Self, u64)> {
        let mut socket = TcpStream::connect(to).await?;
        socket.set_nodelay(true)?;
        let request = format!(
            "GET /messages/events/ConsumerGroups/{group}/Partitions/{partition}?from=earliest \
             HTTP/1.1\r\nhost: {HOST}\r\nauthorization: {token}\r\n\
             accept: application/x-ndjson\r\n\r\n"
        );
        socket.write_all(request.as_bytes()).await?;
        let mut head = Vec::new();
        let end = loop {
            if let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            if socket.read_buf(&mut head).await? == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the hub closed"));
            }
        };
        if !head.starts_with(b"HTTP/1.1 200") {
            let said = String::from_utf8_lossy(head.get(..end).unwrap_or(&head)).into_owned();
            return Err(io::Error::other(said));
        }
        let mut lines = Lines::default();
        let first = lines.count(head.get(end..).unwrap_or(&[]));
        Ok((Self { socket, buffer: vec![0; READ], lines }, first))
    }

    /// Waits for bytes, and counts the events that end in them.
    ///
    /// # Errors
    /// What the operating system says, or that the hub closed.
    pub async fn events(&mut self) -> io::Result<u64> {
        let read = self.socket.read(&mut self.buffer).await?;
        if read == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the hub closed"));
        }
        Ok(self.lines.count(self.buffer.get(..read).unwrap_or(&[])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_told_from_the_lines_of_chunks() {
        // The hub ends no chunk within a line.
        let body = b"1a\r\n{\"Body\":\"x\"}\n{\"a\":{}}\n\r\n3\r\n{}\n\r\n0\r\n\r\n";
        assert_eq!(Lines::default().count(body), 3);
        let mut lines = Lines::default();
        let counts = body.iter().map(|byte| lines.count(std::slice::from_ref(byte)));
        assert_eq!(counts.sum::<u64>(), 3);
    }
}
