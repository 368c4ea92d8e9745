//! A place in JSON text that moves over what nobody asked for.
//!
//! It finds where values begin and end, and does not judge them: what is picked is parsed by whoever
//! wants it, and what is passed over was written by the hub.

use std::borrow::Cow;

/// The text is not JSON, as far as it was looked at.
#[derive(Debug, thiserror::Error)]
#[error("it is not JSON at byte {0}")]
pub(super) struct NotJson(usize);

/// A place in a text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Cursor<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, at: 0 }
    }

    /// The byte at hand, blanks passed over.
    fn peek(&mut self) -> Option<u8> {
        loop {
            let byte = *self.text.as_bytes().get(self.at)?;
            if !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                return Some(byte);
            }
            self.at += 1;
        }
    }

    /// Moves over this byte, if it is at hand.
    pub(super) fn takes(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// Moves over the name of a member and the colon behind it.
    pub(super) fn name(&mut self) -> Result<Cow<'t, str>, NotJson> {
        let quoted = match self.peek() {
            Some(b'"') => self.value()?,
            _ => return Err(NotJson(self.at)),
        };
        if !self.takes(b':') {
            return Err(NotJson(self.at));
        }
        match quoted.get(1..quoted.len() - 1) {
            Some(plain) if !plain.contains('\\') => Ok(plain.into()),
            _ => serde_json::from_str(quoted).map_err(|_| NotJson(self.at)),
        }
    }

    /// Moves over the value at hand, and gives its text.
    pub(super) fn value(&mut self) -> Result<&'t str, NotJson> {
        let first = self.peek();
        let (begin, mut depth) = (self.at, 0_usize);
        while let Some(byte) = self.text.as_bytes().get(self.at) {
            match byte {
                b'"' => self.string()?,
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' if depth > 0 => {
                    depth -= 1;
                    self.at += 1;
                }
                // What stands inside of brackets is passed over byte by byte.
                _ if depth > 0 => self.at += 1,
                b'}' | b']' | b',' | b':' => break,
                _ => self.scalar(),
            }
            if depth == 0 {
                break;
            }
        }
        match self.text.get(begin..self.at) {
            Some(value) if depth == 0 && first.is_some() && !value.is_empty() => Ok(value),
            _ => Err(NotJson(self.at)),
        }
    }

    /// Moves over a string, its quotes included.
    fn string(&mut self) -> Result<(), NotJson> {
        let mut rest = self.text.as_bytes().iter().enumerate().skip(self.at + 1);
        while let Some((at, byte)) = rest.next() {
            match byte {
                b'"' => {
                    self.at = at + 1;
                    return Ok(());
                }
                // Whatever comes behind it does not end the string.
                b'\\' => drop(rest.next()),
                _ => {}
            }
        }
        Err(NotJson(self.at))
    }

    /// Moves over a number or a word.
    fn scalar(&mut self) {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let ends =
            |byte: &u8| matches!(byte, b',' | b'}' | b']' | b':' | b' ' | b'\t' | b'\n' | b'\r');
        self.at += rest.iter().position(ends).unwrap_or(rest.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_end_where_they_end() {
        for (text, value) in [
            ("1,2", "1"),
            ("-1.5e3}", "-1.5e3"),
            (" true ,", "true"),
            (r#""a",1"#, r#""a""#),
            (r#""a\"b\\","c""#, r#""a\"b\\""#),
            (r#"{"a":[1,{"b":"}]"}],"c":{}},3"#, r#"{"a":[1,{"b":"}]"}],"c":{}}"#),
            ("[[],[]]]", "[[],[]]"),
            ("{}", "{}"),
            (r#""é𝄞""#, r#""é𝄞""#),
        ] {
            assert_eq!(Cursor::new(text).value().ok(), Some(value), "{text}");
        }
        for bad in ["", " ", "}", ",", "[1", r#""a"#, r#""a\""#, r#"{"a":""#] {
            assert!(Cursor::new(bad).value().is_err(), "{bad}");
        }
    }

    #[test]
    fn names_are_read_as_they_are_meant() {
        for (text, name) in
            [(r#""a":1"#, "a"), (r#" "" : 1"#, ""), (r#""a\"\u00e9":1"#, "a\"é"), (r#""é":1"#, "é")]
        {
            let mut cursor = Cursor::new(text);
            assert_eq!(cursor.name().ok().as_deref(), Some(name), "{text}");
            assert_eq!(cursor.value().ok(), Some("1"), "{text}");
        }
        for bad in ["a:1", r#""a" 1"#, r#""a"#, "1:2", "", r#""\x":1"#] {
            assert!(Cursor::new(bad).name().is_err(), "{bad}");
        }
    }
}
