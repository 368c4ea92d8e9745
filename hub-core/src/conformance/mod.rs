//! Kits that tell the author of a store or a transport whether it keeps the contract (feature
//! `conformance`).

pub mod transport;
