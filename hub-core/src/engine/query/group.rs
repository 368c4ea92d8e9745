//! Rows that stand for many twins: aggregates and groups.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};
use sha2::{Digest as _, Sha256};

use super::order::{Key, Place};
use super::row::Row;
use crate::error::HubError;
use crate::limits::Limits;
use crate::query::{
    Aggregate, Case, Direction, Fields as _, Item, OrderKey, Path, Query, Select, Source, Value,
};

/// Gathers twins into groups.
pub(super) struct Groups<'q> {
    query: &'q Query,
    items: &'q [Item],
    /// By the text of what they have in common.
    groups: BTreeMap<String, Group>,
    groups_max: usize,
    bytes_left: usize,
}

struct Group {
    /// What its twins have in common: one value for each path of `GROUP BY`.
    common: Vec<Option<Json>>,
    /// One for each item that is an aggregate.
    sums: Vec<Sum>,
}

impl<'q> Groups<'q> {
    pub(super) fn new(query: &'q Query, limits: &Limits) -> Self {
        let items = match &query.select {
            Select::All => &[][..],
            Select::Items(items) => items,
        };
        let mut groups = Self {
            query,
            items,
            groups: BTreeMap::new(),
            groups_max: limits.query_groups_max,
            bytes_left: limits.query_groups_bytes_max,
        };
        if query.group_by.is_empty() {
            // Something is said about all twins even where there are none.
            let group = Group { common: Vec::new(), sums: groups.sums() };
            groups.groups.insert(String::new(), group);
        }
        groups
    }

    fn sums(&self) -> Vec<Sum> {
        let aggregates = self.items.iter().filter_map(|item| match &item.source {
            Source::Aggregate(aggregate, _) => Some(Sum::new(*aggregate)),
            Source::Field(_) => None,
        });
        aggregates.collect()
    }

    /// Whether nothing matters of the twins but their number.
    pub(super) fn are_a_number(&self) -> bool {
        let count = |item: &Item| matches!(item.source, Source::Aggregate(Aggregate::Count, _));
        self.query.group_by.is_empty() && self.items.iter().all(count)
    }

    /// Counts so many more twins, where nothing else matters of them.
    pub(super) fn count(&mut self, twins: u64) {
        for sum in self.groups.values_mut().flat_map(|group| &mut group.sums) {
            if let Sum::Count(count) = sum {
                *count = count.saturating_add(twins);
            }
        }
    }

    /// Counts one more twin.
    pub(super) fn add(&mut self, row: &Row<'_>) -> Result<(), HubError> {
        let common: Vec<Option<Json>> =
            self.query.group_by.iter().map(|path| row.to_json(path)).collect();
        let name = if common.is_empty() { String::new() } else { text_of(&common) };
        if !self.groups.contains_key(&name) {
            // The text, and the values it was made of.
            let bytes = name.len().saturating_mul(3);
            let left = self.bytes_left.checked_sub(bytes);
            let (Some(left), true) = (left, self.groups.len() < self.groups_max) else {
                return Err(HubError::argument(format!(
                    "the query has more than {} groups, or too many bytes of what they are made by",
                    self.groups_max.min(self.groups.len()),
                )));
            };
            self.bytes_left = left;
            let sums = self.sums();
            self.groups.insert(name.clone(), Group { common, sums });
        }
        let Some(group) = self.groups.get_mut(&name) else { return Ok(()) };
        let paths = self.items.iter().filter_map(|item| match &item.source {
            Source::Aggregate(_, path) => Some(path),
            Source::Field(_) => None,
        });
        for (sum, path) in group.sums.iter_mut().zip(paths) {
            sum.add(row, path.as_ref());
        }
        Ok(())
    }

    /// The rows of the answer in their order, each with its place.
    pub(super) fn rows(self) -> Vec<(Place, Map<String, Json>)> {
        let mut rows: Vec<_> = self
            .groups
            .iter()
            .map(|(name, group)| {
                let members = self.members(group);
                (self.place(name, group, &members), members)
            })
            .collect();
        rows.sort_by(|(a, _), (b, _)| a.cmp(b));
        rows
    }

    fn members(&self, group: &Group) -> Map<String, Json> {
        let mut sums = group.sums.iter();
        let mut members = Map::new();
        for item in self.items {
            let value = match &item.source {
                Source::Field(path) => self.common(group, path).cloned(),
                Source::Aggregate(..) => sums.next().and_then(Sum::result),
            };
            if let Some(value) = value {
                members.insert(item.name().to_owned(), value);
            }
        }
        members
    }

    /// What the twins of a group have in common at this path.
    fn common<'g>(&self, group: &'g Group, path: &Path) -> Option<&'g Json> {
        let at = self.query.group_by.iter().position(|other| other == path)?;
        group.common.get(at)?.as_ref()
    }

    fn place(&self, name: &str, group: &Group, members: &Map<String, Json>) -> Place {
        let asked = self.query.order_by.iter().map(|OrderKey { path, direction }| {
            let value = match path.split_first() {
                _ if self.query.group_by.contains(path) => self.common(group, path),
                Some((name, [])) => members.get(name),
                _ => None,
            };
            (Key::of_json(value), *direction)
        });
        let common =
            group.common.iter().map(|value| (Key::of_json(value.as_ref()), Direction::Ascending));
        // Keys are cut where they are long: this tells apart what they do not.
        let digest = Sha256::digest(name);
        let id = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Place::new(asked.chain(common), id)
    }
}

/// Text that is the same for the same values only: what is absent is told from what is null.
fn text_of(values: &[Option<Json>]) -> String {
    let mut text = String::new();
    for value in values {
        match value {
            None => text.push('-'),
            Some(value) => text.push_str(&value.to_string()),
        }
        text.push('\n');
    }
    text
}

/// An aggregate on its way.
enum Sum {
    Count(u64),
    Total(f64),
    Mean(f64, u64),
    Extreme(Extreme, Option<(Key, Json)>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Extreme {
    Least,
    Greatest,
}

impl Sum {
    fn new(aggregate: Aggregate) -> Self {
        match aggregate {
            Aggregate::Count => Self::Count(0),
            Aggregate::Sum => Self::Total(0.0),
            Aggregate::Average => Self::Mean(0.0, 0),
            Aggregate::Least => Self::Extreme(Extreme::Least, None),
            Aggregate::Greatest => Self::Extreme(Extreme::Greatest, None),
        }
    }

    fn add(&mut self, row: &Row<'_>, path: Option<&Path>) {
        let value = path.map_or(Value::Missing, |path| row.value(path, Case::Exact));
        match (self, &value) {
            (Self::Count(count), _) => *count += 1,
            (Self::Total(total), Value::Number(number)) => *total += number,
            (Self::Mean(total, count), Value::Number(number)) => {
                *total += number;
                *count += 1;
            }
            (Self::Extreme(which, best), Value::Bool(_) | Value::Number(_) | Value::Text(_)) => {
                let key = Key::of(&value);
                let better = best.as_ref().is_none_or(|(best, _)| match which {
                    Extreme::Least => key < *best,
                    Extreme::Greatest => key > *best,
                });
                if better && let Some(json) = path.and_then(|path| row.to_json(path)) {
                    *best = Some((key, json));
                }
            }
            // Of other kinds, or absent: nothing that could be added.
            _ => {}
        }
    }

    fn result(&self) -> Option<Json> {
        match self {
            Self::Count(count) => Some((*count).into()),
            Self::Total(total) => number(*total),
            Self::Mean(_, 0) => None,
            // Counts of twins are far below 2^53.
            Self::Mean(total, count) => number(total / Json::from(*count).as_f64()?),
            Self::Extreme(_, best) => best.as_ref().map(|(_, json)| json.clone()),
        }
    }
}

/// A number without a fraction is written without one.
fn number(value: f64) -> Option<Json> {
    const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value.abs() < WHOLE_MAX {
        return Some(Json::from(value as i64));
    }
    serde_json::Number::from_f64(value).map(Json::Number)
}
