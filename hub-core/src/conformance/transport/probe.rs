//! What the author of a transport writes: a device that speaks their protocol.
//!
//! A protocol need not do everything. Every ability that some protocol lacks is a trait of its own,
//! so a case that needs it does not compile for a probe without it, and cannot pass by accident.

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::engine::Hub;
use crate::frame::{Disposition, Interest};
use crate::hello::SessionMode;
use crate::id::Address;
use crate::store::Store;

/// Where the kit gets its stores, listeners and devices from.
#[async_trait]
pub trait Fixture: Send {
    /// A device in the protocol under test.
    type Probe: Probe;

    /// An empty store. One case may ask for several.
    fn store(&mut self) -> Arc<dyn Store>;

    /// Serves a hub over the transport under test ([`Hub::serve`]), on a port that the operating
    /// system picks. Ready for peers on return.
    async fn serve(&mut self, hub: &Hub);

    /// Connects a device to the hub served last. A protocol without connections asks for something
    /// harmless that needs the credentials.
    ///
    /// # Errors
    /// [`Refused`] when the hub does not let it in, or nobody listens.
    async fn connect(&mut self, login: &Login) -> Result<Self::Probe, Refused>;
}

/// Listens on TCP, for peers that first say who they are.
pub trait Introduced: Fixture {
    /// Where the hub served last is listening.
    fn addr(&self) -> SocketAddr;
}

/// Who connects, and how.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Login {
    /// The host name to address, if the protocol carries one.
    pub host: String,
    /// Which device or module.
    pub address: Address,
    /// Its shared access signature.
    pub token: Arc<str>,
    /// What becomes of its session, if the protocol leaves that to the device.
    pub session: SessionMode,
}

/// The hub said no, or is gone. The text is for whoever reads the failure of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused(
    /// What the probe saw.
    pub String,
);

/// A device. It says what it is told to, and does not repeat what failed.
#[async_trait]
pub trait Probe: Send + Sized + 'static {
    /// Sends a telemetry message with application properties, and waits for its acknowledgement.
    ///
    /// # Errors
    /// [`Refused`] when the hub says no or closes the connection.
    async fn publish(&mut self, body: &[u8], properties: &[(&str, &str)]) -> Result<(), Refused>;

    /// Sends bytes that are not the protocol.
    async fn babble(&mut self);

    /// Goes away without a word, as by a lost network. Everything it holds is closed on return.
    async fn vanish(self);
}

/// Has a connection that stays until one side ends it.
#[async_trait]
pub trait Lasting: Probe {
    /// Waits until the hub has closed the connection. What is heard meanwhile is dropped.
    async fn closed(&mut self);

    /// Says goodbye, as the protocol does it.
    async fn goodbye(self);
}

/// Can say more before it was answered.
#[async_trait]
pub trait Pipelined: Lasting {
    /// Writes a telemetry message that wants an acknowledgement, without waiting for that. Waits
    /// while the connection takes no more bytes.
    ///
    /// # Errors
    /// [`Refused`] when the hub closes the connection.
    async fn write(&mut self, body: &[u8]) -> Result<(), Refused>;

    /// Waits for the acknowledgements of the next so many written messages.
    ///
    /// # Errors
    /// [`Refused`] when the hub closes the connection, or when an acknowledgement is of another
    /// message than the oldest that has none. A protocol that does not say which message it
    /// acknowledges means that one.
    async fn acknowledged(&mut self, count: usize) -> Result<(), Refused>;

    /// Reads nothing from the connection from now on, and keeps it open.
    fn stall(&mut self);
}

/// What a device hears without having asked. A handle is whatever the probe needs to answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// A cloud-to-device message.
    Message {
        /// To settle it with.
        handle: String,
        /// Its message id, if it has one.
        message_id: Option<String>,
        /// Its body.
        body: Bytes,
        /// Its application properties, in the order in which they came.
        properties: Vec<(String, String)>,
    },
    /// A direct method.
    Method {
        /// To answer it with.
        handle: String,
        /// Its name.
        name: String,
        /// Its payload: JSON text.
        payload: Bytes,
    },
    /// Desired properties changed.
    Desired {
        /// Their new version.
        version: u64,
        /// The patch: JSON text.
        patch: Bytes,
    },
}

/// Hears things that it did not ask for. A protocol without push asks on its own.
#[async_trait]
pub trait Hearing: Probe {
    /// Begins to listen for something; the hub knows on return.
    async fn listen(&mut self, interest: Interest);

    /// Waits for the next thing it hears, in the order of the wire. Dropping the future loses
    /// nothing.
    ///
    /// # Errors
    /// [`Refused`] when the hub closes the connection.
    async fn next(&mut self) -> Result<Heard, Refused>;
}

/// Gets cloud-to-device messages.
#[async_trait]
pub trait Messages: Hearing {
    /// Completes a message. The answer, if the protocol has one, need not have come on return.
    async fn complete(&mut self, handle: &str);
}

/// Settles messages in every way, and is answered.
#[async_trait]
pub trait Dispositions: Messages {
    /// Settles a message and waits for the answer.
    ///
    /// # Errors
    /// [`Refused`] when the hub says no.
    async fn settle(&mut self, handle: &str, disposition: Disposition) -> Result<(), Refused>;
}

/// Answers direct methods.
#[async_trait]
pub trait Methods: Hearing {
    /// Answers a call with a status and JSON text.
    async fn reply(&mut self, handle: &str, status: i32, payload: &[u8]);
}

/// Hears of changes of desired properties, through [`Hearing`].
pub trait Desired: Hearing {}

/// Reads its twin and writes its reported properties.
#[async_trait]
pub trait Twins: Probe {
    /// Its twin as JSON text, with the members `desired` and `reported`.
    ///
    /// # Errors
    /// [`Refused`] when the hub says no or closes the connection.
    async fn twin(&mut self) -> Result<Bytes, Refused>;

    /// Patches the reported properties with JSON text, and waits for their new version.
    ///
    /// # Errors
    /// [`Refused`] when the hub says no or closes the connection.
    async fn report(&mut self, patch: &[u8]) -> Result<u64, Refused>;
}
