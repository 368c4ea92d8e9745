//! hubd as a child: found or built, started on free ports of loopback, ended with the value.

use std::env;
use std::error::Error;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use hub_core::security::{KeyForm, SymmetricKey, sign};
use hub_core::time::Timestamp;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::client::{Device, HOST};

/// Whatever ends a run.
pub type Failure = Box<dyn Error>;

/// Longest time until a server is ready.
pub const START_WITHIN: Duration = Duration::from_secs(20);

/// The hubd that was named, or one built by cargo, in release.
///
/// # Errors
/// It is not there, or cannot be built.
pub fn program(named: Option<&Path>) -> Result<PathBuf, Failure> {
    match named {
        Some(path) if path.is_file() => Ok(path.to_owned()),
        Some(path) => Err(format!("there is no hubd at {}", path.display()).into()),
        None => build(),
    }
}

fn build() -> Result<PathBuf, Failure> {
    eprintln!("building hubd");
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments = ["build", "--quiet", "--release", "--example", "hubd"];
    let status = std::process::Command::new(cargo).args(arguments).status();
    match status {
        Ok(status) if status.success() => {}
        _ => return Err("hubd could not be built; name one with --hubd".into()),
    }
    // Beside this program, in whichever target directory cargo uses.
    let built = env::current_exe()?
        .parent()
        .and_then(Path::parent)
        .map(|target| target.join("release").join("examples").join("hubd"));
    built.filter(|path| path.is_file()).ok_or_else(|| "the built hubd is not found".into())
}

/// A server's command, pinned to a processor if one is named. It ends with the child's value.
#[must_use]
pub fn command(program: &Path, cpu: Option<usize>) -> Command {
    let mut command = match cpu {
        // taskset becomes the server, so the process id is the server's.
        Some(cpu) => {
            let mut command = Command::new("taskset");
            command.arg("--cpu-list").arg(cpu.to_string()).arg(program);
            command
        }
        None => Command::new(program),
    };
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// A hubd that runs until this is dropped, with its log in memory.
#[derive(Debug)]
pub struct Hubd {
    child: Child,
    pid: u32,
    ready: Value,
    _scratch: Scratch,
}

/// What every run needs to know: where hubd is, and where it is to run.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The program.
    pub program: &'a Path,
    /// The processor it is pinned to, if any.
    pub cpu: Option<usize>,
}

impl Hubd {
    /// Starts a hubd that knows so many [`Device`]s, with these arguments besides, and waits until
    /// it is ready. Nothing listens but what the arguments name.
    ///
    /// # Errors
    /// It cannot be started, or is not ready in time.
    pub async fn start(
        place: Place<'_>,
        devices: usize,
        arguments: &[&str],
    ) -> Result<Self, Failure> {
        let scratch = Scratch::new()?;
        let started = timeout(START_WITHIN, start(place, devices, arguments, &scratch.0)).await;
        let (child, ready) = match started {
            Ok(started) => started?,
            Err(_) => return Err(format!("hubd did not start within {START_WITHIN:?}").into()),
        };
        let pid = child.id().ok_or("hubd ended at once")?;
        Ok(Self { child, pid, ready, _scratch: scratch })
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Where it listens for a protocol, by the name of its option.
    ///
    /// # Errors
    /// It does not.
    pub fn at(&self, protocol: &str) -> Result<SocketAddr, Failure> {
        let at = self.ready.get(protocol).and_then(Value::as_str);
        Ok(at.ok_or_else(|| format!("hubd has no {protocol}"))?.parse()?)
    }

    /// A token of the owner's policy for everything.
    #[must_use]
    pub fn token(&self) -> String {
        // In the year 2100: no run is that long.
        let expiry = Timestamp::from_millis(4_102_444_800_000);
        sign(HOST, &owner(), KeyForm::Decoded, expiry, Some("iothubowner"))
    }

    /// Ends it, and waits until it is gone.
    ///
    /// # Errors
    /// What the operating system says.
    pub async fn stop(mut self) -> Result<(), Failure> {
        Ok(self.child.kill().await?)
    }
}

fn owner() -> SymmetricKey {
    SymmetricKey::generate(&[7; 32])
}

async fn start(
    place: Place<'_>,
    devices: usize,
    arguments: &[&str],
    scratch: &Path,
) -> Result<(Child, Value), Failure> {
    let file = scratch.join("devices.jsonl");
    let line = |device: Device| {
        serde_json::json!({"deviceId": device.id, "key": device.key.to_base64()}).to_string()
    };
    let lines: Vec<_> = (0..devices).map(Device::numbered).map(line).collect();
    fs::write(&file, lines.join("\n"))?;
    let mut command = command(place.program, place.cpu);
    let owner = owner();
    command.args(["--host-name", HOST, "--store", "memory", "--owner-key", owner.to_base64()]);
    for protocol in ["mqtt", "mqtts", "http", "https", "amqp", "amqps"] {
        let option = format!("--{protocol}");
        if !arguments.contains(&option.as_str()) {
            command.args([&option, "off"]);
        }
    }
    let mut child = command
        .args(arguments)
        .arg("--data-dir")
        .arg(scratch.join("data"))
        .arg("--devices")
        .arg(&file)
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{} cannot be started: {error}", place.program.display()))?;
    let output = child.stdout.take().ok_or("hubd has no output")?;
    let mut lines = BufReader::new(output).lines();
    while let Some(line) = lines.next_line().await? {
        if let Some(ready) = line.strip_prefix("ready ") {
            return Ok((child, serde_json::from_str(ready)?));
        }
    }
    Err("hubd ended before it was ready; what it wrote stands above".into())
}

/// A directory that is gone when this is.
#[derive(Debug)]
pub struct Scratch(pub PathBuf);

impl Scratch {
    /// One below the directory for temporary files.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn new() -> Result<Self, Failure> {
        for number in 0..1000 {
            let name = format!("hub-load-{}-{number}", std::process::id());
            let path = env::temp_dir().join(name);
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Self(path)),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err("no scratch directory can be made".into())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left in a temporary directory does no harm.
        let _ = fs::remove_dir_all(&self.0);
    }
}
