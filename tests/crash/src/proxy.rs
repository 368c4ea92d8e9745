//! A TCP proxy between a hub and its database, that drops and stalls connections.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What happens to connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    /// Bytes go through. A higher number ends the connections made under a lower one.
    Open(u64),
    /// Nothing goes through, and nothing ends.
    Stalled(u64),
}

impl Line {
    fn age(self) -> u64 {
        match self {
            Self::Open(age) | Self::Stalled(age) => age,
        }
    }
}

/// A proxy. Ends when dropped.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    line: watch::Sender<Line>,
}

impl Proxy {
    /// Listens, for connections to a server.
    pub(crate) async fn start(server: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((server.ip(), 0)).await?;
        let (line, seen) = watch::channel(Line::Open(0));
        let address = listener.local_addr()?;
        tokio::spawn(accept(listener, server, seen));
        Ok(Self { address, line })
    }

    /// Ends all connections.
    pub(crate) fn cut(&self) {
        self.line.send_modify(|line| *line = Line::Open(line.age() + 1));
    }

    /// Lets nothing through until [`Proxy::flow`].
    pub(crate) fn stall(&self) {
        self.line.send_modify(|line| *line = Line::Stalled(line.age()));
    }

    /// Lets everything through.
    pub(crate) fn flow(&self) {
        self.line.send_modify(|line| *line = Line::Open(line.age()));
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, mut line: watch::Receiver<Line>) {
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { continue };
                tokio::spawn(connection(client, server, line.clone()));
            }
            gone = async { while line.changed().await.is_ok() {} } => return gone,
        }
    }
}

async fn connection(client: TcpStream, server: SocketAddr, line: watch::Receiver<Line>) {
    let age = line.borrow().age();
    // A server that is down refuses; so does its proxy, by hanging up.
    let Ok(server) = TcpStream::connect(server).await else { return };
    let nodelay = (client.set_nodelay(true), server.set_nodelay(true));
    drop(nodelay);
    let ((from_client, to_client), (from_server, to_server)) =
        (client.into_split(), server.into_split());
    tokio::select! {
        () = copy(from_client, to_server, line.clone(), age) => {}
        () = copy(from_server, to_client, line, age) => {}
    }
}

/// Copies until either side ends, or the line is cut.
async fn copy(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut line: watch::Receiver<Line>,
    age: u64,
) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let now = *line.borrow_and_update();
        if now.age() != age {
            return;
        }
        if matches!(now, Line::Stalled(_)) {
            if line.changed().await.is_err() {
                return;
            }
            continue;
        }
        tokio::select! {
            read = from.read(&mut buffer) => {
                let Ok(count @ 1..) = read else { return };
                // A stall that comes now holds the bytes back.
                while matches!(*line.borrow_and_update(), Line::Stalled(of) if of == age) {
                    if line.changed().await.is_err() {
                        return;
                    }
                }
                let bytes = buffer.get(..count).unwrap_or_default();
                if line.borrow().age() != age || to.write_all(bytes).await.is_err() {
                    return;
                }
            }
            changed = line.changed() => {
                if changed.is_err() {
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    drop(tokio::io::copy(&mut from, &mut to).await);
                });
            }
        });
        address
    }

    #[tokio::test]
    async fn bytes_go_through_until_the_line_is_cut() {
        let proxy = Proxy::start(echo().await).await.unwrap();
        let mut stream = TcpStream::connect(proxy.address).await.unwrap();
        let mut answer = [0; 4];
        stream.write_all(b"ping").await.unwrap();
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"ping");
        proxy.stall();
        stream.write_all(b"pong").await.unwrap();
        proxy.flow();
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"pong");
        proxy.cut();
        assert_eq!(stream.read(&mut answer).await.unwrap_or(0), 0);
        let mut stream = TcpStream::connect(proxy.address).await.unwrap();
        stream.write_all(b"ping").await.unwrap();
        stream.read_exact(&mut answer).await.unwrap();
    }
}
