//! The user name of a CONNECT.
//!
//! ```text
//! {hubHostName}/{deviceId}[/{moduleId}]/[?]api-version={ver}[&DeviceClientType={…}][&model-id={…}]
//! ```
//!
//! SDKs and hand-written clients differ in what they leave out: the `?`, the last `/`, or all
//! parameters. Ids are never encoded; parameters are. Parameters come in any order, unknown ones
//! (`auth-chain`) mean nothing, and of duplicates the first counts.

use hub_core::id::{Address, IdError};

use crate::bag::percent_decode;

/// What a user name says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Username {
    /// The hub's host name. The Node SDK sends the port of its connection string with it.
    pub host: String,
    /// Who connects.
    pub address: Address,
    /// The version of the wire API it was written for. The hub serves all of them alike.
    pub api_version: Option<String>,
    /// What client it says it is (`DeviceClientType`).
    pub client: Option<String>,
    /// The model it announces (`model-id`).
    pub model: Option<String>,
}

/// Why a text is no user name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UsernameError {
    /// It names no host, or no device.
    #[error("user name is not host/device")]
    Shape,
    /// An id in it is not valid.
    #[error("user name holds a bad id")]
    Id(#[from] IdError),
    /// A parameter is longer than [`PARAMETER_MAX`].
    #[error("parameter of the user name is too long")]
    ParameterLength,
}

/// Longest value of a parameter, in bytes. The hub keeps them as long as the connection lasts, and
/// stamps the model on every message.
pub const PARAMETER_MAX: usize = 2048;

impl Username {
    /// Reads a user name.
    ///
    /// # Errors
    /// [`UsernameError`] when it names no host or device, when an id is not valid, or when a
    /// parameter is too long.
    pub fn parse(text: &str) -> Result<Self, UsernameError> {
        let (host, rest) = text.split_once('/').ok_or(UsernameError::Shape)?;
        let (device, rest) = rest.split_once('/').unwrap_or((rest, ""));
        if host.is_empty() || device.is_empty() {
            return Err(UsernameError::Shape);
        }
        // Values may hold a raw `/`, so the query is whatever follows, not another segment.
        let (address, query) = if rest.is_empty() || is_query(rest) {
            (Address::parse(device)?, rest)
        } else {
            let (module, query) = rest.split_once('/').unwrap_or((rest, ""));
            (Address::parse(&format!("{device}/{module}"))?, query)
        };
        let query = query.strip_prefix('?').unwrap_or(query);
        let parameter = |wanted: &str| {
            let mut all = query.split('&');
            let value = all.find_map(|p| p.strip_prefix(wanted)?.strip_prefix('=')).unwrap_or("");
            let mut decoded = String::with_capacity(value.len());
            percent_decode(value, &mut decoded);
            match decoded.len() {
                0 => Ok(None),
                1..=PARAMETER_MAX => Ok(Some(decoded)),
                _ => Err(UsernameError::ParameterLength),
            }
        };
        Ok(Self {
            host: host.to_owned(),
            address,
            api_version: parameter("api-version")?,
            client: parameter("DeviceClientType")?,
            model: parameter("model-id")?,
        })
    }
}

fn is_query(text: &str) -> bool {
    text.starts_with('?')
        || text.starts_with("api-version=")
        || text.starts_with("DeviceClientType=")
        || text.starts_with("model-id=")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(
        text: &str,
        (host, address): (&str, &str),
        [version, client, model]: [Option<&str>; 3],
    ) {
        let found = Username::parse(text).unwrap();
        assert_eq!((found.host.as_str(), found.address.as_str()), (host, address));
        assert_eq!(found.api_version.as_deref(), version, "{text}");
        assert_eq!(found.client.as_deref(), client, "{text}");
        assert_eq!(found.model.as_deref(), model, "{text}");
    }

    #[test]
    fn the_shapes_of_the_sdks_are_read() {
        check(
            "localhost/d1/?api-version=2019-10-01&DeviceClientType=azure-iot-device-iothub-py%2F2.14.0%283.11%3B%29",
            ("localhost", "d1"),
            [Some("2019-10-01"), Some("azure-iot-device-iothub-py/2.14.0(3.11;)"), None],
        );
        check(
            "localhost/d1/?api-version=2020-09-30&DeviceClientType=x&model-id=dtmi%3Acom%3Aexample%3AThermostat%3B1",
            ("localhost", "d1"),
            [Some("2020-09-30"), Some("x"), Some("dtmi:com:example:Thermostat;1")],
        );
        check(
            "h:18883/n1/?api-version=2021-04-12&model-id=dtmi:com:example:Thermostat;1&DeviceClientType=azure-iot-device%2F1.18.4%20(node%3B%20x64)",
            ("h:18883", "n1"),
            [
                Some("2021-04-12"),
                Some("azure-iot-device/1.18.4 (node; x64)"),
                Some("dtmi:com:example:Thermostat;1"),
            ],
        );
        check(
            "h/d/m/?api-version=2020-09-30&DeviceClientType=iothubclient%2f1.x%20(native%3b)&auth-chain=a%3bb",
            ("h", "d/m"),
            [Some("2020-09-30"), Some("iothubclient/1.x (native;)"), None],
        );
    }

    #[test]
    fn old_and_hand_written_shapes_are_read() {
        let version = Some("2016-11-14");
        let both = [version, Some("a/b c"), None];
        check("h/d/api-version=2016-11-14&DeviceClientType=a%2Fb%20c", ("h", "d"), both);
        check("h/d/DeviceClientType=a/b%20c&api-version=2016-11-14", ("h", "d"), both);
        check("h/d/m/api-version=2016-11-14", ("h", "d/m"), [version, None, None]);
        check("h/d/m/?api-version=2016-11-14", ("h", "d/m"), [version, None, None]);
        check("h/d", ("h", "d"), [None; 3]);
        check("h/d/", ("h", "d"), [None; 3]);
        check("h/d/m", ("h", "d/m"), [None; 3]);
        check("h/d/?api-version=1&api-version=2", ("h", "d"), [Some("1"), None, None]);
        check("h/d/?model-id=&x", ("h", "d"), [None; 3]);
        check("H.example:443/a?b@c/?x=y", ("H.example:443", "a?b@c"), [None; 3]);
    }

    #[test]
    fn what_names_nobody_is_refused() {
        for text in ["", "h", "h/", "/d", "/", "//"] {
            assert_eq!(Username::parse(text), Err(UsernameError::Shape), "{text}");
        }
        let long = format!("h/d/?model-id={}", "x".repeat(PARAMETER_MAX + 1));
        assert_eq!(Username::parse(&long), Err(UsernameError::ParameterLength));
        for text in ["h/d d", "h/d/m m/?x", "h/é", "h/d//?api-version=1"] {
            assert!(matches!(Username::parse(text), Err(UsernameError::Id(_))), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_user_name_or_is_not(text in ".{0,100}") {
            let _ = Username::parse(&text);
        }

        #[test]
        fn ids_come_back(
            device in "[a-zA-Z0-9@=,:;*!'()$%_#+.-]{1,20}",
            module in prop::option::of("[a-zA-Z0-9@,:;*!'()$%_#+.-]{1,20}"),
            tail in prop_oneof![Just("/?api-version=2021-04-12"), Just("/api-version=2021-04-12")],
        ) {
            let address = module.map_or(device.clone(), |module| format!("{device}/{module}"));
            let found = Username::parse(&format!("host/{address}{tail}")).unwrap();
            prop_assert_eq!(found.address.as_str(), address);
            prop_assert_eq!(found.api_version.as_deref(), Some("2021-04-12"));
        }
    }
}
