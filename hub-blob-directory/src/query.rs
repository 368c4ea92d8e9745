//! Paths and queries of requests.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// The query of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Query<'a>(pub(crate) &'a str);

impl<'a> Query<'a> {
    /// Every value of a parameter, decoded once. A plus is a plus: it is a digit of base64.
    pub(crate) fn all(self, name: &str) -> impl Iterator<Item = Cow<'a, str>> {
        self.0.split('&').filter_map(move |pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            key.eq_ignore_ascii_case(name).then(|| percent_decode_str(value).decode_utf8_lossy())
        })
    }

    /// The first value of a parameter.
    pub(crate) fn get(self, name: &str) -> Option<Cow<'a, str>> {
        self.all(name).next()
    }
}

/// The container and the blob that a path names: what is behind the first slash is decoded once, so
/// an escaped slash is a slash of the blob's name. `None` if it is not UTF-8 or has no blob.
pub(crate) fn container_and_blob(path: &str) -> Option<(Cow<'_, str>, Cow<'_, str>)> {
    let (container, blob) = path.strip_prefix('/')?.split_once('/')?;
    let decode = |text| percent_decode_str(text).decode_utf8().ok();
    Some((decode(container)?, decode(blob)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_in_any_order_and_decoded_once() {
        let query = Query("comp=block&blockid=YQ%3D%3D&sig=a+b%2Bc&Sig=x&se=%252F&empty");
        assert_eq!(query.get("blockid").as_deref(), Some("YQ=="));
        assert_eq!(query.all("sig").collect::<Vec<_>>(), ["a+b+c", "x"]);
        assert_eq!(query.get("se").as_deref(), Some("%2F"));
        assert_eq!(query.get("empty").as_deref(), Some(""));
        assert_eq!(query.get("none"), None);
    }

    #[test]
    fn an_escaped_slash_belongs_to_the_name() {
        let of = |path| container_and_blob(path).map(|(c, b)| (c.into_owned(), b.into_owned()));
        let some = |c: &str, b: &str| Some((c.to_owned(), b.to_owned()));
        assert_eq!(of("/uploads/d1/a%20b"), some("uploads", "d1/a b"));
        assert_eq!(of("/uploads/d1%2Fa%2Fb"), some("uploads", "d1/a/b"));
        assert_eq!(of("/uploads/d1/%2e%2e/x"), some("uploads", "d1/../x"));
        assert_eq!(of("/uploads/%252e"), some("uploads", "%2e"));
        assert_eq!(of("/uploads/%ff"), None);
        assert_eq!(of("/uploads"), None);
    }
}
