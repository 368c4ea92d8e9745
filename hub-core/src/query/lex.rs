//! From characters to tokens, in both dialects.

use std::borrow::Cow;

use super::error::{ParseError, ParseErrorKind, quoted};

/// Which language a text is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Dialect {
    /// Conditions of routes. A name is everything but separators and blanks, so operators made of
    /// other characters need blanks around them: `a-b` is one name.
    Route,
    /// Twin queries. A name is made of letters, digits, `_`, `$`, and `-` between two of these.
    Query,
}

/// A token, and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token<'t> {
    pub(super) kind: TokenKind<'t>,
    pub(super) start: usize,
    pub(super) end: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum TokenKind<'t> {
    /// A name, a keyword or a function.
    Name(&'t str),
    /// `$…`: in conditions of routes only.
    Reference(&'t str),
    /// `[[…]]`: in twin queries only.
    Escaped(&'t str),
    Number(f64),
    Text(String),
    Symbol(&'static str),
    End,
}

/// Longest first: the first that fits is taken.
const ROUTE_SYMBOLS: [&str; 14] =
    ["??", "<>", "<=", ">=", "(", ")", ",", "{", "}", "=", "<", ">", "/", "?"];
const QUERY_SYMBOLS: [&str; 18] =
    ["<>", "!=", "<=", ">=", "(", ")", ",", ".", "=", "<", ">", "+", "-", "*", "/", "%", "[", "]"];
/// What is an operator of a route if it stands alone, and part of a name otherwise.
const ROUTE_WORDS: [&str; 5] = ["+", "-", "*", "%", "||"];

/// Reads tokens one after the other.
#[derive(Debug, Clone)]
pub(super) struct Lexer<'t> {
    text: &'t str,
    at: usize,
    dialect: Dialect,
}

impl<'t> Lexer<'t> {
    pub(super) fn new(text: &'t str, dialect: Dialect) -> Self {
        Self { text, at: 0, dialect }
    }

    pub(super) fn text(&self) -> &'t str {
        self.text
    }

    /// The next token; at the end of the text, its end for ever.
    pub(super) fn token(&mut self) -> Result<Token<'t>, ParseError> {
        self.skip_blanks()?;
        let start = self.at;
        let kind = match self.rest().chars().next() {
            None => TokenKind::End,
            Some(quote @ ('\'' | '"')) => self.string(quote)?,
            Some(first) => match self.dialect {
                Dialect::Route => self.route_token(first)?,
                Dialect::Query => self.query_token(first)?,
            },
        };
        Ok(Token { kind, start, end: self.at })
    }

    /// The name of a member behind a dot, in a twin query: may begin with a digit or be a keyword,
    /// and may not be preceded by blanks.
    pub(super) fn member(&mut self) -> Result<Cow<'t, str>, ParseError> {
        if self.rest().starts_with("[[") {
            return match self.escaped()? {
                TokenKind::Escaped(name) => Ok(name.into()),
                _ => Err(self.unexpected(self.at, "the name of a member")),
            };
        }
        match self.plain_name() {
            "" => Err(self.unexpected(self.at, "the name of a member")),
            name => Ok(name.into()),
        }
    }

    /// A mistake at a place, and what is wrong with it.
    pub(super) fn unexpected(&self, at: usize, expected: &'static str) -> ParseError {
        let found = match self.text.get(at..).and_then(|rest| rest.chars().next()) {
            None => Cow::Borrowed("the end"),
            Some(c) => quoted(c.encode_utf8(&mut [0; 4])).into(),
        };
        ParseError::new(ParseErrorKind::Syntax, self.text, at, expected, found)
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or("")
    }

    /// Takes characters as long as they are wanted.
    fn run(&mut self, wanted: impl Fn(char) -> bool) -> &'t str {
        let rest = self.rest();
        let end = rest.find(|c| !wanted(c)).unwrap_or(rest.len());
        self.at += end;
        rest.get(..end).unwrap_or("")
    }

    fn skip_blanks(&mut self) -> Result<(), ParseError> {
        loop {
            self.run(char::is_whitespace);
            if !self.rest().starts_with("/*") {
                return Ok(());
            }
            match self.rest().get(2..).and_then(|inside| inside.find("*/")) {
                Some(length) => self.at += length + 4,
                None => {
                    return Err(self.unexpected(self.text.len(), "`*/` at the end of a comment"));
                }
            }
        }
    }

    fn symbol(&mut self, symbols: &[&'static str]) -> Option<TokenKind<'t>> {
        let symbol = symbols.iter().find(|symbol| self.rest().starts_with(**symbol))?;
        self.at += symbol.len();
        Some(TokenKind::Symbol(symbol))
    }

    fn route_token(&mut self, first: char) -> Result<TokenKind<'t>, ParseError> {
        if first == '$' {
            let reference = self.run(|c| is_route_name(c) || matches!(c, '[' | ']'));
            return Ok(TokenKind::Reference(reference));
        }
        if let Some(symbol) = self.symbol(&ROUTE_SYMBOLS) {
            return Ok(symbol);
        }
        let start = self.at;
        let word = self.run(is_route_name);
        if word == "!" && self.rest().starts_with('=') {
            self.at += 1;
            return Ok(TokenKind::Symbol("!="));
        }
        if let Some(symbol) = ROUTE_WORDS.into_iter().find(|symbol| *symbol == word) {
            return Ok(TokenKind::Symbol(symbol));
        }
        if word.is_empty() {
            return Err(self.unexpected(start, "a value, a name or an operator"));
        }
        let unsigned = word.strip_prefix('-').unwrap_or(word);
        if unsigned.len() == number_length(unsigned) {
            return self.number(start, word);
        }
        Ok(TokenKind::Name(word))
    }

    fn query_token(&mut self, first: char) -> Result<TokenKind<'t>, ParseError> {
        let start = self.at;
        if self.rest().starts_with("[[") {
            return self.escaped();
        }
        if first.is_ascii_digit() {
            let length = number_length(self.rest());
            let digits = self.rest().get(..length).unwrap_or("");
            self.at += length;
            if self.rest().starts_with(is_query_name) {
                return Err(self.unexpected(self.at, "the end of a number"));
            }
            return self.number(start, digits);
        }
        if is_query_name(first) {
            return Ok(TokenKind::Name(self.plain_name()));
        }
        self.symbol(&QUERY_SYMBOLS)
            .ok_or_else(|| self.unexpected(start, "a value, a name or an operator"))
    }

    /// A name of a twin query, as far as it goes.
    fn plain_name(&mut self) -> &'t str {
        let rest = self.rest();
        let length = plain_name_length(rest);
        self.at += length;
        rest.get(..length).unwrap_or("")
    }

    fn escaped(&mut self) -> Result<TokenKind<'t>, ParseError> {
        let start = self.at + 2;
        let inside = self.text.get(start..).unwrap_or("");
        let Some(close) = inside.find("]]") else {
            return Err(self.unexpected(self.text.len(), "`]]` at the end of a name"));
        };
        // Further brackets belong to the name.
        let more = inside.get(close + 2..).unwrap_or("");
        let more = more.bytes().take_while(|byte| *byte == b']').count();
        let name = inside.get(..close + more).unwrap_or("");
        if name.is_empty() {
            return Err(self.unexpected(start, "the name of a member"));
        }
        self.at = start + close + more + 2;
        Ok(TokenKind::Escaped(name))
    }

    fn number(&self, start: usize, text: &str) -> Result<TokenKind<'t>, ParseError> {
        match read_number(text) {
            Some(value) if value.is_finite() => Ok(TokenKind::Number(value)),
            _ => {
                let (expected, found) = ("a number that a double can hold", quoted(text));
                Err(ParseError::new(ParseErrorKind::Syntax, self.text, start, expected, found))
            }
        }
    }

    fn string(&mut self, quote: char) -> Result<TokenKind<'t>, ParseError> {
        self.at += quote.len_utf8();
        let mut text = String::new();
        loop {
            text.push_str(self.run(|c| c != quote && c != '\\'));
            let start = self.at;
            let mut rest = self.rest().chars();
            match (rest.next(), rest.next()) {
                (None, _) => return Err(self.unexpected(start, "the end of the text")),
                (Some('\\'), Some(c @ ('\'' | '"' | '\\'))) => {
                    text.push(c);
                    self.at += 2;
                }
                (Some('\\'), Some('u')) => text.push(self.unicode()?),
                (Some('\\'), _) => {
                    let expected = r#"`\'`, `\"`, `\\` or `\u` and four hexadecimal digits"#;
                    return Err(self.unexpected(start, expected));
                }
                _ => {
                    self.at += quote.len_utf8();
                    return Ok(TokenKind::Text(text));
                }
            }
        }
    }

    /// `\uXXXX`, or two of them where the first is the first half of a surrogate pair.
    fn unicode(&mut self) -> Result<char, ParseError> {
        let start = self.at;
        let unit = |text: &str| -> Option<u16> {
            let digits = text.strip_prefix("\\u")?.get(..4)?;
            let hexadecimal = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            hexadecimal.then(|| u16::from_str_radix(digits, 16).ok()).flatten()
        };
        let first = unit(self.rest());
        let second = self.rest().get(6..).and_then(unit);
        let units =
            [first, second.filter(|_| first.is_some_and(|u| (0xd800..0xdc00).contains(&u)))];
        match char::decode_utf16(units.into_iter().flatten()).next() {
            Some(Ok(c)) => {
                self.at += 6 * c.len_utf16();
                Ok(c)
            }
            _ => Err(self.unexpected(start, "`\\u` and four hexadecimal digits of a character")),
        }
    }
}

/// What a name in a condition of a route is made of.
fn is_route_name(c: char) -> bool {
    !c.is_whitespace() && !"()<>@,;:\\\"/[]?={}".contains(c)
}

/// What a name in a twin query is made of, beside `-` inside.
fn is_query_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '$')
}

/// Whether a name can be written in a twin query without brackets. The first name of a path must
/// not look like a number or a keyword.
pub(super) fn is_plain_name(name: &str, first: bool) -> bool {
    !name.is_empty()
        && plain_name_length(name) == name.len()
        && !(first && (name.starts_with(|c: char| c.is_ascii_digit()) || is_keyword(name)))
}

/// How much of the text is a name of a twin query.
fn plain_name_length(text: &str) -> usize {
    let mut length = 0;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let inside =
            c == '-' && at > 0 && chars.peek().is_some_and(|(_, next)| is_query_name(*next));
        if !is_query_name(c) && !inside {
            break;
        }
        length = at + c.len_utf8();
    }
    length
}

/// Words that cannot be the first name of a path in a twin query.
const KEYWORDS: [&str; 20] = [
    "select",
    "top",
    "as",
    "from",
    "where",
    "group",
    "order",
    "by",
    "asc",
    "desc",
    "and",
    "or",
    "not",
    "in",
    "nin",
    "true",
    "false",
    "null",
    "undefined",
    "devices",
];

pub(super) fn is_keyword(name: &str) -> bool {
    KEYWORDS.into_iter().any(|keyword| keyword.eq_ignore_ascii_case(name))
}

/// How many bytes at the beginning are an unsigned number: decimal, with fraction and exponent, or
/// hexadecimal. None if it does not begin with a digit.
fn number_length(text: &str) -> usize {
    let count = |from: usize, is_digit: fn(&u8) -> bool| {
        text.bytes().skip(from).take_while(&is_digit).count()
    };
    if text.starts_with("0x") || text.starts_with("0X") {
        let digits = count(2, u8::is_ascii_hexdigit);
        if digits > 0 {
            return 2 + digits;
        }
    }
    let mut length = count(0, u8::is_ascii_digit);
    if length == 0 {
        return 0;
    }
    let byte = |at: usize| text.as_bytes().get(at).copied();
    if byte(length) == Some(b'.') {
        let digits = count(length + 1, u8::is_ascii_digit);
        length += if digits > 0 { 1 + digits } else { 0 };
    }
    if matches!(byte(length), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(byte(length + 1), Some(b'+' | b'-')));
        let digits = count(length + 1 + sign, u8::is_ascii_digit);
        length += if digits > 0 { 1 + sign + digits } else { 0 };
    }
    length
}

/// The number that such a text says, with or without a sign.
fn read_number(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let Some(digits) = unsigned.strip_prefix("0x").or_else(|| unsigned.strip_prefix("0X")) else {
        return text.parse().ok();
    };
    let mut value = 0.0_f64;
    for digit in digits.chars() {
        value = value * 16.0 + f64::from(digit.to_digit(16)?);
    }
    Some(if unsigned.len() < text.len() { -value } else { value })
}
