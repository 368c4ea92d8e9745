//! What is known of a blob besides its bytes.
//!
//! A file of lines: the properties as JSON with the tag of the version they belong to, and then, for
//! a blob that was made of blocks, a line for each with its size and id.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, Write as _};

use serde::{Deserialize, Serialize};

use crate::disk::Tag;

/// Headers that a client may set on a blob and gets back, as they are called when it reads.
pub(crate) const HEADERS: [&str; 5] = [
    "content-type",
    "content-encoding",
    "content-language",
    "content-disposition",
    "cache-control",
];

/// The properties of one version of a blob.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Properties {
    /// Those of [`HEADERS`] that were set.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) headers: BTreeMap<String, String>,
    /// The client's own, without the prefix of their headers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) metadata: BTreeMap<String, String>,
    /// The MD5 of the bytes in base64, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) md5: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Line {
    v: u8,
    tag: u64,
    #[serde(flatten)]
    properties: Properties,
}

const FORMAT: u8 = 1;

impl Properties {
    pub(crate) fn write(
        &self,
        file: &mut File,
        tag: Tag,
        blocks: &[(String, u64)],
    ) -> io::Result<()> {
        let mut out = BufWriter::new(file);
        let line = Line { v: FORMAT, tag: tag.0, properties: self.clone() };
        serde_json::to_writer(&mut out, &line)?;
        out.write_all(b"\n")?;
        for (id, size) in blocks {
            writeln!(out, "{size} {id}")?;
        }
        out.flush()
    }

    fn head(lines: &mut BufReader<File>, tag: Tag) -> io::Result<Option<Self>> {
        let mut line = String::new();
        lines.read_line(&mut line)?;
        // Whatever cannot be read is as good as not there: the bytes count.
        let line: Option<Line> = serde_json::from_str(&line).ok();
        Ok(line.filter(|line| line.v == FORMAT && line.tag == tag.0).map(|line| line.properties))
    }

    /// The properties in a file, if they belong to this version.
    pub(crate) fn read(file: File, tag: Tag) -> io::Result<Option<Self>> {
        Self::head(&mut BufReader::new(file), tag)
    }

    /// The blocks in a file, if it belongs to this version.
    pub(crate) fn read_blocks(file: File, tag: Tag) -> io::Result<Vec<(String, u64)>> {
        let mut lines = BufReader::new(file);
        if Self::head(&mut lines, tag)?.is_none() {
            return Ok(Vec::new());
        }
        let block = |line: String| {
            let (size, id) = line.split_once(' ')?;
            Some((id.to_owned(), size.parse().ok()?))
        };
        lines.lines().map(|line| line.map(block)).filter_map(Result::transpose).collect()
    }
}
