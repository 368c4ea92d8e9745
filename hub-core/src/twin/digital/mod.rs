//! The digital twin: the same twin, as IoT Plug and Play reads and writes it.
//!
//! A device announces a model when it connects. The hub need not know the model: what is a component
//! and what a property is told by the twin itself.
//!
//! | in the twin | in the digital twin |
//! |---|---|
//! | an object with `"__t":"c"` in desired or reported properties | a component |
//! | a reported property | a property, with `lastUpdateTime` in `$metadata` |
//! | a reported property `{"value":v,"ac":200,"av":4,"ad":"ok"}` | a property `v`, with `ackCode`, `ackVersion`, `ackDescription` |
//! | a desired property | `desiredValue` and `desiredVersion` in `$metadata` |
//!
//! A JSON patch of it is a patch of the desired properties.
//!
//! Source: the guide on digital twins, and on the conventions of IoT Plug and Play.

mod changes;
mod patch;
#[cfg(test)]
mod tests;
mod view;

pub use self::changes::digital_changes;
pub use self::patch::{DigitalPatch, DigitalPatchError};

/// What says that an object is a component.
const MARKER: &str = "__t";
