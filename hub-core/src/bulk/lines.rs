//! A file that comes in pieces, as lines.

use bytes::{Bytes, BytesMut};

/// A line that is longer than it may be. Its bytes were not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineTooLong;

/// A line of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Which one, from 1 on. Blank ones count.
    pub number: u64,
    /// Where the next one begins, in bytes from the beginning of the file.
    pub next: u64,
    /// What is in it, without the characters that end it; never blank.
    pub text: Result<Bytes, LineTooLong>,
}

/// Finds the lines of a file that comes in pieces. Holds one line and one piece at most.
///
/// Lines end with a line feed, with or without a carriage return before it. Blank lines are passed
/// over, and the byte order mark that some writers put first.
#[derive(Debug)]
pub struct Lines {
    held: BytesMut,
    /// How many bytes of what is held are known to have no line feed.
    searched: usize,
    /// In the middle of a line that is too long.
    skipping: bool,
    number: u64,
    offset: u64,
    max: usize,
}

const MARK: &[u8] = b"\xef\xbb\xbf";

fn as_u64(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}

impl Lines {
    /// Lines of at most `max` bytes, of what begins at this place of the file, where so many lines
    /// came before.
    #[must_use]
    pub fn from(offset: u64, lines: u64, max: usize) -> Self {
        let held = BytesMut::new();
        Self { held, searched: 0, skipping: false, number: lines, offset, max }
    }

    /// The next piece of the file.
    pub fn push(&mut self, piece: &[u8]) {
        self.held.extend_from_slice(piece);
    }

    /// The next line that is whole. `None` until there is more.
    pub fn next_line(&mut self) -> Option<Line> {
        loop {
            let end = self.held.iter().skip(self.searched).position(|byte| *byte == b'\n');
            let Some(end) = end else {
                self.searched = self.held.len();
                if self.searched > self.max {
                    self.offset += as_u64(self.held.len());
                    self.held.clear();
                    (self.searched, self.skipping) = (0, true);
                }
                return None;
            };
            let line = self.held.split_to(self.searched + end + 1);
            self.searched = 0;
            if let Some(line) = self.line(line) {
                return Some(line);
            }
        }
    }

    /// The last line, once the file has ended: it need not end with a line feed.
    pub fn last_line(&mut self) -> Option<Line> {
        if let Some(line) = self.next_line() {
            return Some(line);
        }
        let rest = self.held.split();
        self.searched = 0;
        (self.skipping || !rest.is_empty()).then(|| self.line(rest)).flatten()
    }

    fn line(&mut self, line: BytesMut) -> Option<Line> {
        self.number += 1;
        let first = self.offset == 0;
        self.offset += as_u64(line.len());
        let (number, next) = (self.number, self.offset);
        if std::mem::take(&mut self.skipping) {
            return Some(Line { number, next, text: Err(LineTooLong) });
        }
        let mut text = line.freeze();
        if first && text.starts_with(MARK) {
            text = text.slice(MARK.len()..);
        }
        let text = text.slice_ref(text.trim_ascii());
        match text.len() {
            0 => None,
            long if long > self.max => Some(Line { number, next, text: Err(LineTooLong) }),
            _ => Some(Line { number, next, text: Ok(text) }),
        }
    }
}
