//! Devices over real sockets: a hub with the MQTT adapter and its clients, all on one thread.
//!
//! A figure holds the kernel's work and that of the client beside the hub's. The binary `load` tells
//! them apart; these are to see a change of the whole path.

use std::fmt;
use std::net::SocketAddr;

use hub_core::engine::Hub;
use hub_core::id::Address;
use hub_core::registry::{AuthenticationSpec, IdentitySpec};
use hub_mqtt::MqttTransport;
use tokio::runtime::{Builder, Runtime};

use crate::client::{Client, Device, HOST};
use crate::fixture::{self, BODY};
use crate::{Bench, Random};

/// Connections, and messages in flight on each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    connections: usize,
    window: usize,
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connections={},window={}", self.connections, self.window)
    }
}

const fn load(connections: usize, window: usize) -> Load {
    Load { connections, window }
}

/// Telemetry of QoS 1 with 256 B over loopback: a window of publishes until all are acknowledged,
/// on all connections at once.
#[derive(Debug)]
pub struct Telemetry {
    runtime: Runtime,
    _hub: Hub,
    at: SocketAddr,
    load: Load,
    clients: Vec<Client>,
    payload: Vec<u8>,
}

impl Bench for Telemetry {
    type Size = Load;
    const NAME: &'static str = "end_to_end/telemetry";
    const SIZES: &'static [Load] = &[load(1, 1), load(1, 10), load(100, 1), load(100, 10)];

    fn open(load: Load) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (hub, at) = runtime.block_on(async {
            let hub = Hub::builder_on(fixture::store()).host_name(HOST).start().expect("a hub");
            for device in (0..load.connections).map(Device::numbered) {
                let mut spec = IdentitySpec::new(Address::parse(&device.id).expect("an id"));
                let (primary, secondary) = (Some(device.key.clone()), Some(device.key));
                spec.authentication = Some(AuthenticationSpec::Sas { primary, secondary });
                hub.registry().put(&spec, None).await.expect("registered");
            }
            let any = SocketAddr::from(([127, 0, 0, 1], 0));
            let transport = MqttTransport::builder().listen(any).bind().expect("bound");
            let at = transport.local_addrs().first().copied().expect("an address");
            hub.serve(transport);
            (hub, at)
        });
        Self { runtime, _hub: hub, at, load, clients: Vec::new(), payload: Vec::new() }
    }

    fn seed(&mut self, random: &mut Random) {
        self.payload = random.bytes(BODY);
        let Self { runtime, at, load, clients, .. } = self;
        runtime.block_on(async {
            for device in (0..load.connections).map(Device::numbered) {
                clients.push(Client::connect(*at, &device).await.expect("connected"));
            }
        });
    }

    fn elements(load: Load) -> u64 {
        (load.connections * load.window) as u64
    }

    fn run(&mut self, rounds: u64) {
        let Self { runtime, load, clients, payload, .. } = self;
        runtime.block_on(async {
            for _ in 0..rounds {
                for client in clients.iter_mut() {
                    client.publish(load.window, payload).await.expect("sent");
                }
                for client in clients.iter_mut() {
                    let mut missing = load.window;
                    while missing > 0 {
                        missing -= client.acknowledged().await.expect("acknowledged");
                    }
                }
            }
        });
    }
}
