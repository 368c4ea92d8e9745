//! Twin queries: what is selected, from where, and in which order.

use super::ast::{Expr, Literal};
use super::check::check;
use super::error::{ParseError, ParseErrorKind};
use super::filter::Filter;
use super::lex::{Dialect, TokenKind};
use super::parse::Parser;
use super::path::Path;
use crate::limits::Limits;

/// A twin query: parsed and checked.
///
/// ```text
/// SELECT [TOP n] * | item {, item}    item := path [AS name] | aggregate [AS name]
/// FROM devices | devices.modules | devices.jobs
/// [WHERE condition] [GROUP BY path {, path}] [ORDER BY path [ASC | DESC] {, …}]
/// ```
///
/// `ORDER BY` is an addition to the service's language.
///
/// ```
/// use hub_core::{limits::Limits, query::{Collection, Query}};
///
/// let text = "SELECT tags.site AS site, COUNT() AS n FROM devices \
///             WHERE properties.reported.battery < 20 GROUP BY tags.site";
/// let query = Query::parse(text, &Limits::default())?;
/// assert_eq!(query.from, Collection::Devices);
/// assert_eq!(query.to_string(), text);
/// # Ok::<(), hub_core::query::ParseError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Query {
    /// What each row of the answer has.
    pub select: Select,
    /// Most rows of the whole answer.
    pub top: Option<u64>,
    /// What is looked through.
    pub from: Collection,
    /// Which rows count.
    pub filter: Filter,
    /// What the rows are grouped by; none if they are not.
    pub group_by: Vec<Path>,
    /// How the answer is ordered; by id if nothing is said.
    pub order_by: Vec<OrderKey>,
}

/// What a query looks through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Collection {
    /// The twins of devices.
    Devices,
    /// The twins of modules.
    Modules,
    /// What jobs did on each device.
    Jobs,
}

/// What each row of an answer has.
#[derive(Debug, Clone, PartialEq)]
pub enum Select {
    /// The whole document: `*`.
    All,
    /// These members.
    Items(Vec<Item>),
}

/// One member of a row.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// Where it comes from.
    pub source: Source,
    /// What it was named with `AS`.
    pub alias: Option<Box<str>>,
}

/// Where a member of a row comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// A value of the document.
    Field(Path),
    /// Something about all rows, or all rows of a group.
    Aggregate(Aggregate, Option<Path>),
}

/// What can be said about many rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Aggregate {
    /// `COUNT()`: how many rows there are.
    Count,
    /// `AVG(path)`: the mean of the numbers there.
    Average,
    /// `SUM(path)`: the sum of the numbers there.
    Sum,
    /// `MIN(path)`: the least value there.
    Least,
    /// `MAX(path)`: the greatest value there.
    Greatest,
}

/// One key of the order of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct OrderKey {
    /// By what.
    pub path: Path,
    /// Which way.
    pub direction: Direction,
}

/// Which way an answer is ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The least first.
    Ascending,
    /// The greatest first.
    Descending,
}

impl Aggregate {
    const ALL: [Self; 5] = [Self::Count, Self::Average, Self::Sum, Self::Least, Self::Greatest];

    /// Its name, in lower case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Average => "avg",
            Self::Sum => "sum",
            Self::Least => "min",
            Self::Greatest => "max",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|aggregate| aggregate.name().eq_ignore_ascii_case(name))
    }
}

impl Item {
    /// The name of the member: its alias, else the last name of its path, else that of the
    /// aggregate in lower case.
    #[must_use]
    pub fn name(&self) -> &str {
        match (&self.alias, &self.source) {
            (Some(alias), _) => alias,
            (None, Source::Field(path)) => path.last_name().unwrap_or(""),
            (None, Source::Aggregate(aggregate, _)) => aggregate.name(),
        }
    }
}

impl Query {
    /// Parses and checks a query.
    ///
    /// # Errors
    /// [`ParseError`] says where it breaks the grammar, the types or the limits, and what could
    /// stand there.
    pub fn parse(text: &str, limits: &Limits) -> Result<Self, ParseError> {
        let mut parser = Parser::new(text, Dialect::Query, limits)?;
        let query = Statement { parser: &mut parser, limits }.parse()?;
        Ok(query)
    }

    /// The query for whole documents that a condition selects: the `WHERE` part alone, as jobs and
    /// configurations have it. `*` selects all.
    ///
    /// # Errors
    /// As [`Query::parse`].
    pub fn of_condition(
        from: Collection,
        condition: &str,
        limits: &Limits,
    ) -> Result<Self, ParseError> {
        Ok(Self {
            select: Select::All,
            top: None,
            from,
            filter: Filter::parse(condition, limits)?,
            group_by: Vec::new(),
            order_by: Vec::new(),
        })
    }

    /// The query for whole documents that a configuration targets: a condition on devices, `*` for
    /// all of them, or `FROM devices.modules` with or without `WHERE` and a condition on modules.
    ///
    /// # Errors
    /// As [`Query::parse`].
    pub fn of_target(text: &str, limits: &Limits) -> Result<Self, ParseError> {
        let mut parser = Parser::new(text, Dialect::Query, limits)?;
        if !parser.take_word("from")? {
            return Self::of_condition(Collection::Devices, text, limits);
        }
        let at = parser.at();
        let mut statement = Statement { parser: &mut parser, limits };
        let from = statement.collection()?;
        if from == Collection::Jobs {
            let expected = "`devices` or `devices.modules`";
            let (kind, found) = (ParseErrorKind::Syntax, "`devices.jobs`");
            return Err(ParseError::new(kind, text, at, expected, found));
        }
        let filter = if statement.parser.take_word("where")? {
            Filter::new(statement.condition()?, limits)
        } else {
            Filter::all(limits)
        };
        if !parser.is_at_end() {
            return Err(parser.unexpected(match filter.expr() {
                Some(_) => "an operator or the end",
                None => "`WHERE` or the end",
            }));
        }
        let (group_by, order_by) = (Vec::new(), Vec::new());
        Ok(Self { select: Select::All, top: None, from, filter, group_by, order_by })
    }

    /// Whether its rows stand for many documents each.
    #[must_use]
    pub fn is_aggregated(&self) -> bool {
        let aggregates = match &self.select {
            Select::All => &[][..],
            Select::Items(items) => items,
        };
        !self.group_by.is_empty()
            || aggregates.iter().any(|item| matches!(item.source, Source::Aggregate(..)))
    }
}

struct Statement<'p, 't> {
    parser: &'p mut Parser<'t>,
    limits: &'p Limits,
}

impl Statement<'_, '_> {
    fn parse(mut self) -> Result<Query, ParseError> {
        self.word("select", "`SELECT`")?;
        let top = if self.parser.take_word("top")? { Some(self.number()?) } else { None };
        let (select, places) = self.select()?;
        self.word("from", "`,` or `FROM`")?;
        let from = self.collection()?;
        let filter = if self.parser.take_word("where")? {
            Filter::new(self.condition()?, self.limits)
        } else {
            Filter::all(self.limits)
        };
        let mut group_by = Vec::new();
        if self.parser.take_word("group")? {
            self.word("by", "`BY`")?;
            group_by = self.paths()?;
        }
        let mut order_by = Vec::new();
        let order_at = self.parser.at();
        if self.parser.take_word("order")? {
            self.word("by", "`BY`")?;
            order_by = self.order()?;
        }
        if !self.parser.is_at_end() {
            let expected = match (&filter, group_by.is_empty(), order_by.is_empty()) {
                (_, _, false) => "`,`, `ASC`, `DESC` or the end",
                (_, false, _) => "`,`, `ORDER BY` or the end",
                (filter, ..) if filter.expr().is_some() => {
                    "an operator, `GROUP BY`, `ORDER BY` or the end"
                }
                _ => "`WHERE`, `GROUP BY`, `ORDER BY` or the end",
            };
            return Err(self.parser.unexpected(expected));
        }
        let query = Query { select, top, from, filter, group_by, order_by };
        self.check(&query, &places, order_at)?;
        Ok(query)
    }

    fn word(&mut self, word: &str, expected: &'static str) -> Result<(), ParseError> {
        if self.parser.take_word(word)? { Ok(()) } else { Err(self.parser.unexpected(expected)) }
    }

    fn number(&mut self) -> Result<u64, ParseError> {
        match self.parser.literal()? {
            Some(Literal::Number(value))
                if value.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&value) =>
            {
                Ok(value as u64)
            }
            _ => Err(self.parser.unexpected("a number of rows")),
        }
    }

    /// What is selected, and where each item begins.
    fn select(&mut self) -> Result<(Select, Vec<usize>), ParseError> {
        if self.parser.take_symbol("*")? {
            return Ok((Select::All, Vec::new()));
        }
        let (mut items, mut places) = (Vec::new(), Vec::new());
        loop {
            self.parser.count()?;
            places.push(self.parser.at());
            let source = self.source()?;
            let alias = if self.parser.take_word("as")? { Some(self.alias()?) } else { None };
            items.push(Item { source, alias });
            if !self.parser.take_symbol(",")? {
                return Ok((Select::Items(items), places));
            }
        }
    }

    fn source(&mut self) -> Result<Source, ParseError> {
        let Some(aggregate) = self.parser.call_ahead().and_then(Aggregate::from_name) else {
            if self.parser.call_ahead().is_some() {
                return Err(self.parser.unexpected("a field or an aggregate"));
            }
            return self.parser.path().map(Source::Field);
        };
        self.parser.advance()?;
        self.parser.advance()?;
        let path = match aggregate {
            Aggregate::Count => None,
            _ => Some(self.parser.path()?),
        };
        self.parser.expect_symbol(")", "`)`")?;
        Ok(Source::Aggregate(aggregate, path))
    }

    fn alias(&mut self) -> Result<Box<str>, ParseError> {
        let name = match self.parser.advance()?.kind {
            TokenKind::Name(name) | TokenKind::Escaped(name) => Some(name),
            _ => None,
        };
        name.map(Into::into).ok_or_else(|| self.parser.unexpected("a name"))
    }

    fn collection(&mut self) -> Result<Collection, ParseError> {
        let expected = "`devices`, `devices.modules` or `devices.jobs`";
        self.word("devices", expected)?;
        if !self.parser.take_symbol(".")? {
            return Ok(Collection::Devices);
        }
        if self.parser.take_word("modules")? {
            return Ok(Collection::Modules);
        }
        self.word("jobs", "`modules` or `jobs`")?;
        Ok(Collection::Jobs)
    }

    fn condition(&mut self) -> Result<Expr, ParseError> {
        let expr = self.parser.expression()?;
        check(self.parser.text(), &expr)?;
        Ok(expr)
    }

    fn paths(&mut self) -> Result<Vec<Path>, ParseError> {
        let mut paths = vec![self.parser.path()?];
        while self.parser.take_symbol(",")? {
            paths.push(self.parser.path()?);
        }
        Ok(paths)
    }

    fn order(&mut self) -> Result<Vec<OrderKey>, ParseError> {
        let mut keys = Vec::new();
        loop {
            let path = self.parser.path()?;
            let direction = if self.parser.take_word("desc")? {
                Direction::Descending
            } else {
                self.parser.take_word("asc")?;
                Direction::Ascending
            };
            keys.push(OrderKey { path, direction });
            if !self.parser.take_symbol(",")? {
                return Ok(keys);
            }
        }
    }

    /// What the grammar does not say.
    fn check(&self, query: &Query, places: &[usize], order_at: usize) -> Result<(), ParseError> {
        let error = |at: usize, expected: &'static str, found: String| {
            Err(ParseError::new(ParseErrorKind::Syntax, self.parser.text(), at, expected, found))
        };
        let start = 0;
        let items = match &query.select {
            Select::Items(_) if query.from == Collection::Jobs => {
                return error(start, "`SELECT *` from devices.jobs", "a list".to_owned());
            }
            Select::All if !query.group_by.is_empty() => {
                return error(start, "the fields of `GROUP BY`, and aggregates", "`*`".to_owned());
            }
            Select::All => return Ok(()),
            Select::Items(items) => items,
        };
        for (i, (item, at)) in items.iter().zip(places).enumerate() {
            let name = item.name();
            if items.iter().take(i).any(|other| other.name() == name) {
                return error(*at, "another name, given with `AS`", format!("`{name}` again"));
            }
            if let Source::Field(path) = &item.source
                && query.is_aggregated()
                && !query.group_by.contains(path)
            {
                return error(*at, "a field of `GROUP BY`, or an aggregate", format!("`{path}`"));
            }
        }
        let known = |key: &OrderKey| {
            query.group_by.contains(&key.path) || items.iter().any(|i| is_named(&key.path, i))
        };
        if query.is_aggregated()
            && let Some(key) = query.order_by.iter().find(|key| !known(key))
        {
            let expected = "`ORDER BY` a member of the answer";
            return error(order_at, expected, format!("`{}`", key.path));
        }
        Ok(())
    }
}

/// Whether a path is the name of a member of the answer.
pub(super) fn is_named(path: &Path, item: &Item) -> bool {
    matches!(path.split_first(), Some((name, [])) if name == item.name())
}
