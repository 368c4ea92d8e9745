//! Who may do what. Pure: time is an argument here too.
//!
//! - [`SymmetricKey`], [`SharedAccessSignature`] and [`sign`]: the tokens that devices and services
//!   show, and the keys behind them.
//! - [`Resource`] and [`HubNames`]: what a token is for.
//! - [`Rights`], [`Policy`] and [`Policies`]: what the holder of a shared access policy may do.
//! - [`Thumbprint`] and the certificate rules.
//! - [`admit_device`], [`admit_service`] and [`still_valid`]: the decisions.
//! - [`ConnectionString`]: how a key is handed to its user.

mod admission;
mod authentication;
mod connection;
#[cfg(test)]
mod fixtures;
mod key;
mod percent;
mod policy;
mod principal;
mod resource;
mod sas;
mod x509;

pub use self::admission::{
    Registered, admit_device, admit_service, device_still_valid, still_valid,
};
pub use self::authentication::{Authentication, AuthenticationKind};
pub use self::connection::{ConnectionString, ConnectionStringError};
pub use self::key::{KEY_BYTES, KeyError, KeyForm, SymmetricKey};
pub use self::policy::{POLICIES_MAX, Policies, Policy, PolicyError, Right, Rights, RightsError};
pub use self::principal::{Principal, Who};
pub use self::resource::{HubNames, Resource};
pub use self::sas::{SasError, SharedAccessSignature, TOKEN_BYTES_MAX, sign};
pub use self::x509::{Thumbprint, ThumbprintError};
