//! An address that carries a right.

use std::fmt;

/// A text that is no address of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an address of a blob: it must be scheme://host/container/name?rights")]
pub struct BadAddress;

/// The URL of a blob with the right to use it in its query: `scheme://host/container/name?query`.
///
/// Whoever holds it has the right. It never prints its query; [`BlobAddress::as_str`] is the way to
/// see it.
#[derive(Clone, PartialEq, Eq)]
pub struct BlobAddress {
    url: String,
    /// Where the host begins.
    host: usize,
    /// Where the path begins, at its slash.
    path: usize,
    /// Where the name begins, behind its slash.
    name: usize,
    /// Where the query begins, at its question mark.
    query: usize,
}

impl BlobAddress {
    /// Takes a URL apart.
    ///
    /// # Errors
    /// [`BadAddress`] when it has no host, no query, or fewer than two segments in its path.
    pub fn new(url: impl Into<String>) -> Result<Self, BadAddress> {
        let url = url.into();
        let parts = || {
            let host = url.find("://")? + 3;
            let path = host + url.get(host..)?.find('/')?;
            let query = path + url.get(path..)?.find('?')?;
            let name = path + 1 + url.get(path + 1..query)?.find('/')? + 1;
            let good = path > host && name > path + 2 && query > name && query + 1 < url.len();
            good.then_some((host, path, name, query))
        };
        let (host, path, name, query) = parts().ok_or(BadAddress)?;
        Ok(Self { url, host, path, name, query })
    }

    /// The whole URL. Reveals the right.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.url
    }

    fn part(&self, from: usize, to: usize) -> &str {
        self.url.get(from..to).unwrap_or("")
    }

    /// The host, with its port if that is not the scheme's own.
    #[must_use]
    pub fn host(&self) -> &str {
        self.part(self.host, self.path)
    }

    /// The container: the first segment of the path, as it stands in the URL.
    #[must_use]
    pub fn container(&self) -> &str {
        self.part(self.path + 1, self.name - 1)
    }

    /// The name within the container, as it stands in the URL: percent-encoded.
    #[must_use]
    pub fn encoded_name(&self) -> &str {
        self.part(self.name, self.query)
    }

    /// The query with its question mark. Reveals the right.
    #[must_use]
    pub fn query(&self) -> &str {
        self.part(self.query, self.url.len())
    }

    /// The URL without its query: where the blob is, and no right to it.
    #[must_use]
    pub fn without_right(&self) -> &str {
        self.part(0, self.query)
    }
}

/// Never prints the right (T7).
impl fmt::Debug for BlobAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlobAddress(\"{}?...\")", self.without_right())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_comes_apart_and_prints_without_its_right() {
        let url = "https://localhost:8443/uploads/d1/a%20b?sv=1&sig=secret";
        let address = BlobAddress::new(url).unwrap();
        let parts = (address.host(), address.container(), address.encoded_name(), address.query());
        assert_eq!(parts, ("localhost:8443", "uploads", "d1/a%20b", "?sv=1&sig=secret"));
        assert_eq!(address.as_str(), url);
        let printed = format!("{address:?}");
        assert_eq!(printed, "BlobAddress(\"https://localhost:8443/uploads/d1/a%20b?...\")");
    }

    #[test]
    fn what_lacks_a_part_is_refused() {
        for bad in [
            "",
            "https://",
            "localhost/a/b?c",
            "https:///a/b?c",
            "https://h?a/b",
            "https://h/a?c",
            "https://h//b?c",
            "https://h/a/?c",
            "https://h/a/b",
            "https://h/a/b?",
        ] {
            assert_eq!(BlobAddress::new(bad), Err(BadAddress), "{bad}");
        }
    }
}
