//! What the nodes of one hub tell each other, through the store.
//!
//! A node has an inbox: a queue in the store. Whoever changes something that concerns a connection of
//! another node pushes a *post* into that node's inbox, in the same change, guarded by the session
//! that names the node. So a post is there if and only if the change is, and it is in the inbox of
//! the node that held the connection at that moment. A nudge makes the node look at once; without one
//! it looks by itself.
//!
//! A post is taken out before it is acted on. All but calls may be acted on twice without harm, and
//! a call that was claimed before is never dispatched.

mod post;
mod wire;

pub use self::post::{Asked, Connection, Gone, Post, Replied, Reply};
