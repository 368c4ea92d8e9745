//! The store without threads: commands in, one group written, answers out.

pub(crate) mod checkpoint;
pub(crate) mod command;
pub(crate) mod judge;
pub(crate) mod open;
pub(crate) mod read;
pub(crate) mod run;
#[cfg(test)]
mod tests;
pub(crate) mod work;
