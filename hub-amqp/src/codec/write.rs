//! Writing values, each in its shortest form.

/// Writes values of the AMQP type system. Texts and bodies longer than four gigabytes do not occur:
/// every bound of the hub is far below that.
pub trait Write {
    /// Appends bytes as they are.
    fn put(&mut self, bytes: &[u8]);

    /// Null.
    fn null(&mut self) {
        self.put(&[0x40]);
    }

    /// A boolean.
    fn boolean(&mut self, value: bool) {
        self.put(&[if value { 0x41 } else { 0x42 }]);
    }

    /// A `ubyte`.
    fn ubyte(&mut self, value: u8) {
        self.put(&[0x50, value]);
    }

    /// A `ushort`.
    fn ushort(&mut self, value: u16) {
        self.put(&[0x60]);
        self.put(&value.to_be_bytes());
    }

    /// A `uint`.
    fn uint(&mut self, value: u32) {
        match u8::try_from(value) {
            Ok(0) => self.put(&[0x43]),
            Ok(small) => self.put(&[0x52, small]),
            Err(_) => {
                self.put(&[0x70]);
                self.put(&value.to_be_bytes());
            }
        }
    }

    /// A `ulong`.
    fn ulong(&mut self, value: u64) {
        match u8::try_from(value) {
            Ok(0) => self.put(&[0x44]),
            Ok(small) => self.put(&[0x53, small]),
            Err(_) => {
                self.put(&[0x80]);
                self.put(&value.to_be_bytes());
            }
        }
    }

    /// An `int`.
    fn int(&mut self, value: i32) {
        match i8::try_from(value) {
            Ok(small) => self.put(&[0x54, small.to_be_bytes()[0]]),
            Err(_) => {
                self.put(&[0x71]);
                self.put(&value.to_be_bytes());
            }
        }
    }

    /// A `long`.
    fn long(&mut self, value: i64) {
        match i8::try_from(value) {
            Ok(small) => self.put(&[0x55, small.to_be_bytes()[0]]),
            Err(_) => {
                self.put(&[0x81]);
                self.put(&value.to_be_bytes());
            }
        }
    }

    /// A `timestamp`, in milliseconds since 1970.
    fn timestamp(&mut self, millis: i64) {
        self.put(&[0x83]);
        self.put(&millis.to_be_bytes());
    }

    /// A `uuid`.
    fn uuid(&mut self, value: &[u8; 16]) {
        self.put(&[0x98]);
        self.put(value);
    }

    /// A `binary`.
    fn binary(&mut self, value: &[u8]) {
        variable(self, 0xa0, value);
    }

    /// A `string`.
    fn text(&mut self, value: &str) {
        variable(self, 0xa1, value.as_bytes());
    }

    /// A `symbol`.
    fn symbol(&mut self, value: &str) {
        variable(self, 0xa3, value.as_bytes());
    }

    /// A string, or null.
    fn text_or_null(&mut self, value: Option<&str>) {
        match value {
            Some(value) => self.text(value),
            None => self.null(),
        }
    }

    /// A descriptor of the standard.
    fn descriptor(&mut self, code: u8) {
        self.put(&[0x00, 0x53, code]);
    }
}

fn variable<W: Write + ?Sized>(to: &mut W, code: u8, value: &[u8]) {
    match u8::try_from(value.len()) {
        Ok(length) => to.put(&[code, length]),
        Err(_) => {
            to.put(&[code | 0x10]);
            let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
            to.put(&length.to_be_bytes());
        }
    }
    to.put(value);
}

impl Write for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// A list, map or array that is being written: where its size goes, and how much is in it.
#[derive(Debug)]
#[must_use = "an unfinished compound has no size"]
pub(crate) struct Compound {
    start: usize,
}

/// Begins a list.
pub(crate) fn list(out: &mut Vec<u8>) -> Compound {
    compound(out, 0xd0)
}

/// Begins a map.
pub(crate) fn map(out: &mut Vec<u8>) -> Compound {
    compound(out, 0xd1)
}

/// Begins an array of strings: each element is [`array_text`].
pub(crate) fn text_array(out: &mut Vec<u8>) -> Compound {
    let started = compound(out, 0xf0);
    out.push(0xb1);
    started
}

/// Begins an array of symbols: each element is [`array_text`].
pub(crate) fn symbol_array(out: &mut Vec<u8>) -> Compound {
    let started = compound(out, 0xf0);
    out.push(0xb3);
    started
}

/// An element of an array of strings or symbols: without its constructor.
pub(crate) fn array_text(out: &mut Vec<u8>, value: &str) {
    let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(value.as_bytes());
}

fn compound(out: &mut Vec<u8>, code: u8) -> Compound {
    out.push(code);
    let start = out.len();
    out.extend_from_slice(&[0; 8]);
    Compound { start }
}

impl Compound {
    /// Ends it: it has so many elements (of a map, keys and values).
    pub(crate) fn end(self, out: &mut [u8], count: u32) {
        let size = out.len().saturating_sub(self.start + 4);
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        if let Some(head) = out.get_mut(self.start..self.start + 8)
            && let Some((first, second)) = head.split_first_chunk_mut::<4>()
        {
            *first = size.to_be_bytes();
            second.copy_from_slice(&count.to_be_bytes());
        }
    }
}
