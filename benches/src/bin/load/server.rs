//! The two servers: found, started on a free port of loopback, ended by their process id.

use std::env;
use std::fmt;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use benches::client::{Device, HOST};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use super::Failure;
use super::options::Options;

const START_WITHIN: Duration = Duration::from_secs(20);

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Hubd,
    Mosquitto,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hubd => "hubd",
            Self::Mosquitto => "mosquitto",
        })
    }
}

/// Where the programs are.
#[derive(Debug)]
pub(crate) struct Programs {
    hubd: PathBuf,
    mosquitto: PathBuf,
}

/// Finds mosquitto, and finds or builds hubd.
pub(crate) fn programs(options: &Options) -> Result<Programs, Failure> {
    // First what takes no time to find out.
    let mosquitto = find("mosquitto").ok_or(
        "mosquitto is not on the PATH; it is what the hub is compared with (Debian: apt-get \
         install mosquitto; it often lies in /usr/sbin)",
    )?;
    let hubd = match &options.hubd {
        Some(path) if path.is_file() => path.clone(),
        Some(path) => return Err(format!("there is no hubd at {}", path.display()).into()),
        None => build()?,
    };
    Ok(Programs { hubd, mosquitto })
}

fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    // Where distributions put servers, which is not on every user's PATH.
    let places = env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    places.map(|place| place.join(name)).find(|path| path.is_file())
}

fn build() -> Result<PathBuf, Failure> {
    eprintln!("load: building hubd");
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

/// A server that runs until this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    /// Its process.
    pub(crate) pid: u32,
    /// Where it listens.
    pub(crate) at: SocketAddr,
    _scratch: Scratch,
}

impl Server {
    /// Starts a server that knows so many devices, and waits until it listens.
    pub(crate) async fn start(
        kind: Kind,
        programs: &Programs,
        options: &Options,
        devices: usize,
    ) -> Result<Self, Failure> {
        let scratch = Scratch::new()?;
        let started = timeout(START_WITHIN, async {
            match kind {
                Kind::Hubd => hubd(&programs.hubd, options, devices, &scratch.0).await,
                Kind::Mosquitto => mosquitto(&programs.mosquitto, options, &scratch.0).await,
            }
        });
        let (child, at) = match started.await {
            Ok(started) => started?,
            Err(_) => return Err(format!("{kind} did not start within {START_WITHIN:?}").into()),
        };
        let pid = child.id().ok_or_else(|| format!("{kind} ended at once"))?;
        Ok(Self { child, pid, at, _scratch: scratch })
    }

    /// Ends it, and waits until it is gone.
    pub(crate) async fn stop(mut self) -> Result<(), Failure> {
        Ok(self.child.kill().await?)
    }
}

fn command(program: &Path, options: &Options) -> Command {
    let mut command = match options.server_cpu {
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

async fn hubd(
    program: &Path,
    options: &Options,
    devices: usize,
    scratch: &Path,
) -> Result<(Child, SocketAddr), Failure> {
    let file = scratch.join("devices.jsonl");
    let line = |device: Device| {
        serde_json::json!({"deviceId": device.id, "key": device.key.to_base64()}).to_string()
    };
    let lines: Vec<_> = (0..devices).map(Device::numbered).map(line).collect();
    fs::write(&file, lines.join("\n"))?;
    let mut child = command(program, options)
        .args(["--host-name", HOST, "--store", "memory", "--mqtt", "127.0.0.1:0"])
        .args(["--mqtts", "off", "--http", "off", "--https", "off"])
        .arg("--data-dir")
        .arg(scratch.join("data"))
        .arg("--devices")
        .arg(&file)
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{} cannot be started: {error}", program.display()))?;
    let output = child.stdout.take().ok_or("hubd has no output")?;
    let mut lines = BufReader::new(output).lines();
    while let Some(line) = lines.next_line().await? {
        if let Some(ready) = line.strip_prefix("ready ") {
            let ready: serde_json::Value = serde_json::from_str(ready)?;
            let at = ready.get("mqtt").and_then(|at| at.as_str()).ok_or("hubd has no MQTT")?;
            return Ok((child, at.parse()?));
        }
    }
    Err("hubd ended before it was ready; what it wrote stands above".into())
}

async fn mosquitto(
    program: &Path,
    options: &Options,
    scratch: &Path,
) -> Result<(Child, SocketAddr), Failure> {
    // It cannot be told to choose a port itself.
    let at = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
    let file = scratch.join("mosquitto.conf");
    // Without delay, as hubd has it: acknowledgements would otherwise wait for each other.
    let settings = format!(
        "listener {} 127.0.0.1\nallow_anonymous true\npersistence false\nset_tcp_nodelay true\n\
         log_dest stderr\nlog_type error\n",
        at.port()
    );
    fs::write(&file, settings)?;
    let mut child = command(program, options)
        .arg("-c")
        .arg(&file)
        .stdout(Stdio::null())
        .spawn()
        .map_err(|error| format!("{} cannot be started: {error}", program.display()))?;
    while TcpStream::connect(at).await.is_err() {
        if let Some(status) = child.try_wait()? {
            return Err(format!("mosquitto ended with {status}").into());
        }
        sleep(Duration::from_millis(20)).await;
    }
    Ok((child, at))
}

/// A directory that is gone when this is.
#[derive(Debug)]
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self, Failure> {
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
