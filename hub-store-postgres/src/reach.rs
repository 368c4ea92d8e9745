//! Which rows a condition can reach by an index.
//!
//! Only what an index serves is translated: equality with booleans, numbers and texts, ranges of
//! numbers, and ids. All else reaches every row; the hub evaluates the condition on what comes.

use hub_core::query::{BinaryOp, Expr, ExprKind, Filter, Literal, Membership, Path, Reference};
use hub_core::store::Population;

/// Doubles up to this one are told apart from their neighbours in whole numbers.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// The rows that may be selected.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Reach {
    /// Any.
    All,
    /// Those on one of these ways; none if there is none.
    Ways(Vec<Way>),
}

/// A way to rows.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Way {
    /// Devices by their ids.
    Ids(Vec<String>),
    /// Those that have one of these values, as JSON, at the path of an index.
    Equal(usize, Vec<String>),
    /// Those that have a number at the path of an index: at or above the first, at or below the second.
    Between(usize, Option<f64>, Option<f64>),
}

impl Way {
    /// The index that it is by.
    pub(crate) fn index(&self) -> Option<usize> {
        match self {
            Self::Ids(_) => None,
            Self::Equal(index, _) | Self::Between(index, ..) => Some(*index),
        }
    }
}

impl Reach {
    /// What a filter reaches by these indexes.
    pub(crate) fn of(filter: &Filter, indexes: &[Path], population: Population) -> Self {
        match filter.expr() {
            None => Self::All,
            Some(expr) => Scout { indexes, population }.reach(expr),
        }
    }

    /// What a filter is: the rows on these ways are all that it selects, and it selects each of them,
    /// as far as the indexes know the rows' values. None where that cannot be said.
    pub(crate) fn exactly(
        filter: &Filter,
        indexes: &[Path],
        population: Population,
    ) -> Option<Vec<Way>> {
        let expr = filter.expr()?;
        match (Scout { indexes, population }.reach(expr), is_exact(expr)) {
            (Self::Ways(ways), true) => Some(ways),
            _ => None,
        }
    }

    /// How much there is to look at, roughly: less is better.
    fn weight(&self) -> usize {
        let of = |way: &Way| match way {
            Way::Ids(ids) => ids.len(),
            Way::Equal(_, values) => 100 * values.len(),
            Way::Between(..) => 10_000,
        };
        match self {
            Self::All => usize::MAX,
            Self::Ways(ways) => ways.iter().map(of).sum(),
        }
    }
}

struct Scout<'i> {
    indexes: &'i [Path],
    population: Population,
}

impl Scout<'_> {
    /// The rows for which an expression may be true.
    fn reach(&self, expr: &Expr) -> Reach {
        match &expr.kind {
            // All operands must hold: the best of them is enough.
            ExprKind::And(operands) => {
                let all = operands.iter().map(|operand| self.reach(operand));
                all.min_by_key(Reach::weight).unwrap_or(Reach::All)
            }
            ExprKind::Or(operands) => {
                let mut ways = Vec::new();
                for operand in operands {
                    match self.reach(operand) {
                        Reach::All => return Reach::All,
                        Reach::Ways(more) => ways.extend(more),
                    }
                }
                Reach::Ways(ways)
            }
            ExprKind::Binary(op, left, right) => match (&left.kind, &right.kind) {
                (ExprKind::Reference(Reference::Column(path)), ExprKind::Literal(literal)) => {
                    self.comparison(path, *op, literal)
                }
                (ExprKind::Literal(literal), ExprKind::Reference(Reference::Column(path))) => {
                    self.comparison(path, turned(*op), literal)
                }
                _ => Reach::All,
            },
            ExprKind::In(operand, Membership::Inside, list) => match &operand.kind {
                ExprKind::Reference(Reference::Column(path)) => self.equal(path, list),
                _ => Reach::All,
            },
            ExprKind::Reference(Reference::Column(path)) => {
                self.equal(path, &[Literal::Bool(true)])
            }
            ExprKind::Literal(Literal::Bool(true)) => Reach::All,
            ExprKind::Literal(_) => Reach::Ways(Vec::new()),
            _ => Reach::All,
        }
    }

    fn comparison(&self, path: &Path, op: BinaryOp, literal: &Literal) -> Reach {
        let Literal::Number(bound) = literal else {
            return match op {
                BinaryOp::Equal => self.equal(path, std::slice::from_ref(literal)),
                _ => Reach::All,
            };
        };
        let index = self.index(path).filter(|_| bound.abs() < EXACT_MAX);
        match (op, index) {
            (BinaryOp::Equal, _) => self.equal(path, std::slice::from_ref(literal)),
            (BinaryOp::Less | BinaryOp::LessOrEqual, Some(index)) => {
                Reach::Ways(vec![Way::Between(index, None, Some(*bound))])
            }
            (BinaryOp::Greater | BinaryOp::GreaterOrEqual, Some(index)) => {
                Reach::Ways(vec![Way::Between(index, Some(*bound), None)])
            }
            _ => Reach::All,
        }
    }

    /// The rows that have one of these values.
    fn equal(&self, path: &Path, list: &[Literal]) -> Reach {
        let wanted = || list.iter().filter(|literal| **literal != Literal::Undefined);
        if self.population == Population::Devices && path.to_string() == "deviceId" {
            // An id is text without a zero; it equals nothing else.
            let ids = wanted().filter_map(|literal| match literal {
                Literal::Text(id) if !id.contains('\0') => Some(id.to_string()),
                _ => None,
            });
            return Reach::Ways(vec![Way::Ids(ids.collect())]);
        }
        let Some(index) = self.index(path) else { return Reach::All };
        match wanted().map(json).collect::<Option<Vec<_>>>() {
            Some(values) => Reach::Ways(vec![Way::Equal(index, values)]),
            None => Reach::All,
        }
    }

    fn index(&self, path: &Path) -> Option<usize> {
        self.indexes.iter().position(|index| index == path)
    }
}

/// Whether the rows on the ways to what an expression reaches are all selected by it. Of operands
/// joined by `AND` only one is followed, and the bounds of ranges are reached either way.
fn is_exact(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Or(operands) => operands.iter().all(is_exact),
        ExprKind::Binary(op, ..) => *op == BinaryOp::Equal,
        ExprKind::In(_, membership, _) => *membership == Membership::Inside,
        ExprKind::Reference(_) | ExprKind::Literal(_) => true,
        _ => false,
    }
}

/// The operator with its operands the other way round.
fn turned(op: BinaryOp) -> BinaryOp {
    match op {
        BinaryOp::Less => BinaryOp::Greater,
        BinaryOp::LessOrEqual => BinaryOp::GreaterOrEqual,
        BinaryOp::Greater => BinaryOp::Less,
        BinaryOp::GreaterOrEqual => BinaryOp::LessOrEqual,
        op => op,
    }
}

/// A value as an index has it. None for what it may hold in another form.
fn json(literal: &Literal) -> Option<String> {
    match literal {
        Literal::Bool(value) => Some(value.to_string()),
        Literal::Number(value) if value.abs() < EXACT_MAX => Some(value.to_string()),
        Literal::Text(text) if !text.contains('\0') => Some(quoted(text)),
        _ => None,
    }
}

/// Text as JSON.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use hub_core::limits::Limits;

    fn reach(condition: &str) -> Reach {
        let filter = Filter::parse(condition, &Limits::default()).unwrap();
        let indexes = [Path::of(["tags", "site"]), Path::of(["tags", "n"])];
        Reach::of(&filter, &indexes, Population::Devices)
    }

    #[test]
    fn what_an_index_serves_is_reached_by_it() {
        let equal = |index, values: &[&str]| {
            Way::Equal(index, values.iter().map(|value| (*value).to_owned()).collect())
        };
        for (condition, want) in [
            ("tags.site = 'a'", vec![equal(0, &["\"a\""])]),
            ("'a\"' = tags.site", vec![equal(0, &["\"a\\\"\""])]),
            ("tags.n = 5", vec![equal(1, &["5"])]),
            ("tags.n IN [1, 'x', true, undefined]", vec![equal(1, &["1", "\"x\"", "true"])]),
            ("tags.site", vec![equal(0, &["true"])]),
            ("tags.n > 5 AND tags.n < 9", vec![Way::Between(1, Some(5.0), None)]),
            ("5 >= tags.n", vec![Way::Between(1, None, Some(5.0))]),
            ("tags.other = 1 AND tags.site = 'a'", vec![equal(0, &["\"a\""])]),
            ("tags.n > 1 AND tags.site = 'a'", vec![equal(0, &["\"a\""])]),
            ("tags.site = 'a' OR tags.n = 1", vec![equal(0, &["\"a\""]), equal(1, &["1"])]),
            ("deviceId IN ['a', 'b', 3]", vec![Way::Ids(vec!["a".into(), "b".into()])]),
            ("false OR tags.n = 1", vec![equal(1, &["1"])]),
            ("false", vec![]),
        ] {
            assert_eq!(reach(condition), Reach::Ways(want), "{condition}");
        }
    }

    #[test]
    fn only_what_is_known_of_each_row_is_exact() {
        let exact = |condition: &str| {
            let filter = Filter::parse(condition, &Limits::default()).unwrap();
            let indexes = [Path::of(["tags", "site"]), Path::of(["tags", "n"])];
            Reach::exactly(&filter, &indexes, Population::Devices).is_some()
        };
        for condition in [
            "tags.site = 'a'",
            "1 = tags.n",
            "tags.site IN ['a', 2]",
            "tags.site",
            "tags.site = 'a' OR tags.n = 1 OR deviceId = 'd'",
            "deviceId IN ['a', 'b']",
            "tags.n = 1 OR false",
        ] {
            assert!(exact(condition), "{condition}");
        }
        for condition in [
            "*",
            "true",
            "tags.n < 3",
            "tags.n >= 3",
            "tags.site = 'a' AND tags.n = 1",
            "tags.site = 'a' OR tags.n < 1",
            "tags.other = 1",
            "tags.site = null",
            "tags.site NIN ['a']",
            "NOT (tags.site = 'a')",
            "is_defined(tags.site)",
        ] {
            assert!(!exact(condition), "{condition}");
        }
    }

    #[test]
    fn all_else_reaches_everything() {
        for condition in [
            "*",
            "true",
            "tags.other = 1",
            "tags.site != 'a'",
            "NOT (tags.site = 'a')",
            "tags.site = 'a' OR tags.other = 1",
            "tags.site > 'a'",
            "tags.site = null",
            "tags.site IN ['a', null]",
            "tags.site NIN ['a']",
            "tags.n = 9007199254740993",
            "tags.n > 9007199254740993",
            "tags.n = tags.site",
            "tags.n + 1 = 2",
            "tags.site.x = 1",
            r"tags.site = '\u0000'",
        ] {
            assert_eq!(reach(condition), Reach::All, "{condition}");
        }
    }
}
