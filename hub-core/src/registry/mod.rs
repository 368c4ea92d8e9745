//! The identities of devices and modules, and the rules of changing them.
//!
//! - [`Identity`]: what is registered, as the store keeps it.
//! - [`IdentitySpec`]: what a client may ask for, with names instead of JSON.
//! - [`put`], [`create`], [`update`], [`check_delete`]: the decisions, pure. They make identities;
//!   whoever calls them writes those to the store, guarded by what was read.
//! - [`IfMatch`], [`DeviceScope`]: the two small grammars they rest on.

mod body;
#[cfg(test)]
mod fixtures;
mod identity;
mod rules;
mod scope;
mod spec;

pub use self::body::DecodeError;
pub use self::identity::{Identity, Status};
pub use self::rules::{
    Context, IDENTITY_KEY_BYTES_MIN, IfMatch, check_delete, check_module_parent, create,
    edge_runtime, put, update,
};
pub use self::scope::DeviceScope;
pub use self::spec::{AuthenticationSpec, IdentitySpec, MANAGED_BY_LENGTH_MAX};
