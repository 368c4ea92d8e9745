//! Put Block List: a blob is made of its blocks.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};

use axum::body::Body;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::header::HeaderName;
use hub_core::blob::BlobName;
use quick_xml::Reader;
use quick_xml::events::Event;

use super::Answer;
use super::blob::{Call, blocking, created, set};
use super::body::{Summing, receive_small};
use super::conditions::Conditions;
use super::problem::Problem;
use super::write::block_id;
use crate::directory::Inner;
use crate::disk::{NewFile, Stored};
use crate::properties::Properties;

/// Most blocks of a blob. Azure's.
const BLOCKS_MAX: usize = 50_000;

/// Longest list: as many of the longest ids as may be.
const LIST_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Where a block is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    Committed,
    Uncommitted,
    /// Among the uncommitted, and then among the committed.
    Latest,
}

/// A block of the list, by its id in base64.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Listed {
    from: From,
    id: String,
}

fn invalid_list() -> Problem {
    let message = "the block list names a block that is not there";
    Problem::new(400, "InvalidBlockList", message)
}

/// Reads a list. Entities beyond XML's own five, document types and processing instructions are not
/// looked at.
fn parse(body: &[u8]) -> Result<Vec<Listed>, Problem> {
    let bad = |_| Problem::new(400, "InvalidXmlDocument", "the body is no block list");
    let text = std::str::from_utf8(body).map_err(|_| bad(()))?;
    let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}'));
    let (mut listed, mut depth, mut open) = (Vec::new(), 0_u32, None);
    let mut id = String::new();
    loop {
        match reader.read_event().map_err(|_| bad(()))? {
            Event::Start(tag) => {
                depth += 1;
                let from = match (depth, tag.name().as_ref()) {
                    (1, b"BlockList") => None,
                    (2, b"Latest") => Some(From::Latest),
                    (2, b"Committed") => Some(From::Committed),
                    (2, b"Uncommitted") => Some(From::Uncommitted),
                    _ => return Err(bad(())),
                };
                id.clear();
                open = from;
            }
            Event::Text(text) if open.is_some() => {
                id.push_str(&text.decode().map_err(|_| bad(()))?)
            }
            Event::Text(text) if text.iter().all(u8::is_ascii_whitespace) => {}
            Event::End(_) => {
                depth = depth.checked_sub(1).ok_or_else(|| bad(()))?;
                if let Some(from) = open.take() {
                    let id = id.trim().to_owned();
                    block_id(&id).ok_or_else(invalid_list)?;
                    if listed.len() == BLOCKS_MAX {
                        let message = format!("a blob has at most {BLOCKS_MAX} blocks");
                        return Err(Problem::new(400, "BlockListTooLong", message));
                    }
                    listed.push(Listed { from, id });
                }
            }
            // A list of no blocks may be one empty element.
            Event::Empty(tag) if depth == 0 && tag.name().as_ref() == b"BlockList" => {}
            Event::Decl(_) | Event::Comment(_) => {}
            Event::Eof if depth == 0 => return Ok(listed),
            _ => return Err(bad(())),
        }
    }
}

impl Call {
    pub(super) async fn put_block_list(&self, body: &mut Body) -> Answer {
        let conditions = self.write_conditions()?;
        let length = self.length(LIST_BYTES_MAX)?;
        let announced = self.announced()?;
        let mut properties = self.properties(false)?;
        let md5 = self.md5("x-ms-blob-content-md5")?;
        properties.md5 = md5.map(|md5| BASE64_STANDARD.encode(md5));
        // Lists are kept in memory, so fewer of them than of other writes are served at once.
        let inner = self.inner.clone();
        let turn = inner.lists.clone().acquire_owned().await.map_err(|_| Problem::busy())?;
        let within = inner.config.request_timeout;
        let receiving = receive_small(&inner, body, length);
        let late = |_| Problem::new(408, "RequestTimeout", "the body did not come in time");
        let body = tokio::time::timeout(within, receiving).await.map_err(late)??;
        let mut sums = Summing::new(announced.md5.is_some());
        sums.update(&body);
        let sums = sums.finish();
        announced.check(&sums)?;
        let listed = parse(&body)?;
        let blob = self.blob.clone();
        let stored = blocking(move || {
            // Held until it is written, also if nobody waits for that any more.
            let _turn = turn;
            commit(&inner, &blob, &listed, &properties, &conditions)
        });
        let mut response = created(&stored.await??);
        let crc64 = BASE64_STANDARD.encode(sums.crc64);
        set(response.headers_mut(), HeaderName::from_static("x-ms-content-crc64"), &crc64);
        Ok(response)
    }
}

/// Where the bytes of a block are.
enum Source {
    Staged,
    /// In the blob that is there, from this byte on.
    Old(u64),
}

fn commit(
    inner: &Inner,
    blob: &BlobName,
    listed: &[Listed],
    properties: &Properties,
    conditions: &Conditions,
) -> Result<Stored, Problem> {
    let disk = &inner.disk;
    disk.touch_staged(blob)?;
    let old = disk.open_blob(blob)?;
    conditions.for_writing(old.as_ref())?;
    let committed = match &old {
        Some(old) => places(disk.committed_blocks(blob, old.tag)?),
        None => HashMap::new(),
    };
    let mut blocks = Vec::with_capacity(listed.len());
    let mut sources = Vec::with_capacity(listed.len());
    let mut total = 0_u64;
    for Listed { from, id } in listed {
        let bytes = block_id(id).ok_or_else(invalid_list)?;
        let staged = match from {
            From::Committed => None,
            From::Uncommitted | From::Latest => disk.staged_block(blob, &bytes)?,
        };
        let (source, size) = match (staged, from) {
            (Some((_, size)), _) => (Source::Staged, size),
            (None, From::Uncommitted) => return Err(invalid_list()),
            (None, From::Committed | From::Latest) => {
                let (at, size) = committed.get(id).copied().ok_or_else(invalid_list)?;
                (Source::Old(at), size)
            }
        };
        total = total.saturating_add(size);
        if total > inner.config.blob_bytes_max {
            return Err(Problem::too_large(inner.config.blob_bytes_max));
        }
        blocks.push((id.clone(), size));
        sources.push((source, bytes, size));
    }
    let mut new = disk.new_file()?;
    for (source, id, size) in &sources {
        match source {
            Source::Staged => {
                let (file, _) = disk.staged_block(blob, id)?.ok_or_else(invalid_list)?;
                append(&mut new, file, *size)?;
            }
            Source::Old(at) => {
                let mut file = match &old {
                    Some(old) => old.file.try_clone()?,
                    None => return Err(invalid_list()),
                };
                file.seek(SeekFrom::Start(*at))?;
                append(&mut new, file, *size)?;
            }
        }
    }
    let exclusive = conditions.is_exclusive();
    let stored =
        disk.put(blob, new, properties, &blocks, exclusive, |there| conditions.for_writing(there))?;
    disk.drop_staged(blob)?;
    Ok(stored)
}

/// Where each block of a blob begins, and its size. Of several with one id it is the last.
fn places(blocks: Vec<(String, u64)>) -> HashMap<String, (u64, u64)> {
    let mut at = 0_u64;
    let place = |(id, size): (String, u64)| {
        let place = (id, (at, size));
        at = at.saturating_add(size);
        place
    };
    blocks.into_iter().map(place).collect()
}

/// Copies so many bytes of a file behind another's. The kernel does it where it can.
fn append(new: &mut NewFile, file: File, size: u64) -> Result<(), Problem> {
    let copied = io::copy(&mut file.take(size), &mut new.file)?;
    // The block was replaced by a shorter one meanwhile: there are two writers of one blob.
    if copied == size { Ok(new.file.flush()?) } else { Err(invalid_list()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(body: &str) -> Result<Vec<(From, String)>, &'static str> {
        let listed = parse(body.as_bytes()).map_err(|problem| problem.code())?;
        Ok(listed.into_iter().map(|block| (block.from, block.id)).collect())
    }

    #[test]
    fn lists_are_read_as_the_sdks_write_them() {
        let node = "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?><BlockList>\
                    <Latest>YQ==</Latest><Latest>Yg==</Latest></BlockList>";
        let latest = |id: &str| (From::Latest, id.to_owned());
        assert_eq!(ids(node).unwrap(), [latest("YQ=="), latest("Yg==")]);
        let python = "<?xml version='1.0' encoding='utf-8'?>\n<BlockList><Latest>YQ==</Latest>\
                      </BlockList>";
        assert_eq!(ids(python).unwrap(), [latest("YQ==")]);
        let mixed = "\u{feff}<BlockList>\n  <Committed> YQ== </Committed>\n  <!-- and -->\n\
                     <Uncommitted>Yg==</Uncommitted>\n</BlockList>\n";
        let want = [(From::Committed, "YQ==".into()), (From::Uncommitted, "Yg==".into())];
        assert_eq!(ids(mixed).unwrap(), want);
        assert_eq!(ids("<BlockList/>").unwrap(), []);
        assert_eq!(ids("<BlockList></BlockList>").unwrap(), []);
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for bad in [
            "<BlockList>",
            "<BlockList><Latest>YQ==</BlockList>",
            "<List/>",
            "<BlockList><Other>YQ==</Other></BlockList>",
            "<BlockList><Latest><Latest>YQ==</Latest></Latest></BlockList>",
            "<BlockList>text</BlockList>",
            "<!DOCTYPE x [<!ENTITY a \"YQ==\">]><BlockList><Latest>&a;</Latest></BlockList>",
            "YQ==",
        ] {
            assert_eq!(ids(bad), Err("InvalidXmlDocument"), "{bad}");
        }
        assert_eq!(ids("<BlockList><Latest>é</Latest></BlockList>"), Err("InvalidBlockList"));
        assert_eq!(ids("<BlockList><Latest></Latest></BlockList>"), Err("InvalidBlockList"));
        let long = format!("<BlockList>{}</BlockList>", "<Latest>YQ==</Latest>".repeat(50_001));
        assert_eq!(ids(&long), Err("BlockListTooLong"));
        assert!(parse(b"\xff").is_err());
    }

    #[test]
    fn blocks_lie_one_behind_the_other() {
        let of = places(vec![("a".into(), 3), ("b".into(), 4), ("a".into(), 5)]);
        assert_eq!(of["b"], (3, 4));
        assert_eq!(of["a"], (7, 5));
    }
}
