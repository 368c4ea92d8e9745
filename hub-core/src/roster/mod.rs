//! Which nodes a hub has, and which of them live.
//!
//! A node is a document, replaced every [`Limits::node_beat_every`](crate::limits::Limits) by the
//! node itself. One that is not replaced in time has expired: its process is dead, stopped or cut
//! off from the store. Another node then marks it as lost, repairs the sessions that name it, and
//! removes it.
//!
//! | document | read by its own node | read by another node |
//! |---|---|---|
//! | none | written | – |
//! | live, of this run | replaced: the next beat | left alone, until it has expired |
//! | live, of another run, beating | the name is taken: refused, or fenced | – |
//! | live, of another run, silent | taken over | – |
//! | expired | replaced | marked as lost |
//! | lost, being repaired | replaced: the node is back | left alone, until the repair has expired |

mod member;
mod watch;

pub use self::member::{Member, Standing};
pub use self::watch::{Verdict, Watch};
