//! In which order records are carried out that come together.

use std::collections::HashMap;

use futures::{StreamExt as _, stream};

use crate::bulk::DeviceRecord;

/// When a device's records have their turn. Later ones need what earlier ones make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Wave {
    /// It stands behind no edge device.
    Free,
    /// An edge device behind another one: these are carried out one after another.
    Nested,
    /// Another device behind an edge device.
    Behind,
}

impl Wave {
    fn of(record: &DeviceRecord) -> Self {
        match (record.names_a_parent(), record.spec.iot_edge) {
            (false, _) => Self::Free,
            (true, Some(true)) => Self::Nested,
            (true, _) => Self::Behind,
        }
    }
}

/// The records of one device with their places, in the order in which they came.
struct Group<T> {
    wave: Wave,
    items: Vec<(usize, T)>,
}

/// Carries records out: those of one device in order, those of different devices at the same time, and
/// devices behind edge devices after these. Gives what became of each, in the order in which they came.
pub(super) async fn in_waves<T, O, F: Future<Output = O>>(
    items: Vec<T>,
    at_once: usize,
    record: impl Fn(&T) -> &DeviceRecord,
    work: impl Fn(T) -> F,
) -> Vec<O> {
    let count = items.len();
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut groups: Vec<Group<T>> = Vec::new();
    for (at, item) in items.into_iter().enumerate() {
        let (wave, device) = (Wave::of(record(&item)), record(&item).address().device_str());
        let place = *places.entry(device.to_owned()).or_insert(groups.len());
        match groups.get_mut(place) {
            Some(group) => {
                group.wave = group.wave.max(wave);
                group.items.push((at, item));
            }
            None => groups.push(Group { wave, items: vec![(at, item)] }),
        }
    }
    groups.sort_by_key(|group| group.wave);
    let mut done: Vec<(usize, O)> = Vec::with_capacity(count);
    let work = &work;
    for wave in [Wave::Free, Wave::Nested, Wave::Behind] {
        let rest = groups.split_off(groups.partition_point(|group| group.wave <= wave));
        let this = std::mem::replace(&mut groups, rest);
        let at_once = if wave == Wave::Nested { 1 } else { at_once.max(1) };
        let run = |group: Group<T>| async move {
            let mut outcomes = Vec::with_capacity(group.items.len());
            for (at, item) in group.items {
                outcomes.push((at, work(item).await));
            }
            outcomes
        };
        let outcomes: Vec<Vec<(usize, O)>> =
            stream::iter(this).map(run).buffer_unordered(at_once).collect().await;
        done.extend(outcomes.into_iter().flatten());
    }
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, outcome)| outcome).collect()
}
