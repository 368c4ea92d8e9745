//! What travels: events from devices, messages to devices, and the properties of both.

mod event;
mod message;
mod property;
mod view;

pub use self::event::{
    AuthMethod, AuthScope, AuthType, Event, EventBatch, EventSource, Stamp, TooLarge,
};
pub use self::message::{Ack, Message, Stored};
pub use self::property::{Iter, Properties, Property, SystemProperty};
pub use self::view::EventView;
