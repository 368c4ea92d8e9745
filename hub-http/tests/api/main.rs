//! The routes, driven over TCP.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod bulk;
mod c2d;
mod client;
mod configurations;
mod description;
mod device;
mod digital_twins;
mod embedded;
mod events;
mod feedback;
mod files;
mod hostile;
mod jobs;
mod kept;
mod methods;
mod queries;
mod quotas;
mod registry;
mod registry_jobs;
mod rights;
mod routing;
mod tls;
mod twins;
mod websocket;
