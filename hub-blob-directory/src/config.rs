//! How a directory of files is served.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use hub_core::engine::{Clock, SystemClock};
use hub_core::security::SymmetricKey;

/// How a directory of files is served. All bounds of this crate are here.
#[derive(Clone)]
#[non_exhaustive]
pub struct BlobDirectoryConfig {
    /// Where clients reach the router: `https://host` or `https://host:port`, without a slash at its
    /// end. Stock SDKs of devices use `https` whatever stands here.
    pub base_url: String,
    /// The first segment of every path. By default `uploads`.
    pub container: String,
    /// The account's name in signatures. By default `hub`.
    pub account: String,
    /// The account's key. By default it is generated once, and kept in the directory.
    pub key: Option<SymmetricKey>,
    /// Largest blob, and most bytes that wait for a block list for one blob. By default 16 GiB.
    pub blob_bytes_max: u64,
    /// Largest block. By default 100 MiB; the clients' own default is 4 MiB.
    pub block_bytes_max: u64,
    /// Most blocks that wait for a block list for one blob. By default 50,000, as many as a blob may
    /// have.
    pub staged_blocks_max: u64,
    /// Most blobs and blocks that are written at once; beyond it clients are told to come again. By
    /// default 64. Each takes half a mebibyte of memory.
    pub writes_max: usize,
    /// Most block lists that are carried out at once; others wait. By default 4. Each takes some ten
    /// mebibytes of memory if it is as long as may be.
    pub lists_max: usize,
    /// Longest silence of a client in the middle of a body. By default a minute.
    pub idle_timeout: Duration,
    /// Longest time for the body of one request. By default an hour.
    pub request_timeout: Duration,
    /// The clock that signatures expire by. By default the machine's. Times of files are always the
    /// machine's.
    pub clock: Arc<dyn Clock>,
}

impl BlobDirectoryConfig {
    /// The defaults, for a router that clients reach under this URL.
    pub fn new(base_url: impl Into<String>) -> Self {
        Self {
            base_url: base_url.into(),
            container: "uploads".to_owned(),
            account: "hub".to_owned(),
            key: None,
            blob_bytes_max: 16 << 30,
            block_bytes_max: 100 << 20,
            staged_blocks_max: 50_000,
            writes_max: 64,
            lists_max: 4,
            idle_timeout: Duration::from_secs(60),
            request_timeout: Duration::from_secs(3600),
            clock: Arc::new(SystemClock),
        }
    }
}

impl fmt::Debug for BlobDirectoryConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobDirectoryConfig")
            .field("base_url", &self.base_url)
            .field("container", &self.container)
            .field("account", &self.account)
            .field("blob_bytes_max", &self.blob_bytes_max)
            .field("block_bytes_max", &self.block_bytes_max)
            .finish_non_exhaustive()
    }
}

/// Why a directory of files cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The directory cannot be made, read or written.
    #[error("the directory of files cannot be used")]
    Io(#[from] std::io::Error),
    /// A setting that cannot work: which, and why.
    #[error("setting {0}: {1}")]
    Setting(&'static str, &'static str),
    /// The key in the directory is none.
    #[error("the key in the directory of files is damaged")]
    Key(#[from] hub_core::security::KeyError),
}

pub(crate) fn check(config: &BlobDirectoryConfig) -> Result<(), OpenError> {
    let host = config.base_url.split_once("://").map_or("", |(_, host)| host);
    if host.is_empty() || host.contains(['/', '?', '#', ' ']) {
        return Err(OpenError::Setting("base_url", "must be scheme://host or scheme://host:port"));
    }
    // Azure's rule; it also keeps the path of the router literal.
    let plain = |name: &str| {
        name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    if !(3..=63).contains(&config.container.len()) || !plain(&config.container) {
        return Err(OpenError::Setting(
            "container",
            "must have 3 to 63 lower-case letters, digits and hyphens",
        ));
    }
    if config.account.is_empty() || !plain(&config.account) {
        return Err(OpenError::Setting("account", "must be lower-case letters and digits"));
    }
    if config.writes_max == 0 || config.lists_max == 0 {
        return Err(OpenError::Setting("writes_max", "must not be zero"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_cannot_work_are_refused() {
        let wrong = |change: fn(&mut BlobDirectoryConfig)| {
            let mut config = BlobDirectoryConfig::new("https://localhost:8443");
            change(&mut config);
            match check(&config) {
                Err(OpenError::Setting(name, _)) => name,
                _ => "",
            }
        };
        assert_eq!(wrong(|_| {}), "");
        assert_eq!(wrong(|config| config.base_url = "localhost:8443".into()), "base_url");
        assert_eq!(wrong(|config| config.base_url.push('/')), "base_url");
        assert_eq!(wrong(|config| config.container = "a".into()), "container");
        assert_eq!(wrong(|config| config.container = "../up".into()), "container");
        assert_eq!(wrong(|config| config.container = "{any}".into()), "container");
        assert_eq!(wrong(|config| config.account = String::new()), "account");
        assert_eq!(wrong(|config| config.lists_max = 0), "writes_max");
    }
}
