//! What becomes of a twin against a naive model: every value by its whole path, in one map.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// Values by path. Objects are there by what is in them.
type Leaves = BTreeMap<Vec<String>, Value>;

fn flatten(at: &[String], value: &Value, leaves: &mut Leaves) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (name, value) in members {
                flatten(&[at, std::slice::from_ref(name)].concat(), value, leaves);
            }
        }
        value => {
            leaves.insert(at.to_vec(), value.clone());
        }
    }
}

/// Takes away what cannot be there beside a value at this path.
fn make_room(leaves: &mut Leaves, path: &[String]) {
    leaves.retain(|other, _| !other.starts_with(path) && !path.starts_with(other));
}

fn lay(leaves: &mut Leaves, over: Leaves) {
    for (path, value) in over {
        make_room(leaves, &path);
        leaves.insert(path, value);
    }
}

#[derive(Debug, Clone)]
struct Known {
    revision: u64,
    priority: u32,
    /// The tag that it targets; `None` for all.
    group: Option<u8>,
    settings: BTreeMap<String, Value>,
}

/// What the desired properties are to be.
#[derive(Debug, Default)]
struct Model {
    /// What was written by hand and is still there.
    own: Leaves,
    group: u8,
    configurations: BTreeMap<String, Known>,
}

impl Model {
    fn targeting(&self) -> Vec<(&String, &Known)> {
        let targets = |known: &Known| known.group.is_none_or(|group| group == self.group);
        let mut all: Vec<_> = self.configurations.iter().filter(|(_, k)| targets(k)).collect();
        all.sort_by_key(|(_, known)| (known.priority, known.revision));
        all
    }

    fn wins(&self, known: &Known, path: &str) -> bool {
        let all = self.targeting();
        let highest = all.iter().rev().find(|(_, other)| other.settings.contains_key(path));
        highest.is_some_and(|(_, other)| other.revision == known.revision)
    }

    fn statuses(&self) -> Value {
        let status = |known: &Known| {
            let applied = known.settings.is_empty()
                || known.settings.keys().any(|path| self.wins(known, path));
            json!({ "status": if applied { "Applied" } else { "Targeted" } })
        };
        self.targeting().into_iter().map(|(id, known)| (id.clone(), status(known))).collect()
    }

    /// The values of now. What configurations set, or take away, is nobody else's any more.
    fn desired(&mut self) -> Leaves {
        let mut over = Leaves::new();
        for (_, known) in self.targeting() {
            for (path, value) in known.settings.iter().filter(|(path, _)| self.wins(known, path)) {
                let names: Vec<String> = path.split('.').map(str::to_owned).collect();
                let mut setting = Leaves::new();
                flatten(&names, value, &mut setting);
                lay(&mut over, setting);
            }
        }
        for path in over.keys() {
            make_room(&mut self.own, path);
        }
        let mut all = self.own.clone();
        all.extend(over.into_iter().filter(|(_, value)| !value.is_null()));
        all
    }
}

#[derive(Debug, Clone)]
enum Step {
    Make {
        id: u8,
        priority: u32,
        group: Option<u8>,
        settings: BTreeMap<String, Value>,
    },
    Change {
        id: u8,
        priority: u32,
        group: Option<u8>,
    },
    Remove {
        id: u8,
    },
    Tag(u8),
    /// A value of somebody else's, where configurations set nothing.
    Own(u8, i32),
}

fn value() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        (0..5).prop_map(|n| json!(n)),
        Just(json!("x")),
        Just(json!([1, 2])),
        Just(Value::Null),
    ];
    prop_oneof![
        4 => scalar.clone(),
        2 => prop::collection::btree_map("[a-c]", scalar, 1..3).prop_map(|members| json!(members)),
    ]
}

fn settings() -> impl Strategy<Value = BTreeMap<String, Value>> {
    prop::collection::btree_map("[a-c](\\.[a-c])?", value(), 0..4).prop_map(|mut settings| {
        // Of one configuration no path leads into another.
        let paths: Vec<String> = settings.keys().cloned().collect();
        settings
            .retain(|path, _| !paths.iter().any(|other| path.starts_with(&format!("{other}."))));
        settings
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let group = || prop::option::of(0_u8..3);
    let step = prop_oneof![
        4 => (0_u8..4, 0_u32..3, group(), settings())
            .prop_map(|(id, priority, group, settings)| Step::Make { id, priority, group, settings }),
        2 => (0_u8..4, 0_u32..3, group())
            .prop_map(|(id, priority, group)| Step::Change { id, priority, group }),
        2 => (0_u8..4).prop_map(|id| Step::Remove { id }),
        3 => (0_u8..3).prop_map(Step::Tag),
        1 => (0_u8..3, 0..9).prop_map(|(at, n)| Step::Own(at, n)),
    ];
    prop::collection::vec(step, 1..25)
}

fn target_of(group: Option<u8>) -> String {
    group.map_or_else(|| "*".to_owned(), |group| format!("tags.group = {group}"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_twin_is_what_the_configurations_of_now_make_of_it(steps in steps()) {
        let (mut model, mut twin, mut revision) = (Model::default(), Twin::new(NOW), 0);
        let mut stored: BTreeMap<String, Configuration> = BTreeMap::new();
        write(&mut twin, &json!({"tags": {"group": 0}}));
        for step in steps {
            match step {
                Step::Make { id, priority, group, settings } => {
                    let name = format!("c{id}");
                    if stored.contains_key(&name) {
                        continue;
                    }
                    revision += 1;
                    let made =
                        made(&name, revision, priority, &target_of(group), &json!(settings));
                    stored.insert(name.clone(), made);
                    let known = Known { revision, priority, group, settings };
                    model.configurations.insert(name, known);
                }
                Step::Change { id, priority, group } => {
                    let name = format!("c{id}");
                    let Some(before) = stored.get_mut(&name) else { continue };
                    revision += 1;
                    let spec = ConfigurationSpec::new(before.id.clone())
                        .priority(priority)
                        .target(target_of(group));
                    let any = IfMatch::Any;
                    *before = put(Some(before), &spec, Some(&any), revision, NOW, &limits()).unwrap();
                    let known = model.configurations.get_mut(&name).unwrap();
                    (known.priority, known.group) = (priority, group);
                }
                Step::Remove { id } => {
                    let name = format!("c{id}");
                    if stored.remove(&name).is_some() {
                        revision += 1;
                        model.configurations.remove(&name);
                    }
                }
                Step::Tag(group) => {
                    write(&mut twin, &json!({"tags": {"group": group}}));
                    model.group = group;
                }
                Step::Own(at, n) => {
                    // Beside what configurations set, also inside of objects that they write to.
                    let name = format!("own{at}");
                    let inside = desired(&twin).get("a").is_some_and(Value::is_object);
                    let path = if inside && at > 0 { vec!["a".to_owned(), name] } else { vec![name] };
                    let patch = path.iter().rev().fold(json!(n), |inner, name| json!({ name: inner }));
                    write(&mut twin, &json!({"properties": {"desired": patch}}));
                    model.own.insert(path, json!(n));
                }
            }
            let all: Vec<Configuration> = stored.values().cloned().collect();
            let deployed = deployed(revision, &all);
            // A write of the twin notes what targets it; what it did not note is found.
            deployed.retarget(&device(), &mut twin, &limits());
            prop_assert_eq!(deployed.differs(&device(), &twin), twin.configured().pending);
            carry_out(&deployed, &mut twin);
            let mut found = Leaves::new();
            flatten(&[], &desired(&twin), &mut found);
            found.remove(&Vec::new());
            prop_assert_eq!(&found, &model.desired());
            prop_assert_eq!(statuses(&twin), model.statuses());
            // Once is enough, and what is stored says all.
            prop_assert!(!deployed.differs(&device(), &twin));
            let version = twin.desired_version();
            prop_assert!(!carry_out(&deployed, &mut twin));
            prop_assert_eq!(version, twin.desired_version());
            prop_assert_eq!(&Twin::decode(&twin.encode()).unwrap(), &twin);
        }
    }
}
