//! Things that are there or not: registered devices, persistent sessions.

use std::collections::BTreeSet;

use super::{Findings, Kind};

/// What was acknowledged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names(BTreeSet<String>);

impl Names {
    /// It was acknowledged.
    pub fn add(&mut self, name: &str) {
        self.0.insert(name.to_owned());
    }

    /// Whether it was acknowledged.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.0.contains(name)
    }

    /// It is not there.
    pub fn missing(&self, what: &str, name: &str, findings: &mut Findings) {
        if self.0.contains(name) {
            findings.add(Kind::Lost, 1, || format!("{what} of {name} is gone"));
        }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> u64 {
        u64::try_from(self.0.len()).unwrap_or(u64::MAX)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_acknowledged_can_be_lost() {
        let (mut names, mut findings) = (Names::default(), Findings::default());
        names.missing("the session", "d", &mut findings);
        assert!(findings.is_empty());
        names.add("d");
        names.missing("the session", "d", &mut findings);
        assert_eq!(findings.count(Kind::Lost), 1);
    }
}
