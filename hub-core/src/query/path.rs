//! Paths into a document.

use std::fmt;
use std::str::FromStr;

use serde_json::Value as Json;

use super::error::ParseError;
use super::lex::Dialect;
use super::parse::Parser;
use super::value::Value;
use crate::limits::Limits;

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// The member of an object with this name.
    Member(Box<str>),
    /// The element of an array with this number, from 0.
    Index(u32),
}

/// How names of members are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Case {
    /// Letter by letter.
    Exact,
    /// Letter by letter; where there is no such member, the first that differs in ASCII case only.
    ExactFirst,
}

/// Where a value lies inside of a document.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Path(Box<[Step]>);

impl Path {
    /// A path of these steps.
    pub fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self(steps.into_iter().collect())
    }

    /// A path of these member names.
    pub fn of<'n>(names: impl IntoIterator<Item = &'n str>) -> Self {
        Self::new(names.into_iter().map(|name| Step::Member(name.into())))
    }

    /// Its steps.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// The name of the first step, and the steps after it. Nothing for an empty path, and for one
    /// that begins with an index.
    #[must_use]
    pub fn split_first(&self) -> Option<(&str, &[Step])> {
        match self.0.split_first()? {
            (Step::Member(name), rest) => Some((name, rest)),
            (Step::Index(_), _) => None,
        }
    }

    /// Whether it leads to a value in a section of a twin, or into one: below `tags`,
    /// `properties.desired` or `properties.reported`.
    #[must_use]
    pub fn is_twin_value(&self) -> bool {
        super::columns::is_twin_value(self)
    }

    /// The name of the last member on the path.
    #[must_use]
    pub fn last_name(&self) -> Option<&str> {
        self.0.iter().rev().find_map(|step| match step {
            Step::Member(name) => Some(&**name),
            Step::Index(_) => None,
        })
    }
}

/// Follows steps through a JSON document. Nothing where a step leads nowhere.
#[must_use]
pub fn walk<'j>(root: &'j Json, steps: &[Step], case: Case) -> Option<&'j Json> {
    steps.iter().try_fold(root, |json, step| match (step, json) {
        (Step::Member(name), Json::Object(members)) => members.get(&**name).or_else(|| {
            let close = || members.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
            (case == Case::ExactFirst).then(close).flatten().map(|(_, value)| value)
        }),
        (Step::Index(index), Json::Array(elements)) => {
            elements.get(usize::try_from(*index).unwrap_or(usize::MAX))
        }
        _ => None,
    })
}

impl<'j> Value<'j> {
    /// What a condition sees at the end of a path: [`Value::Missing`] where it leads nowhere.
    #[must_use]
    pub fn of_json(found: Option<&'j Json>) -> Self {
        match found {
            None => Self::Missing,
            Some(Json::Null) => Self::Null,
            Some(Json::Bool(value)) => Self::Bool(*value),
            // A number beyond a double is not made by a parser of JSON.
            Some(Json::Number(number)) => number.as_f64().map_or(Self::Undefined, Self::Number),
            Some(Json::String(text)) => Self::Text(text.as_str().into()),
            Some(Json::Array(_)) => Self::Array,
            Some(Json::Object(_)) => Self::Object,
        }
    }
}

/// As it is written in a twin query.
impl FromStr for Path {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut parser = Parser::new(text, Dialect::Query, &Limits::default())?;
        let path = parser.path()?;
        if parser.is_at_end() { Ok(path) } else { Err(parser.unexpected("the end of the path")) }
    }
}

/// As it is written in a twin query: odd names in double brackets.
impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Member(name) => {
                    if i > 0 {
                        f.write_str(".")?;
                    }
                    if super::lex::is_plain_name(name, i == 0) {
                        f.write_str(name)?;
                    } else {
                        write!(f, "[[{name}]]")?;
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn path(text: &str) -> Vec<Step> {
        let step =
            |part: &str| part.parse().map_or_else(|_| Step::Member(part.into()), Step::Index);
        text.split('.').map(step).collect()
    }

    #[test]
    fn steps_lead_to_values_or_nowhere() {
        let body = json!({"a": {"B": [1, {"c": null}]}, "b": 1, "B": 2});
        for (steps, case, want) in [
            ("a.B.0", Case::Exact, Some(json!(1))),
            ("a.B.1.c", Case::Exact, Some(json!(null))),
            ("a.b.0", Case::Exact, None),
            ("a.b.0", Case::ExactFirst, Some(json!(1))),
            ("b", Case::ExactFirst, Some(json!(1))),
            ("B", Case::ExactFirst, Some(json!(2))),
            ("a.B.2", Case::ExactFirst, None),
            ("a.0", Case::ExactFirst, None),
            ("a.B.c", Case::ExactFirst, None),
        ] {
            assert_eq!(walk(&body, &path(steps), case), want.as_ref(), "{steps} {case:?}");
        }
    }

    #[test]
    fn odd_names_are_printed_in_brackets() {
        let path = Path::of(["configurations", "cfg 1", "a-b", "1st", "x]"]);
        assert_eq!(path.to_string(), "configurations.[[cfg 1]].a-b.1st.[[x]]]");
        assert_eq!(Path::of(["select", "from"]).to_string(), "[[select]].from");
    }
}
