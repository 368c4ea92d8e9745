//! How much memory an upload of 1 GiB takes.
//!
//! ```text
//! cargo run --release -p hub-blob-directory --example memory [MEBIBYTES]
//! ```
//!
//! A process of its own serves a directory; this one writes to it and reads from it, and looks at the
//! other's memory in `/proc`. It fails if the other has grown by 32 MiB or more.
#![expect(clippy::indexing_slicing, reason = "a program for readers, of fixed sizes")]

use std::error::Error;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, StreamBody};
use hub_blob_directory::{BlobDirectory, BlobDirectoryConfig};
use hub_core::blob::{BlobAccess, BlobName, BlobStore as _};
use hub_core::time::Timestamp;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Most that the server may grow by.
const GROWTH_MAX_KIB: u64 = 32 * 1024;
const MIB: usize = 1024 * 1024;
const BLOCK: usize = 4 * MIB;

#[tokio::main]
async fn main() -> Result<()> {
    let argument = std::env::args().nth(1);
    if argument.as_deref() == Some("serve") {
        return serve().await;
    }
    let mebibytes: usize = argument.map_or(Ok(1024), |text| text.parse())?;
    let place = tempfile::tempdir()?;
    let server = Server::start(place.path())?;
    let size = mebibytes * MIB;
    println!("{mebibytes} MiB each");
    server.measure("one request", put(&server.host, &server.addresses[0], size)).await?;
    server
        .measure("blocks of 4 MiB, 8 at once", blocks(&server.host, &server.addresses[1], size))
        .await?;
    server.measure("read", get(&server.host, &server.addresses[0], size)).await?;
    Ok(())
}

/// The other process.
async fn serve() -> Result<()> {
    let place = std::env::args().nth(2).ok_or("no directory")?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let host = listener.local_addr()?;
    let files = BlobDirectory::open(place, BlobDirectoryConfig::new(format!("http://{host}")))?;
    let now = std::time::UNIX_EPOCH.elapsed()?.as_millis();
    let now = Timestamp::from_millis(u64::try_from(now)?);
    for name in ["d1/whole", "d1/blocks"] {
        let blob = BlobName::parse(name)?;
        let hour = Duration::from_secs(3600);
        let address = files.address(&blob, BlobAccess::Upload, now, hour).await?;
        println!("{}", address.as_str());
    }
    std::io::stdout().flush()?;
    axum::serve(listener, files.router()).await?;
    Ok(())
}

struct Server {
    child: Child,
    host: String,
    /// Paths and queries.
    addresses: Vec<String>,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    fn start(place: &std::path::Path) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("serve")
            .arg(place)
            .stdout(Stdio::piped())
            .spawn()?;
        let lines = BufReader::new(child.stdout.take().ok_or("no output")?).lines();
        let urls: Vec<String> = lines.take(2).collect::<std::io::Result<_>>()?;
        let (host, _) = urls[0].trim_start_matches("http://").split_once('/').ok_or("no path")?;
        let host = host.to_owned();
        let path = |url: &String| url.trim_start_matches("http://").replacen(&host, "", 1);
        let addresses = urls.iter().map(path).collect();
        Ok(Self { child, host, addresses })
    }

    /// A line of the kernel's account of the other process, in KiB.
    fn kib(&self, name: &str) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find(|line| line.starts_with(name)).ok_or("no such line")?;
        Ok(line.split_whitespace().nth(1).ok_or("no number")?.parse()?)
    }

    async fn measure(&self, what: &str, work: impl Future<Output = Result<()>>) -> Result<()> {
        // Forgets the peak there was before.
        std::fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5")?;
        let (before, begun) = (self.kib("VmRSS:")?, Instant::now());
        work.await?;
        let peak = self.kib("VmHWM:")?;
        let growth = peak.saturating_sub(before);
        let seconds = begun.elapsed().as_secs_f64();
        println!(
            "{what}: {before} KiB before, {peak} KiB at most, grew by {growth} KiB, {seconds:.1} s"
        );
        if growth >= GROWTH_MAX_KIB {
            return Err(format!("grew by {growth} KiB").into());
        }
        Ok(())
    }
}

/// Sends a request; gives the status, and how many bytes came back.
async fn send<B>(host: &str, request: Request<B>) -> Result<(StatusCode, usize)>
where
    B: http_body::Body<Data = Bytes, Error: Error + Send + Sync> + Send + 'static,
{
    let stream = TcpStream::connect(host).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let response = sender.send_request(request).await?;
    let (status, mut body, mut size) = (response.status(), response.into_body(), 0);
    while let Some(frame) = body.frame().await {
        size += frame?.data_ref().map_or(0, Bytes::len);
    }
    Ok((status, size))
}

fn request<B>(method: Method, path: &str, length: usize, body: B) -> Result<Request<B>> {
    let request = Request::builder().method(method).uri(path).header("host", "files");
    let request = request.header("x-ms-blob-type", "BlockBlob").header("content-length", length);
    Ok(request.body(body)?)
}

async fn put(host: &str, path: &str, size: usize) -> Result<()> {
    let piece = Bytes::from(vec![7; MIB / 4]);
    let pieces =
        futures::stream::iter((0..size / piece.len()).map(move |_| {
            Ok::<_, std::convert::Infallible>(http_body::Frame::data(piece.clone()))
        }));
    let (status, _) =
        send(host, request(Method::PUT, path, size, StreamBody::new(pieces))?).await?;
    if status == StatusCode::CREATED { Ok(()) } else { Err(status.to_string().into()) }
}

async fn blocks(host: &str, path: &str, size: usize) -> Result<()> {
    use base64::Engine as _;
    use futures::TryStreamExt as _;
    let block = Bytes::from(vec![7; BLOCK]);
    let ids: Vec<String> = (0..size / BLOCK)
        .map(|number| base64::prelude::BASE64_STANDARD.encode(format!("{number:06}")))
        .collect();
    futures::stream::iter(ids.iter().map(Ok::<_, Box<dyn Error + Send + Sync>>))
        .try_for_each_concurrent(8, |id| {
            let path = format!("{path}&comp=block&blockid={}", id.replace('=', "%3D"));
            let block = block.clone();
            async move {
                let request = request(Method::PUT, &path, BLOCK, Full::new(block))?;
                let (status, _) = send(host, request).await?;
                if status == StatusCode::CREATED { Ok(()) } else { Err(status.to_string().into()) }
            }
        })
        .await?;
    let list: String = ids.iter().map(|id| format!("<Latest>{id}</Latest>")).collect();
    let list = format!("<BlockList>{list}</BlockList>");
    let path = format!("{path}&comp=blocklist");
    let request = request(Method::PUT, &path, list.len(), Full::new(Bytes::from(list)))?;
    let (status, _) = send(host, request).await?;
    if status == StatusCode::CREATED { Ok(()) } else { Err(status.to_string().into()) }
}

async fn get(host: &str, path: &str, size: usize) -> Result<()> {
    let request = request(Method::GET, path, 0, Full::new(Bytes::new()))?;
    let (status, read) = send(host, request).await?;
    let whole = status == StatusCode::OK && read == size;
    if whole { Ok(()) } else { Err(format!("{status}, {read} bytes").into()) }
}
