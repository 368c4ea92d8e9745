//! Service shared access signatures of blobs: made, taken apart, verified.
//!
//! They are the ones of Azure Storage ("Create a service SAS"), of the versions 2018-11-09 and later,
//! for one blob (`sr=b`), or from 2020-02-10 on for what is in a folder (`sr=d`, `sdd` parts deep):
//! whoever has the account key can make them with any storage SDK. The string
//! that is signed has a line for every field; those that would restrict or change something that is
//! not done here (addresses, protocols, stored policies, snapshots, headers of the answer) are
//! refused, so that a signature never allows more than its maker meant.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use hub_core::security::{KeyForm, SymmetricKey};
use hub_core::time::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::Sha256;

use crate::query::Query;

/// The version of the signatures that are made here.
const VERSION: &str = "2020-12-06";
/// The oldest version whose form is known.
const VERSION_MIN: &str = "2018-11-09";
/// The first version that has folders.
const VERSION_FOLDERS: &str = "2020-02-10";
/// The first version that signs an encryption scope.
const VERSION_SCOPED: &str = "2020-12-06";

/// What stays as it is in a query.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// What a signature allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rights {
    pub(crate) read: bool,
    pub(crate) create: bool,
    pub(crate) write: bool,
    pub(crate) delete: bool,
}

impl Rights {
    fn of(letters: &str) -> Self {
        let has = |letter| letters.contains(letter);
        Self { read: has('r'), create: has('c'), write: has('w'), delete: has('d') }
    }
}

/// Why a request is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denied {
    /// No signature.
    Missing,
    /// Of a kind that is not served here; which field says so.
    Unsupported(&'static str),
    /// A field is missing, twice there, or not of its form.
    Malformed(&'static str),
    /// Not signed with the account's key for this blob.
    Signature,
    /// Not valid any more, or not yet.
    Time,
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("the query has no signature"),
            Self::Unsupported(field) => write!(f, "{field} of the signature is not served here"),
            Self::Malformed(field) => write!(f, "{field} of the signature is not of its form"),
            Self::Signature => {
                f.write_str("the signature is not one of this account for this blob")
            }
            Self::Time => f.write_str("the signature is not valid in the specified time frame"),
        }
    }
}

/// Whose signatures they are.
pub(crate) struct Account {
    pub(crate) name: String,
    pub(crate) container: String,
    pub(crate) key: SymmetricKey,
}

/// What a signature is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resource<'a> {
    /// One blob, by its name.
    Blob(&'a str),
    /// What is in a folder and in those below, by its name.
    Folder(&'a str),
}

impl<'a> Resource<'a> {
    /// What `sr` says, and the name.
    fn parts(self) -> (&'static str, &'a str) {
        match self {
            Self::Blob(name) => ("b", name),
            Self::Folder(name) => ("d", name),
        }
    }
}

/// The first so many parts of a name, if it has as many.
fn first_parts(name: &str, count: usize) -> Option<&str> {
    let mut ends = name.match_indices('/').map(|(at, _)| at).chain([name.len()]);
    name.get(..ends.nth(count.checked_sub(1)?)?)
}

/// The fields that are signed.
struct Fields<'a> {
    permissions: &'a str,
    start: &'a str,
    expiry: &'a str,
    version: &'a str,
}

impl Account {
    fn mac(&self, fields: &Fields<'_>, resource: Resource<'_>) -> Option<Hmac<Sha256>> {
        let Fields { permissions, start, expiry, version } = fields;
        let (kind, name) = resource.parts();
        let (account, container) = (&self.name, &self.container);
        let scope = if *version >= VERSION_SCOPED { "\n" } else { "" };
        // Permissions, start, expiry, resource; identifier, addresses, protocols; version, kind of
        // resource, snapshot, encryption scope; five headers of the answer.
        let text = format!(
            "{permissions}\n{start}\n{expiry}\n/blob/{account}/{container}/{name}\n\n\n\n\
             {version}\n{kind}\n{scope}\n\n\n\n\n"
        );
        let mut mac = Hmac::<Sha256>::new_from_slice(self.key.material(KeyForm::Decoded)).ok()?;
        mac.update(text.as_bytes());
        Some(mac)
    }

    /// The query, with its question mark, that allows `permissions` until `expiry`, which is written
    /// in whole seconds.
    pub(crate) fn sign(
        &self,
        resource: Resource<'_>,
        permissions: &str,
        expiry: Timestamp,
    ) -> String {
        let stamp = expiry.to_string();
        let expiry = format!("{}Z", stamp.get(..19).unwrap_or(""));
        let fields = Fields { permissions, start: "", expiry: &expiry, version: VERSION };
        let signature = self
            .mac(&fields, resource)
            .map(|mac| BASE64_STANDARD.encode(mac.finalize().into_bytes()))
            .unwrap_or_default();
        let escape = |text| utf8_percent_encode(text, ESCAPED).to_string();
        let (expiry, signature) = (escape(&expiry), escape(&signature));
        let (kind, name) = resource.parts();
        let depth = match resource {
            Resource::Blob(_) => String::new(),
            Resource::Folder(_) => format!("&sdd={}", name.split('/').count()),
        };
        format!("?sv={VERSION}&sr={kind}{depth}&sig={signature}&se={expiry}&sp={permissions}")
    }

    /// What the query allows on a blob, or on a folder, now. One for a folder allows the same on what
    /// is in it.
    ///
    /// # Errors
    /// [`Denied`]. The signature is looked at before the time, so that nothing is told of the time
    /// to whoever has no signature.
    pub(crate) fn verify(
        &self,
        query: Query<'_>,
        wanted: Resource<'_>,
        now: Timestamp,
    ) -> Result<Rights, Denied> {
        let signature = field(query, "sig")?.ok_or(Denied::Missing)?;
        let required = |name: &'static str| field(query, name)?.ok_or(Denied::Malformed(name));
        let version = required("sv")?;
        let dated = version.len() == 10
            && version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
        if !dated {
            return Err(Denied::Malformed("sv"));
        }
        if version.as_str() < VERSION_MIN {
            return Err(Denied::Unsupported("sv"));
        }
        let (_, name) = wanted.parts();
        let resource = match (required("sr")?.as_str(), wanted) {
            ("b", Resource::Blob(_)) => wanted,
            ("d", _) if version.as_str() >= VERSION_FOLDERS => {
                let depth: usize = required("sdd")?.parse().unwrap_or(0);
                if depth == 0 {
                    return Err(Denied::Malformed("sdd"));
                }
                // A blob lies in a folder, and is none.
                let own = usize::from(matches!(wanted, Resource::Blob(_)));
                let folder = first_parts(name, depth)
                    .filter(|_| depth + own <= name.split('/').count())
                    .ok_or(Denied::Signature)?;
                Resource::Folder(folder)
            }
            _ => return Err(Denied::Unsupported("sr")),
        };
        // Of a delegation key: the account's signs no such fields.
        for name in ["si", "sip", "spr", "ses", "rscc", "rscd", "rsce", "rscl", "rsct", "skoid"] {
            if field(query, name)?.is_some() {
                return Err(Denied::Unsupported(name));
            }
        }
        let (permissions, expiry) = (required("sp")?, required("se")?);
        let start = field(query, "st")?;
        let until = Timestamp::parse(&expiry).ok_or(Denied::Malformed("se"))?;
        let from = match &start {
            None => Timestamp::ZERO,
            Some(start) => Timestamp::parse(start).ok_or(Denied::Malformed("st"))?,
        };
        let fields = Fields {
            permissions: &permissions,
            start: start.as_deref().unwrap_or(""),
            expiry: &expiry,
            version: &version,
        };
        let given = BASE64_STANDARD.decode(&signature).map_err(|_| Denied::Malformed("sig"))?;
        let signed =
            self.mac(&fields, resource).is_some_and(|mac| mac.verify_slice(&given).is_ok());
        if !signed {
            return Err(Denied::Signature);
        }
        if now < from || now >= until {
            return Err(Denied::Time);
        }
        Ok(Rights::of(&permissions))
    }
}

/// A field, if it is there and not empty. Twice there, a proxy could read another one of them; and a
/// line feed in it would move what is signed into the next line.
fn field(query: Query<'_>, name: &'static str) -> Result<Option<String>, Denied> {
    let mut all = query.all(name);
    let first = all.next();
    if all.next().is_some() {
        return Err(Denied::Malformed(name));
    }
    match first {
        Some(text) if text.chars().any(char::is_control) => Err(Denied::Malformed(name)),
        Some(text) if text.is_empty() => Ok(None),
        Some(text) => Ok(Some(text.into_owned())),
        None => Ok(None),
    }
}

#[cfg(test)]
#[path = "sas_tests.rs"]
mod tests;
