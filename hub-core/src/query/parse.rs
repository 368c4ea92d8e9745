//! From tokens to an expression, in both dialects.

use std::borrow::Cow;

use super::ast::{BinaryOp, Expr, ExprKind, Literal, Membership, Reference, SystemName, binding};
use super::columns;
use super::error::{ParseError, ParseErrorKind, quoted};
use super::functions::Function;
use super::lex::{Dialect, Lexer, Token, TokenKind, is_keyword};
use super::path::{Path, Step};
use crate::limits::Limits;

/// Deepest nesting of an expression, whatever [`Limits::query_depth_max`] says. The stack ends
/// somewhere.
pub const DEPTH_CEILING: usize = 128;

/// An expression, and how many of its parts lie in one another.
struct Built {
    expr: Expr,
    height: usize,
    /// The operator, if it is a chain of `AND` or `OR` that may go on.
    chain: Option<Operator>,
}

/// An operator that may follow an operand.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Operator {
    And,
    Or,
    Binary(BinaryOp),
    In(Membership),
}

impl Operator {
    fn binding(self) -> u8 {
        match self {
            Self::And => binding::AND,
            Self::Or => binding::OR,
            Self::Binary(op) => op.binding(),
            Self::In(_) => binding::RELATION,
        }
    }
}

/// Reads one text, a token ahead.
pub(super) struct Parser<'t> {
    lexer: Lexer<'t>,
    dialect: Dialect,
    current: Token<'t>,
    depth: usize,
    depth_max: usize,
    nodes: usize,
    nodes_max: usize,
}

impl<'t> Parser<'t> {
    pub(super) fn new(
        text: &'t str,
        dialect: Dialect,
        limits: &Limits,
    ) -> Result<Self, ParseError> {
        let over = text.char_indices().nth(limits.query_text_max);
        if let Some((at, _)) = over {
            let expected = format!("at most {} characters", limits.query_text_max);
            let found = format!("{}", text.chars().count());
            return Err(ParseError::new(ParseErrorKind::Limit, text, at, expected, found));
        }
        let mut lexer = Lexer::new(text, dialect);
        let current = lexer.token()?;
        Ok(Self {
            lexer,
            dialect,
            current,
            depth: 0,
            depth_max: limits.query_depth_max.min(DEPTH_CEILING),
            nodes: 0,
            nodes_max: limits.query_nodes_max,
        })
    }

    pub(super) fn text(&self) -> &'t str {
        self.lexer.text()
    }

    /// Where the token at hand begins.
    pub(super) fn at(&self) -> usize {
        self.current.start
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.current.kind == TokenKind::End
    }

    /// Takes the token at hand.
    pub(super) fn advance(&mut self) -> Result<Token<'t>, ParseError> {
        let next = self.lexer.token()?;
        Ok(std::mem::replace(&mut self.current, next))
    }

    /// A mistake at the token at hand.
    pub(super) fn unexpected(&self, expected: impl Into<Cow<'static, str>>) -> ParseError {
        let Token { kind, start, end } = &self.current;
        let found = match kind {
            TokenKind::End => Cow::Borrowed("the end"),
            _ => quoted(self.text().get(*start..*end).unwrap_or("")).into(),
        };
        ParseError::new(ParseErrorKind::Syntax, self.text(), *start, expected, found)
    }

    pub(super) fn is_symbol(&self, symbol: &str) -> bool {
        matches!(self.current.kind, TokenKind::Symbol(found) if found == symbol)
    }

    /// Takes the symbol, if it is at hand.
    pub(super) fn take_symbol(&mut self, symbol: &str) -> Result<bool, ParseError> {
        let found = self.is_symbol(symbol);
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    /// Takes the symbol, which must be at hand; if it is not, says what could be there.
    pub(super) fn expect_symbol(
        &mut self,
        symbol: &str,
        expected: &'static str,
    ) -> Result<(), ParseError> {
        if self.take_symbol(symbol)? { Ok(()) } else { Err(self.unexpected(expected)) }
    }

    /// Whether this word, in whatever case, is at hand.
    pub(super) fn is_word(&self, word: &str) -> bool {
        matches!(self.current.kind, TokenKind::Name(found) if found.eq_ignore_ascii_case(word))
    }

    /// Takes the word, if it is at hand.
    pub(super) fn take_word(&mut self, word: &str) -> Result<bool, ParseError> {
        let found = self.is_word(word);
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    /// The name at hand, if a parenthesis follows it.
    pub(super) fn call_ahead(&self) -> Option<&'t str> {
        let TokenKind::Name(name) = self.current.kind else { return None };
        let next = self.lexer.clone().token();
        next.is_ok_and(|token| token.kind == TokenKind::Symbol("(")).then_some(name)
    }

    /// An expression, up to what cannot continue it.
    pub(super) fn expression(&mut self) -> Result<Expr, ParseError> {
        self.operators(binding::COALESCE).map(|built| built.expr)
    }

    /// Operands and the operators between them that bind at least as tightly as `loosest`.
    ///
    /// Operators wait on a list for their right operand, not on the stack: what is on the stack is
    /// nesting that the text shows, and that is bounded.
    fn operators(&mut self, loosest: u8) -> Result<Built, ParseError> {
        let mut waiting: Vec<(Built, Operator)> = Vec::new();
        let mut last = self.operand()?;
        loop {
            let next = self.operator().filter(|operator| operator.binding() >= loosest);
            let takes = next.map_or(0, Operator::binding);
            while let Some((left, operator)) = waiting.pop_if(|(_, op)| op.binding() >= takes) {
                last = self.join(left, operator, last)?;
            }
            let Some(operator) = next else { return Ok(last) };
            self.advance()?;
            if let Operator::In(membership) = operator {
                let at = last.expr.at;
                let kind = ExprKind::In(Box::new(last.expr), membership, self.list()?);
                last = self.node(kind, at, last.height)?;
            } else {
                waiting.push((last, operator));
                last = self.operand()?;
            }
        }
    }

    /// An operator with both its operands. `a AND b AND c` is one node, `(a AND b) AND c` are two.
    fn join(&mut self, left: Built, operator: Operator, right: Built) -> Result<Built, ParseError> {
        let at = left.expr.at;
        let below = left.height.max(right.height);
        if let Operator::Binary(op) = operator {
            let kind = ExprKind::Binary(op, Box::new(left.expr), Box::new(right.expr));
            return self.node(kind, at, below);
        }
        let (mut operands, below) = match left.expr.kind {
            ExprKind::And(operands) | ExprKind::Or(operands) if left.chain == Some(operator) => {
                // The node is there already and grows by one operand.
                (operands, right.height.max(left.height - 1))
            }
            kind => (vec![Expr { kind, at }], below),
        };
        operands.push(right.expr);
        let kind = match operator {
            Operator::And => ExprKind::And(operands),
            _ => ExprKind::Or(operands),
        };
        Ok(Built { chain: Some(operator), ..self.node(kind, at, below)? })
    }

    /// The operator at hand, if it is one.
    fn operator(&self) -> Option<Operator> {
        let route = self.dialect == Dialect::Route;
        Some(match self.current.kind {
            TokenKind::Name(word) if word.eq_ignore_ascii_case("and") => Operator::And,
            TokenKind::Name(word) if word.eq_ignore_ascii_case("or") => Operator::Or,
            TokenKind::Name(word) if !route && word.eq_ignore_ascii_case("in") => {
                Operator::In(Membership::Inside)
            }
            TokenKind::Name(word) if !route && word.eq_ignore_ascii_case("nin") => {
                Operator::In(Membership::Outside)
            }
            TokenKind::Symbol(symbol) => Operator::Binary(match symbol {
                "??" => BinaryOp::Coalesce,
                "=" => BinaryOp::Equal,
                "!=" | "<>" => BinaryOp::NotEqual,
                "<" => BinaryOp::Less,
                "<=" => BinaryOp::LessOrEqual,
                ">" => BinaryOp::Greater,
                ">=" => BinaryOp::GreaterOrEqual,
                "+" => BinaryOp::Add,
                "-" => BinaryOp::Subtract,
                "||" => BinaryOp::Concat,
                "*" => BinaryOp::Multiply,
                "/" => BinaryOp::Divide,
                "%" => BinaryOp::Remainder,
                _ => return None,
            }),
            _ => return None,
        })
    }

    /// What stands between operators. All nesting goes through here, so the depth is watched here.
    fn operand(&mut self) -> Result<Built, ParseError> {
        if self.depth >= self.depth_max {
            return Err(self.too_deep());
        }
        self.depth += 1;
        let built = self.unary();
        self.depth -= 1;
        built
    }

    fn unary(&mut self) -> Result<Built, ParseError> {
        let at = self.at();
        if self.take_word("not")? {
            // In routes NOT binds tighter than comparisons, as the service's engine has it; in twin
            // queries it takes the comparison behind it, as in SQL.
            let operand = match self.dialect {
                Dialect::Route => self.operand()?,
                Dialect::Query => self.operators(binding::EQUALITY)?,
            };
            return self.node(ExprKind::Not(Box::new(operand.expr)), at, operand.height);
        }
        if self.is_symbol("-") {
            let minus = self.advance()?;
            if let TokenKind::Number(value) = self.current.kind
                && self.at() == minus.end
            {
                self.advance()?;
                return self.leaf(ExprKind::Literal(Literal::Number(-value)), at);
            }
            let operand = self.operand()?;
            return self.node(ExprKind::Negate(Box::new(operand.expr)), at, operand.height);
        }
        if self.take_symbol("(")? {
            let inner = self.operators(binding::COALESCE)?;
            self.expect_symbol(")", "an operator or `)`")?;
            let expr = Expr { at, ..inner.expr };
            return Ok(Built { expr, height: inner.height, chain: None });
        }
        if self.dialect == Dialect::Route && self.is_symbol("{") {
            return self.braced(at);
        }
        self.primary(at)
    }

    fn primary(&mut self, at: usize) -> Result<Built, ParseError> {
        if let Some(literal) = self.literal()? {
            return self.leaf(ExprKind::Literal(literal), at);
        }
        let kind = match (self.dialect, self.current.kind.clone()) {
            (Dialect::Route, TokenKind::Reference(text)) => {
                let reference = self.reference(text, Braces::Absent)?;
                self.advance()?;
                reference
            }
            (Dialect::Query, TokenKind::Escaped(_)) => Reference::Column(self.path()?),
            (dialect, TokenKind::Name(name)) if !self.is_operator_word(name) => {
                if self.call_ahead().is_some() {
                    return self.call(name, at);
                }
                if dialect == Dialect::Query {
                    Reference::Column(self.path()?)
                } else {
                    self.advance()?;
                    Reference::Application(name.into())
                }
            }
            _ => return Err(self.unexpected("a value, a name, a function, `NOT`, `-` or `(`")),
        };
        self.leaf(ExprKind::Reference(kind), at)
    }

    /// Words that are no names where an operand is expected.
    fn is_operator_word(&self, name: &str) -> bool {
        match self.dialect {
            Dialect::Route => ["and", "or", "not"].iter().any(|w| w.eq_ignore_ascii_case(name)),
            Dialect::Query => is_keyword(name) && !name.eq_ignore_ascii_case("devices"),
        }
    }

    /// A constant, if one is at hand.
    pub(super) fn literal(&mut self) -> Result<Option<Literal>, ParseError> {
        let route = self.dialect == Dialect::Route;
        let is = |name: &str, word: &str| {
            if route { name == word } else { name.eq_ignore_ascii_case(word) }
        };
        let literal = match &self.current.kind {
            TokenKind::Number(value) => Literal::Number(*value),
            TokenKind::Text(text) => Literal::Text(text.as_str().into()),
            TokenKind::Name(name) if is(name, "true") => Literal::Bool(true),
            TokenKind::Name(name) if is(name, "false") => Literal::Bool(false),
            TokenKind::Name(name) if is(name, "null") => Literal::Null,
            TokenKind::Name(name) if is(name, "undefined") => Literal::Undefined,
            _ => return Ok(None),
        };
        self.advance()?;
        Ok(Some(literal))
    }

    /// `[c, c, …]`, at least one.
    fn list(&mut self) -> Result<Vec<Literal>, ParseError> {
        self.expect_symbol("[", "`[` and a list of values")?;
        let mut list = Vec::new();
        loop {
            self.count()?;
            let minus = self.take_symbol("-")?;
            list.push(match (minus, self.literal()?) {
                (false, Some(literal)) => literal,
                (true, Some(Literal::Number(value))) => Literal::Number(-value),
                _ => return Err(self.unexpected("a value")),
            });
            if !self.take_symbol(",")? {
                self.expect_symbol("]", "`,` or `]`")?;
                return Ok(list);
            }
        }
    }

    /// `{$name}`.
    fn braced(&mut self, at: usize) -> Result<Built, ParseError> {
        self.advance()?;
        let TokenKind::Reference(text) = self.current.kind else {
            return Err(self.unexpected("`$` and the name of a system property"));
        };
        let reference = self.reference(text, Braces::Present)?;
        self.advance()?;
        self.expect_symbol("}", "`}`")?;
        self.leaf(ExprKind::Reference(reference), at)
    }

    /// What a `$…` at hand refers to.
    fn reference(&self, text: &str, braces: Braces) -> Result<Reference, ParseError> {
        let name = text.get(1..).unwrap_or("");
        let below = |root: &str| -> Option<&str> {
            let rest = name.get(..root.len())?.eq_ignore_ascii_case(root);
            let rest = rest.then(|| name.get(root.len()..)).flatten()?;
            (rest.is_empty() || rest.starts_with(['.', '['])).then_some(rest)
        };
        if let Some(rest) = below("body") {
            return Ok(Reference::Body(self.route_path(text, rest)?));
        }
        if let Some(rest) = below("twin") {
            let path = self.route_path(text, rest)?;
            let path = columns::canonical(path);
            if columns::is_twin_value(&path) {
                return Ok(Reference::Twin(path));
            }
            let expected =
                "`$twin.tags.`, `$twin.properties.desired.` or `$twin.properties.reported.`";
            return Err(self.unexpected(expected));
        }
        if name.is_empty() || name.contains(['[', ']']) {
            return Err(self.unexpected("`$` and the name of a system property, `body` or `twin`"));
        }
        let system = SystemName::from_keyword(name);
        Ok(match braces {
            Braces::Absent => Reference::Property(system, text.into()),
            Braces::Present => Reference::System(system, text.into()),
        })
    }

    /// The steps behind `$body` or `$twin`: `.name`, or `.name[number]`.
    fn route_path(&self, text: &str, rest: &str) -> Result<Path, ParseError> {
        // Where in the text a part of the reference stands.
        let place = |part: &str| self.at() + (part.as_ptr() as usize - text.as_ptr() as usize);
        let error = |part: &str, expected: &'static str| {
            let found = if part.is_empty() { "nothing".to_owned() } else { quoted(part) };
            let at = place(part);
            ParseError::new(ParseErrorKind::Syntax, self.text(), at, expected, found)
        };
        let mut steps = Vec::new();
        let Some(parts) = rest.strip_prefix('.') else {
            // `$body` alone and `$body[0]` are nothing that could be looked up.
            return if rest.is_empty() || rest.ends_with(']') {
                Ok(Path::default())
            } else {
                Err(error(rest, "`.` and the name of a member"))
            };
        };
        for part in parts.split('.') {
            let (name, index) = match part.find('[') {
                Some(bracket) => part.split_at_checked(bracket).unwrap_or((part, "")),
                None => (part, ""),
            };
            if name.is_empty() || name.contains(']') {
                return Err(error(part, "the name of a member"));
            }
            steps.push(Step::Member(name.into()));
            if !index.is_empty() {
                let digits = index.strip_prefix('[').and_then(|i| i.strip_suffix(']'));
                let digits = digits.filter(|d| d.bytes().all(|byte| byte.is_ascii_digit()));
                let index = digits.and_then(|digits| digits.parse().ok());
                let expected = "`[`, the number of an element and `]`";
                steps.push(Step::Index(index.ok_or_else(|| error(part, expected))?));
            }
        }
        Ok(Path::new(steps))
    }

    /// A path of a twin query: names and numbers of elements.
    pub(super) fn path(&mut self) -> Result<Path, ParseError> {
        let first = match self.current.kind {
            TokenKind::Escaped(name) => name,
            TokenKind::Name(name) if !self.is_operator_word(name) => name,
            _ => return Err(self.unexpected("the name of a field")),
        };
        let mut steps = vec![Step::Member(first.into())];
        loop {
            self.count()?;
            self.advance()?;
            if self.is_symbol(".") {
                let name = self.lexer.member()?;
                steps.push(Step::Member(name.into()));
                continue;
            }
            if !self.is_symbol("[") {
                return Ok(columns::canonical(Path::new(steps)));
            }
            self.advance()?;
            match self.current.kind {
                TokenKind::Number(value)
                    if value.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&value) =>
                {
                    steps.push(Step::Index(value as u32));
                }
                _ => return Err(self.unexpected("the number of an element")),
            }
            self.advance()?;
            if !self.is_symbol("]") {
                return Err(self.unexpected("`]`"));
            }
        }
    }

    /// A function and its arguments.
    fn call(&mut self, name: &str, at: usize) -> Result<Built, ParseError> {
        if self.dialect == Dialect::Route && name.eq_ignore_ascii_case("twin_change_includes") {
            self.advance()?;
            self.advance()?;
            let path = self.changed_path()?;
            self.expect_symbol(")", "`)`")?;
            return self.leaf(ExprKind::ChangeIncludes(path), at);
        }
        let Some(function) = Function::from_name(name) else {
            return Err(self.unexpected("the name of a function"));
        };
        self.advance()?;
        self.advance()?;
        let (mut arguments, mut height) = (Vec::new(), 0);
        if !self.is_symbol(")") {
            loop {
                let argument = self.operators(binding::COALESCE)?;
                height = height.max(argument.height);
                arguments.push(argument.expr);
                if !self.take_symbol(",")? {
                    break;
                }
            }
        }
        let (fewest, most) = function.arity();
        if !(fewest..=most).contains(&arguments.len()) {
            let expected = match (fewest, most) {
                (1, _) => "1 argument".to_owned(),
                (fewest, usize::MAX) => format!("{fewest} arguments or more"),
                (fewest, most) if fewest == most => format!("{fewest} arguments"),
                (fewest, most) => format!("{fewest} to {most} arguments"),
            };
            let expected = format!("{expected} of {}", function.name());
            let found = arguments.len().to_string();
            let kind = ParseErrorKind::Type;
            return Err(ParseError::new(kind, self.text(), at, expected, found));
        }
        self.expect_symbol(")", "an operator, `,` or `)`")?;
        self.node(ExprKind::Call(function, arguments), at, height)
    }

    /// The argument of `twin_change_includes`.
    fn changed_path(&mut self) -> Result<Path, ParseError> {
        let expected = "`tags.`, `properties.desired.` or `properties.reported.` and a path";
        let TokenKind::Name(text) = self.current.kind else {
            return Err(self.unexpected(expected));
        };
        let path = columns::canonical(Path::of(text.split('.')));
        if !columns::is_twin_value(&path) || text.split('.').any(str::is_empty) {
            return Err(self.unexpected(expected));
        }
        self.advance()?;
        Ok(path)
    }

    /// Counts one more part of the text.
    pub(super) fn count(&mut self) -> Result<(), ParseError> {
        self.nodes += 1;
        if self.nodes <= self.nodes_max {
            return Ok(());
        }
        let expected = format!("at most {} operands, operators and values", self.nodes_max);
        Err(ParseError::new(ParseErrorKind::Limit, self.text(), self.at(), expected, "more"))
    }

    fn leaf(&mut self, kind: ExprKind, at: usize) -> Result<Built, ParseError> {
        self.count()?;
        Ok(Built { expr: Expr { kind, at }, height: 1, chain: None })
    }

    /// A node above others, the highest of which has this height.
    fn node(&mut self, kind: ExprKind, at: usize, below: usize) -> Result<Built, ParseError> {
        self.count()?;
        if below >= self.depth_max {
            return Err(self.too_deep());
        }
        Ok(Built { expr: Expr { kind, at }, height: below + 1, chain: None })
    }

    fn too_deep(&self) -> ParseError {
        let expected = format!("at most {} expressions in one another", self.depth_max);
        ParseError::new(ParseErrorKind::Limit, self.text(), self.at(), expected, "more")
    }
}

/// Whether a reference stands in braces.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Braces {
    Absent,
    Present,
}
