//! How files are named.

use std::fmt::Write as _;
use std::str::FromStr;

use hub_core::id::Partition;
use hub_core::time::Timestamp;

/// How files are named: text in which `{iothub}`, `{partition}`, `{YYYY}`, `{MM}`, `{DD}`, `{HH}` and
/// `{mm}` stand for the hub's name, the partition, and the time at which the hub accepted an event,
/// in UTC. All of them must be there, in any order; `/` makes directories.
///
/// Files end in `.json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Field(Field),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Hub,
    Partition,
    Year,
    Month,
    Day,
    Hour,
    Minute,
}

impl Field {
    const ALL: [(Self, &'static str); 7] = [
        (Self::Hub, "iothub"),
        (Self::Partition, "partition"),
        (Self::Year, "YYYY"),
        (Self::Month, "MM"),
        (Self::Day, "DD"),
        (Self::Hour, "HH"),
        (Self::Minute, "mm"),
    ];
}

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternError {
    /// A field that must be there is not.
    #[error("the pattern has no {{{0}}}")]
    Missing(&'static str),
    /// A field that is none, or a brace without its other.
    #[error("the pattern has {0:?}, which is no field")]
    Field(String),
    /// A part that would lead out of the directory, or is none of a file's name.
    #[error("the pattern has {0:?}, which is no part of a file's name")]
    Part(String),
}

/// The default of IoT Hub.
const DEFAULT: &str = "{iothub}/{partition}/{YYYY}/{MM}/{DD}/{HH}/{mm}";

impl Default for Pattern {
    fn default() -> Self {
        DEFAULT.parse().unwrap_or_else(|_| Self(Vec::new()))
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        for part in text.split('/') {
            let legal = |c: char| c.is_ascii_alphanumeric() || "{}-_.=".contains(c);
            if part.is_empty() || part.starts_with('.') || !part.chars().all(legal) {
                return Err(PatternError::Part(part.to_owned()));
            }
        }
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) =
                after.split_once('}').ok_or_else(|| PatternError::Field(after.to_owned()))?;
            let found = Field::ALL.into_iter().find(|(_, known)| *known == name);
            let (field, _) = found.ok_or_else(|| PatternError::Field(name.to_owned()))?;
            push_text(&mut pieces, before)?;
            pieces.push(Piece::Field(field));
            rest = after;
        }
        push_text(&mut pieces, rest)?;
        for (field, name) in Field::ALL {
            if !pieces.contains(&Piece::Field(field)) {
                return Err(PatternError::Missing(name));
            }
        }
        Ok(Self(pieces))
    }
}

fn push_text(pieces: &mut Vec<Piece>, text: &str) -> Result<(), PatternError> {
    if text.contains('}') {
        return Err(PatternError::Field(text.to_owned()));
    }
    if !text.is_empty() {
        pieces.push(Piece::Text(text.to_owned()));
    }
    Ok(())
}

impl Pattern {
    /// The name of the file for events of a partition that were accepted in a minute.
    #[must_use]
    pub fn name(&self, hub: &str, partition: Partition, at: Timestamp) -> String {
        let millis = i64::try_from(at.as_millis()).unwrap_or(i64::MAX);
        // A time beyond the calendar's end is written as its end.
        let time = jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX);
        let time = jiff::tz::TimeZone::UTC.to_datetime(time);
        let mut name = String::with_capacity(64);
        for piece in &self.0 {
            // Writing to memory cannot fail.
            let _ = match piece {
                Piece::Text(text) => write!(name, "{text}"),
                Piece::Field(Field::Hub) => write!(name, "{}", safe(hub)),
                Piece::Field(Field::Partition) => write!(name, "{:02}", partition.0),
                Piece::Field(Field::Year) => write!(name, "{:04}", time.year()),
                Piece::Field(Field::Month) => write!(name, "{:02}", time.month()),
                Piece::Field(Field::Day) => write!(name, "{:02}", time.day()),
                Piece::Field(Field::Hour) => write!(name, "{:02}", time.hour()),
                Piece::Field(Field::Minute) => write!(name, "{:02}", time.minute()),
            };
        }
        name.push_str(".json");
        name
    }
}

/// A hub's name as part of a path. It is a label of a host name; whatever else it is told to be
/// must not lead elsewhere.
fn safe(hub: &str) -> String {
    let keep = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    let safe: String = hub.chars().map(keep).collect();
    if safe.is_empty() { "_".to_owned() } else { safe }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_default_names_files_as_the_service_does() {
        let at = Timestamp::parse("2026-01-05T10:07:59.999Z").unwrap();
        let name = Pattern::default().name("my-hub", Partition(3), at);
        assert_eq!(name, "my-hub/03/2026/01/05/10/07.json");
        let other: Pattern = "{YYYY}{MM}{DD}-{HH}{mm}_{partition}.{iothub}".parse().unwrap();
        assert_eq!(other.name("h", Partition(12), at), "20260105-1007_12.h.json");
    }

    #[test]
    fn what_is_wrong_is_told() {
        let wrong = |text: &str| text.parse::<Pattern>().unwrap_err();
        assert_eq!(
            wrong("{iothub}/{partition}/{YYYY}/{MM}/{DD}/{HH}"),
            PatternError::Missing("mm")
        );
        assert_eq!(wrong("{iothub}{ss}"), PatternError::Field("ss".into()));
        assert_eq!(wrong("{iothub"), PatternError::Field("iothub".into()));
        assert_eq!(wrong("iothub}{mm}"), PatternError::Field("iothub}".into()));
        for text in ["", "/{mm}", "{mm}/", "../{mm}", "a/../b", "./a", "a b", "a\\b", "é"] {
            assert!(matches!(wrong(text), PatternError::Part(_)), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_name_never_leads_out_of_the_directory(hub in ".{0,20}", partition: u16, at: u64) {
            let name = Pattern::default().name(&hub, Partition(partition), Timestamp::from_millis(at));
            prop_assert_eq!(name.split('/').count(), 7);
            prop_assert!(name.split('/').all(|part| !part.is_empty() && !part.starts_with('.')));
        }
    }
}
