//! What back ends do.

pub(crate) mod method;
pub(crate) mod registry;
pub(crate) mod twin;
