//! Where the programs are that these tests run.

use std::path::PathBuf;

/// Where cargo puts examples: beside the folder of this test's own binary.
pub(crate) fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    let profile = test.parent().and_then(|deps| deps.parent()).expect("it lies in a profile");
    let path = profile.join("examples").join(name).with_extension(std::env::consts::EXE_EXTENSION);
    assert!(path.exists(), "{} is not built; run `cargo test -p examples`", path.display());
    path
}
