use super::*;
use hub_core::blob::BlobName;
use hub_core::id::DeviceId;

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
const LATER: Timestamp = Timestamp::from_millis(1_800_003_600_000);

fn account() -> Account {
    let key = SymmetricKey::from_base64("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").unwrap();
    Account { name: "hub".into(), container: "uploads".into(), key }
}

fn blob(name: &str) -> BlobName {
    BlobName::new(&DeviceId::new("d1").unwrap(), name).unwrap()
}

fn verify(query: &str, name: &str, now: Timestamp) -> Result<Rights, Denied> {
    let name = blob(name);
    account().verify(Query(query.trim_start_matches('?')), Resource::Blob(name.as_str()), now)
}

fn signed(permissions: &str) -> String {
    account().sign(Resource::Blob("d1/a b"), permissions, LATER)
}

#[test]
fn a_signature_is_for_one_blob_until_its_expiry() {
    let query = signed("rw");
    let rights = Rights { read: true, create: false, write: true, delete: false };
    assert_eq!(verify(&query, "a b", NOW), Ok(rights));
    assert_eq!(verify(&query, "a", NOW), Err(Denied::Signature));
    assert_eq!(verify(&query, "a b/c", NOW), Err(Denied::Signature));
    let before = Timestamp::from_millis(LATER.as_millis() - 1);
    assert_eq!(verify(&query, "a b", before), Ok(rights));
    assert_eq!(verify(&query, "a b", LATER), Err(Denied::Time));
}

#[test]
fn every_signed_field_counts() {
    let query = signed("r");
    for (from, to) in [
        ("sp=r", "sp=rw"),
        ("se=2027", "se=2028"),
        ("sv=2020-12-06", "sv=2021-12-06"),
        ("sv=2020-12-06", "sv=2019-12-12"),
        ("sig=", "sig=AA"),
        ("&sp=", "&st=2020-01-01T00%3A00%3A00Z&sp="),
    ] {
        assert!(query.contains(from), "{query}");
        let other = query.replace(from, to);
        let denied = verify(&other, "a b", NOW).unwrap_err();
        assert!(matches!(denied, Denied::Signature | Denied::Malformed("sig")), "{to}: {denied}");
    }
    let mut other = account();
    other.key = SymmetricKey::generate(&[9; 32]);
    assert_eq!(
        other.verify(Query(query.trim_start_matches('?')), Resource::Blob("d1/a b"), NOW),
        Err(Denied::Signature)
    );
    other = account();
    other.container = "other".into();
    assert_eq!(
        other.verify(Query(query.trim_start_matches('?')), Resource::Blob("d1/a b"), NOW),
        Err(Denied::Signature)
    );
}

#[test]
fn what_is_not_served_is_refused_and_not_overlooked() {
    let query = signed("r");
    assert_eq!(verify("comp=block", "a b", NOW), Err(Denied::Missing));
    for (more, denied) in [
        ("&sip=10.0.0.1", Denied::Unsupported("sip")),
        ("&spr=https", Denied::Unsupported("spr")),
        ("&si=policy", Denied::Unsupported("si")),
        ("&rsct=text%2Fhtml", Denied::Unsupported("rsct")),
        ("&skoid=x", Denied::Unsupported("skoid")),
        ("&sp=rw", Denied::Malformed("sp")),
        ("&SIG=x", Denied::Malformed("sig")),
    ] {
        assert_eq!(verify(&format!("{query}{more}"), "a b", NOW), Err(denied), "{more}");
    }
    for (from, to, denied) in [
        ("sr=b", "sr=c", Denied::Unsupported("sr")),
        ("sv=2020-12-06", "sv=2015-04-05", Denied::Unsupported("sv")),
        ("sv=2020-12-06", "sv=latest", Denied::Malformed("sv")),
        ("sv=2020-12-06&", "", Denied::Malformed("sv")),
        ("sp=r", "sp=r%0A", Denied::Malformed("sp")),
        ("sp=r", "sp=", Denied::Malformed("sp")),
        ("se=2027", "se=soon", Denied::Malformed("se")),
    ] {
        assert_eq!(verify(&query.replace(from, to), "a b", NOW), Err(denied), "{to}");
    }
}

/// Made by `azure.storage.blob.generate_blob_sas` 12.31.1: account `hub`, container `uploads`, blob
/// `d1/a b`, this key, permissions `r`, start and expiry as they stand.
#[test]
fn a_signature_of_the_stock_sdk_is_good() {
    let made = include_str!("../tests/stock-sas.txt").trim();
    let rights = Rights { read: true, create: false, write: false, delete: false };
    assert_eq!(verify(made, "a b", NOW), Ok(rights));
    assert_eq!(verify(made, "a c", NOW), Err(Denied::Signature));
}

#[test]
fn a_signature_of_a_folder_is_for_what_is_in_it() {
    let query = account().sign(Resource::Folder("~service/in"), "rw", LATER);
    assert!(query.contains("&sr=d&sdd=2&"), "{query}");
    let of = |resource| account().verify(Query(query.trim_start_matches('?')), resource, NOW);
    let rights = Rights { read: true, create: false, write: true, delete: false };
    for inside in ["~service/in/a", "~service/in/a b/c"] {
        assert_eq!(of(Resource::Blob(inside)), Ok(rights), "{inside}");
    }
    for folder in ["~service/in", "~service/in/deeper"] {
        assert_eq!(of(Resource::Folder(folder)), Ok(rights), "{folder}");
    }
    for outside in ["~service/in", "~service/inside/a", "~service/other/a", "~service/a", "d1/in/a"]
    {
        assert_eq!(of(Resource::Blob(outside)), Err(Denied::Signature), "{outside}");
    }
    for outside in ["~service", "~service/other", "~service/inside"] {
        assert_eq!(of(Resource::Folder(outside)), Err(Denied::Signature), "{outside}");
    }
    // One for a blob says nothing of a folder.
    let query = account().sign(Resource::Blob("~service/in"), "rw", LATER);
    let of = account().verify(
        Query(query.trim_start_matches('?')),
        Resource::Folder("~service/in"),
        NOW,
    );
    assert_eq!(of, Err(Denied::Unsupported("sr")));
}

#[test]
fn the_depth_of_a_folder_counts() {
    let query = account().sign(Resource::Folder("~service/in"), "rw", LATER);
    let of = |to: &str| {
        let query = query.replace("sdd=2", to);
        let query = Query(query.trim_start_matches('?'));
        account().verify(query, Resource::Blob("~service/in/a/b"), NOW)
    };
    for (to, denied) in [
        ("sdd=1", Denied::Signature),
        ("sdd=3", Denied::Signature),
        ("sdd=4", Denied::Signature),
        ("sdd=99999999999999999999", Denied::Malformed("sdd")),
        ("sdd=0", Denied::Malformed("sdd")),
        ("sdd=-1", Denied::Malformed("sdd")),
        ("x=2", Denied::Malformed("sdd")),
        ("sdd=2&sdd=3", Denied::Malformed("sdd")),
    ] {
        assert_eq!(of(to), Err(denied), "{to}");
    }
}
