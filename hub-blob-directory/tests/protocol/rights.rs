//! What an address allows, and what it does not.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::Method;
use hub_blob_directory::{BlobDirectory, BlobDirectoryConfig};
use hub_core::security::KeyForm;
use sha2::Sha256;

use crate::client::{HOUR, Served, served};

/// An address made by whoever has the account's key.
fn signed(served: &Served, name: &str, permissions: &str) -> String {
    let (expiry, version) = ("2030-01-01T00:00:00Z", "2019-12-12");
    let text = format!(
        "{permissions}\n\n{expiry}\n/blob/hub/uploads/{name}\n\n\n\n{version}\nb\n\n\n\n\n\n"
    );
    let key = served.files.key().material(KeyForm::Decoded);
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text.as_bytes());
    let signature = BASE64_STANDARD.encode(mac.finalize().into_bytes());
    let signature = signature.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    format!("/uploads/{name}?sv={version}&sr=b&sp={permissions}&se={expiry}&sig={signature}")
}

#[tokio::test]
async fn without_a_signature_nothing_is_told() {
    let served = served().await;
    served.written("d1/a", "one").await;
    for path in ["/uploads/d1/a", "/uploads/d1/missing", "/uploads/d1/a?comp=block&blockid=YQ=="] {
        for method in [Method::GET, Method::PUT, Method::DELETE] {
            let reply = served.send(method, path, &[], "x").await;
            reply.refuses(401, "NoAuthenticationInformation");
        }
    }
    let wrong = "/uploads/d1/missing?sv=2020-12-06&sr=b&sp=rw&se=2030-01-01T00:00:00Z&sig=AAAA";
    served.get(wrong, &[]).await.refuses(403, "AuthenticationFailed");
}

#[tokio::test]
async fn an_address_is_for_one_blob() {
    let served = served().await;
    served.written("d2/a", "theirs").await;
    let mine = served.upload("d1/a").await;
    for other in ["d2/a", "d1/b", "d1/a/b", "d1/A", "d1/a%20"] {
        let path = mine.replace("/d1/a?", &format!("/{other}?"));
        assert_ne!(path, mine);
        served.put(&path, &[], "x").await.refuses(403, "AuthenticationFailed");
        served.get(&path, &[]).await.refuses(403, "AuthenticationFailed");
        served.block(&path, "YQ==", "x").await.refuses(403, "AuthenticationFailed");
    }
    assert_eq!(served.text("d2/a").await.as_deref(), Some("theirs"));
}

#[tokio::test]
async fn an_address_ends_at_its_expiry() {
    let served = served().await;
    let path = served.upload("d1/a").await;
    served.block(&path, "YQ==", "one").await.expect(201);
    served.clock.advance(HOUR - std::time::Duration::from_millis(1));
    served.put(&path, &[], "one").await.expect(201);
    served.clock.advance(std::time::Duration::from_millis(1));
    served.put(&path, &[], "two").await.refuses(403, "AuthenticationFailed");
    served.block(&path, "YQ==", "x").await.refuses(403, "AuthenticationFailed");
    let list = [("Latest", "YQ==")];
    served.commit(&path, &[], &list).await.refuses(403, "AuthenticationFailed");
    served.get(&path, &[]).await.refuses(403, "AuthenticationFailed");
    assert_eq!(served.text("d1/a").await.as_deref(), Some("one"));
}

#[tokio::test]
async fn an_address_allows_what_it_says_and_no_more() {
    let served = served().await;
    served.written("d1/a", "one").await;
    let read = served.download("d1/a").await;
    let refused = "AuthorizationPermissionMismatch";
    served.put(&read, &[], "two").await.refuses(403, refused);
    served.block(&read, "YQ==", "two").await.refuses(403, refused);
    served.commit(&read, &[], &[]).await.refuses(403, refused);
    served.send(Method::DELETE, &read, &[], "").await.refuses(403, refused);
    // More rights than were signed.
    for more in ["rw", "rwd", "racwd"] {
        let path = read.replace("sp=r", &format!("sp={more}"));
        assert_ne!(path, read);
        served.put(&path, &[], "two").await.refuses(403, "AuthenticationFailed");
    }
    let write = signed(&served, "d1/a", "w");
    served.get(&write, &[]).await.refuses(403, refused);
    served.put(&write, &[], "two").await.expect(201);
    // Who may create may not replace.
    let create = signed(&served, "d1/a", "c");
    served.put(&create, &[], "three").await.refuses(409, "BlobAlreadyExists");
    served.put(&signed(&served, "d1/b", "c"), &[], "b").await.expect(201);
    assert_eq!(served.text("d1/a").await.as_deref(), Some("two"));
    let delete = signed(&served, "d1/a", "d");
    served.send(Method::DELETE, &delete, &[], "").await.expect(202);
    served.send(Method::DELETE, &delete, &[], "").await.refuses(404, "BlobNotFound");
}

#[tokio::test]
async fn the_key_outlives_a_restart_and_another_key_is_another_account() {
    let served = served().await;
    let again = BlobDirectory::open(served.place.path(), BlobDirectoryConfig::new("http://h"));
    assert_eq!(again.unwrap().key(), served.files.key());
    let path = served.upload("d1/a").await;
    let other = crate::client::served().await;
    other.put(&path, &[], "x").await.refuses(403, "AuthenticationFailed");
    let printed = format!("{:?}", served.files);
    assert!(!printed.contains(served.files.key().to_base64()), "{printed}");
}
