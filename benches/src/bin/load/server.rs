//! The two servers: found, started on a free port of loopback, ended by their process id.

use std::env;
use std::fmt;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use benches::hubd::{self, Hubd, Place, START_WITHIN, Scratch};
use tokio::net::TcpStream;
use tokio::process::Child;
use tokio::time::{sleep, timeout};

use super::Failure;
use super::options::Options;

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
    Ok(Programs { hubd: hubd::program(options.hubd.as_deref())?, mosquitto })
}

fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    // Where distributions put servers, which is not on every user's PATH.
    let places = env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    places.map(|place| place.join(name)).find(|path| path.is_file())
}

/// A server that runs until this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    running: Running,
    /// Its process.
    pub(crate) pid: u32,
    /// Where it listens.
    pub(crate) at: SocketAddr,
}

#[derive(Debug)]
enum Running {
    Hubd(Hubd),
    Mosquitto(Child, Scratch),
}

impl Server {
    /// Starts a server that knows so many devices, and waits until it listens.
    pub(crate) async fn start(
        kind: Kind,
        programs: &Programs,
        options: &Options,
        devices: usize,
    ) -> Result<Self, Failure> {
        match kind {
            Kind::Hubd => {
                let place = Place { program: &programs.hubd, cpu: options.server_cpu };
                let hubd = Hubd::start(place, devices, &["--mqtt", "127.0.0.1:0"]).await?;
                let (pid, at) = (hubd.pid(), hubd.at("mqtt")?);
                Ok(Self { running: Running::Hubd(hubd), pid, at })
            }
            Kind::Mosquitto => {
                let scratch = Scratch::new()?;
                let started = mosquitto(&programs.mosquitto, options, &scratch.0);
                let (child, at) = match timeout(START_WITHIN, started).await {
                    Ok(started) => started?,
                    Err(_) => {
                        return Err(format!("{kind} did not start within {START_WITHIN:?}").into());
                    }
                };
                let pid = child.id().ok_or_else(|| format!("{kind} ended at once"))?;
                Ok(Self { running: Running::Mosquitto(child, scratch), pid, at })
            }
        }
    }

    /// Ends it, and waits until it is gone.
    pub(crate) async fn stop(self) -> Result<(), Failure> {
        match self.running {
            Running::Hubd(hubd) => hubd.stop().await,
            Running::Mosquitto(mut child, _scratch) => Ok(child.kill().await?),
        }
    }
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
    let mut child = hubd::command(program, options.server_cpu)
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
