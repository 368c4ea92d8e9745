use proptest::prelude::*;

use super::*;
use crate::error::ErrorKind;
use crate::registry::fixtures::*;
use crate::registry::{Context, create, update};

#[test]
fn a_scope_prints_and_parses_back() {
    let text = "ms-azure-iot-edge://edge-1-637121074930370650";
    let scope = DeviceScope::parse(text).unwrap();
    assert_eq!((scope.device.as_str(), scope.generation), ("edge-1", 637_121_074_930_370_650));
    assert_eq!(scope.to_string(), text);
    for bad in [
        "",
        "edge-1",
        "ms-azure-iot-edge://edge",
        "ms-azure-iot-edge://-1",
        "ms-azure-iot-edge://e-",
        "ms-azure-iot-edge://e-+1",
        "ms-azure-iot-edge://e-99999999999999999999",
        "ms-azure-iot-edge://a/b-1",
    ] {
        assert_eq!(DeviceScope::parse(bad), None, "{bad}");
    }
}

/// Wishes about scopes: whether it is an edge device, its scope, its parents.
fn scopes(
    text: &str,
    edge: Option<bool>,
    own: Option<&str>,
    parents: Option<&[&str]>,
) -> IdentitySpec {
    IdentitySpec {
        iot_edge: edge,
        device_scope: own.map(str::to_owned),
        parent_scopes: parents.map(|all| all.iter().map(|one| (*one).to_owned()).collect()),
        ..spec(text)
    }
}

fn seen(identity: &Identity) -> (Option<&str>, Vec<&str>) {
    (identity.device_scope(), identity.parent_scopes().collect())
}

#[test]
fn an_edge_device_gets_its_own_scope_and_keeps_it() {
    let one = edge("e1");
    let own = format!("ms-azure-iot-edge://e1-{}", NOW.as_ticks());
    assert_eq!(seen(&one), (Some(own.as_str()), vec![]));
    for echo in [None, Some(own.as_str()), Some("")] {
        let after = change(&one, &scopes("e1", Some(true), echo, Some(&[]))).unwrap();
        assert_eq!(seen(&after), seen(&one));
    }
    let two = edge("e2");
    let edges = [&two];
    let context = Context { edges: &edges, ..context(&[1; 64]) };
    let other = scopes("e1", None, two.device_scope(), None);
    refused(update(&one, &other, None, &context), ErrorKind::ArgumentInvalid);
}

#[test]
fn a_child_edge_device_has_its_parent_and_its_own_scope() {
    let parent = edge("e1");
    let edges = [&parent];
    let context = Context { edges: &edges, ..context(&[1; 64]) };
    let scope = parent.device_scope().unwrap();
    let own = format!("ms-azure-iot-edge://e2-{}", NOW.as_ticks());
    for wish in [
        scopes("e2", Some(true), None, Some(&[scope])),
        scopes("e2", Some(true), Some(scope), None),
        scopes("e2", Some(true), Some(scope), Some(&[scope])),
    ] {
        let child = create(&wish, &context).unwrap();
        assert_eq!(seen(&child), (Some(own.as_str()), vec![scope]));
        // Read, change nothing, send back.
        let (own, parents) = seen(&child);
        let echo = scopes("e2", Some(true), own, Some(&parents));
        assert_eq!(seen(&update(&child, &echo, None, &context).unwrap()), seen(&child));
        let alone = scopes("e2", Some(true), own, Some(&[]));
        assert_eq!(seen(&update(&child, &alone, None, &context).unwrap()), (own, vec![]));
        // No edge device any more: it stands behind its parent like any other.
        let leaf = scopes("e2", Some(false), own, Some(&parents));
        let leaf = update(&child, &leaf, None, &context).unwrap();
        assert_eq!(seen(&leaf), (Some(scope), vec![scope]));
        // And back: the scope that it had as a leaf is its parent's.
        let (leaf_scope, parents) = seen(&leaf);
        let again = scopes("e2", Some(true), leaf_scope, Some(&parents));
        assert_eq!(seen(&update(&leaf, &again, None, &context).unwrap()), seen(&child));
    }
}

#[test]
fn a_leaf_has_its_parents_scope_in_both_places() {
    let (one, two) = (edge("e1"), edge("e2"));
    let edges = [&one, &two];
    let context = Context { edges: &edges, ..context(&[1; 64]) };
    let (first, second) = (one.device_scope().unwrap(), two.device_scope().unwrap());
    for wish in [
        scopes("d1", None, Some(first), None),
        scopes("d1", None, Some(first), Some(&[])),
        scopes("d1", None, Some(first), Some(&[first])),
        scopes("d1", None, None, Some(&[first])),
    ] {
        let leaf = create(&wish, &context).unwrap();
        assert_eq!(seen(&leaf), (Some(first), vec![first]));
        let same = |wish: IdentitySpec| {
            assert_eq!(seen(&update(&leaf, &wish, None, &context).unwrap()), seen(&leaf));
        };
        same(scopes("d1", None, None, None));
        same(scopes("d1", None, Some(first), Some(&[first])));
        // Either place moves it.
        for wish in [
            scopes("d1", None, Some(second), Some(&[first])),
            scopes("d1", None, Some(first), Some(&[second])),
            scopes("d1", None, Some(second), Some(&[second])),
        ] {
            let moved = update(&leaf, &wish, None, &context).unwrap();
            assert_eq!(seen(&moved), (Some(second), vec![second]));
        }
        for wish in
            [scopes("d1", None, Some(""), Some(&[first])), scopes("d1", None, None, Some(&[]))]
        {
            assert_eq!(seen(&update(&leaf, &wish, None, &context).unwrap()), (None, vec![]));
        }
        let unclear = scopes("d1", None, Some(second), Some(&[]));
        refused(update(&leaf, &unclear, None, &context), ErrorKind::ArgumentInvalid);
    }
}

#[test]
fn a_scope_must_be_that_of_an_edge_device() {
    let (parent, leaf) = (edge("e1"), device("d2", 1));
    let edges = [&parent, &leaf];
    let context = Context { edges: &edges, ..context(&[1; 64]) };
    let scope = parent.device_scope().unwrap();
    let ticks = NOW.as_ticks();
    for bad in [
        "no scope",
        &format!("ms-azure-iot-edge://e1-{}", ticks + 1),
        &format!("ms-azure-iot-edge://e9-{ticks}"),
        &format!("ms-azure-iot-edge://d2-{ticks}"),
        &format!("ms-azure-iot-edge://d1-{ticks}"),
    ] {
        let wish = scopes("d1", None, Some(bad), None);
        refused(create(&wish, &context), ErrorKind::ArgumentInvalid);
        refused(update(&device("d1", 1), &wish, None, &context), ErrorKind::ArgumentInvalid);
        let wish = scopes("e3", Some(true), None, Some(&[bad]));
        refused(create(&wish, &context), ErrorKind::ArgumentInvalid);
    }
    let twice = scopes("d1", None, None, Some(&[scope, scope]));
    refused(create(&twice, &context), ErrorKind::ArgumentInvalid);
    let own = scopes("e1", Some(true), None, Some(&[scope]));
    refused(update(&parent, &own, None, &context), ErrorKind::ArgumentInvalid);
    let module = scopes("d1/m1", None, Some(scope), None);
    refused(create(&module, &context), ErrorKind::ArgumentInvalid);
    // A parent that is gone stays named until somebody names another.
    let child = create(&scopes("d1", None, Some(scope), None), &context).unwrap();
    let echo = scopes("d1", None, Some(scope), Some(&[scope]));
    assert!(change(&child, &echo).is_ok());
    let wish = scopes("d1", None, Some(scope), Some(&["no scope", scope]));
    assert_eq!(wish.edges_named().collect::<Vec<_>>(), [address("e1"), address("e1")]);
}

proptest! {
    #[test]
    fn no_scope_text_panics(text in "(ms-azure-iot-edge://)?\\PC{0,40}") {
        if let Some(scope) = DeviceScope::parse(&text) {
            prop_assert_eq!(DeviceScope::parse(&scope.to_string()), Some(scope));
        }
    }
}
