//! The process under test.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

/// How long a hub may take to be ready, also after a crash. Long runs give way to everything else on
/// their machine, so this tells one that hangs, not one that is slow; the slowest start is reported.
const READY: Duration = Duration::from_secs(600);
/// How long a hub may take to stop when asked to, in the same sense.
const STOP: Duration = Duration::from_secs(300);

/// Why there is no hub to test.
#[derive(Debug)]
#[non_exhaustive]
pub enum HubdError {
    /// There is no program.
    NotBuilt(String),
    /// It, or what it needs, could not be started.
    Io(io::Error),
    /// It ended, or said something else, before it was ready.
    NotReady(String),
}

impl std::fmt::Display for HubdError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotBuilt(what) => write!(f, "no hubd: {what}"),
            Self::Io(error) => write!(f, "{error}"),
            Self::NotReady(what) => write!(f, "hubd was not ready: {what}"),
        }
    }
}

impl std::error::Error for HubdError {}

impl From<io::Error> for HubdError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// What to start, and where it keeps its data.
#[derive(Debug, Clone)]
pub struct Place {
    /// The program.
    pub hubd: PathBuf,
    /// The folder for everything that a run leaves behind.
    pub folder: PathBuf,
    /// The folder for the hub's data.
    pub data: PathBuf,
    /// What `--store` says; nothing for the default, which is in the hub's data.
    pub store: Option<String>,
}

impl Place {
    /// Finds the program: `HUBD` names it, or cargo builds it as it built this one.
    ///
    /// # Errors
    /// There is none.
    pub fn find_hubd() -> Result<PathBuf, HubdError> {
        if let Some(named) = std::env::var_os("HUBD") {
            let path = PathBuf::from(named);
            return match path.exists() {
                true => Ok(path),
                false => Err(HubdError::NotBuilt(format!("HUBD: {}", path.display()))),
            };
        }
        let own = std::env::current_exe()?;
        let release = own.components().any(|part| part.as_os_str() == "release");
        let mut build = std::process::Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--locked", "-p", "examples", "--example", "hubd"]);
        build.arg("--message-format=json").current_dir(env!("CARGO_MANIFEST_DIR"));
        if release {
            build.arg("--release");
        }
        let built = build.stderr(Stdio::inherit()).output()?;
        let said = String::from_utf8_lossy(&built.stdout);
        let path = said
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .find_map(|message| Some(PathBuf::from(message.get("executable")?.as_str()?)));
        path.ok_or_else(|| HubdError::NotBuilt("cargo build --example hubd has failed".to_owned()))
    }
}

/// A hub.
#[derive(Debug)]
pub(crate) struct Hubd {
    child: Child,
    // Kept open, or the hub's next word would end it.
    said: Lines<BufReader<ChildStdout>>,
}

/// Where a hub that is ready listens.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ready {
    pub(crate) mqtt: SocketAddr,
    pub(crate) http: SocketAddr,
}

impl Hubd {
    /// Starts one, and does not wait for it.
    pub(crate) fn start(place: &Place, node: usize, key: &str, devices: &Path) -> io::Result<Self> {
        let log = File::options().create(true).append(true).open(place.folder.join("hubd.log"))?;
        let mut command = Command::new(&place.hubd);
        command
            .args(["--mqtt", "127.0.0.1:0", "--http", "127.0.0.1:0"])
            .args(["--mqtts", "off", "--https", "off", "--amqps", "off", "--owner-key", key])
            .args(["--node-name", &format!("node-{node}")])
            .arg("--data-dir")
            // Other nodes keep their keys elsewhere.
            .arg(if node == 0 { place.data.clone() } else { place.data.join(node.to_string()) })
            .arg("--devices")
            .arg(devices);
        if let Some(store) = &place.store {
            command.arg("--store").arg(store);
        }
        if std::env::var_os("HUBD_LOG").is_none() {
            command.env("HUBD_LOG", "warn");
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).kill_on_drop(true);
        let mut child = command.spawn()?;
        let stdout = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Self { child, said: BufReader::new(stdout).lines() })
    }

    /// Waits until it is ready.
    pub(crate) async fn ready(&mut self) -> Result<Ready, HubdError> {
        let line = match timeout(READY, self.said.next_line()).await {
            Ok(Ok(Some(line))) => line,
            Ok(Ok(None)) => {
                let status = self.child.wait().await?;
                return Err(HubdError::NotReady(format!("it ended: {status}")));
            }
            Ok(Err(error)) => return Err(error.into()),
            Err(_) => return Err(HubdError::NotReady(format!("after {READY:?}"))),
        };
        let json = line.strip_prefix("ready ").and_then(|text| serde_json::from_str(text).ok());
        let json: Value = json.ok_or_else(|| HubdError::NotReady(format!("it said {line:?}")))?;
        let at = |name: &str| json.get(name)?.as_str()?.parse().ok();
        at("mqtt").zip(at("http")).map(|(mqtt, http)| Ready { mqtt, http }).ok_or_else(|| {
            HubdError::NotReady(format!("it does not say where it listens: {line:?}"))
        })
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Ends it in the middle of whatever it does.
    pub(crate) async fn kill(&mut self) -> io::Result<()> {
        self.child.kill().await
    }

    /// Asks it to stop; how it ended, or nothing if it did not in time.
    pub(crate) async fn terminate(&mut self) -> io::Result<Option<ExitStatus>> {
        self.signal(Signal::TERM)?;
        match timeout(STOP, self.child.wait()).await {
            Ok(status) => status.map(Some),
            Err(_) => {
                self.kill().await?;
                Ok(None)
            }
        }
    }

    /// Stops its time.
    pub(crate) fn freeze(&self) -> io::Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets its time go on.
    pub(crate) fn thaw(&self) -> io::Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let id = id.ok_or(io::ErrorKind::NotFound)?;
        Ok(kill_process(id, signal)?)
    }
}
