//! How the hub's values are written in SQL, and read back.

use std::borrow::Cow;
use std::error::Error;
use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use hub_core::store::{Kind, QueueKind};
use hub_core::time::Timestamp;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

/// A time. What a `bigint` cannot hold is the end of time, and the other way round.
pub(crate) fn millis(at: Timestamp) -> i64 {
    i64::try_from(at.as_millis()).unwrap_or(i64::MAX)
}

/// The inverse of [`millis`].
pub(crate) fn time(millis: i64) -> Timestamp {
    if millis == i64::MAX {
        return Timestamp::MAX;
    }
    Timestamp::from_millis(u64::try_from(millis).unwrap_or(0))
}

/// A version or number to look for. One that was never issued is none that is stored.
pub(crate) fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(-1)
}

/// A bound on numbers: the largest there is stands for those beyond it.
pub(crate) fn bound(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A stored number, which is never negative.
pub(crate) fn stored(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// A length or position in memory.
pub(crate) fn count(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A kind as it is stored.
pub(crate) fn kind(kind: Kind) -> i16 {
    i16::from(kind as u8)
}

/// A kind of queue as it is stored.
pub(crate) fn queue_kind(kind: QueueKind) -> i16 {
    i16::from(kind as u8)
}

/// The inverse of [`kind`]. What a later version has stored is nothing to this one.
pub(crate) fn known_kind(stored: i16) -> Option<Kind> {
    Kind::ALL.into_iter().find(|known| kind(*known) == stored)
}

/// The inverse of [`queue_kind`].
pub(crate) fn known_queue(stored: i16) -> Option<QueueKind> {
    QueueKind::ALL.into_iter().find(|known| queue_kind(*known) == stored)
}

/// An id as text. PostgreSQL's text holds no U+0000, so this and the escape before it are written as
/// two characters; the order by bytes stays.
pub(crate) fn text(id: &str) -> Cow<'_, str> {
    if !id.contains(['\0', ESCAPE]) {
        return Cow::Borrowed(id);
    }
    Cow::Owned(id.replace(ESCAPE, "\u{1}\u{2}").replace('\0', "\u{1}\u{1}"))
}

/// The inverse of [`text`].
pub(crate) fn id(text: &str) -> Arc<str> {
    if !text.contains(ESCAPE) {
        return text.into();
    }
    text.replace("\u{1}\u{1}", "\0").replace("\u{1}\u{2}", "\u{1}").into()
}

const ESCAPE: char = '\u{1}';

/// 128 bits as a `uuid`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Uuid(pub(crate) u128);

impl ToSql for Uuid {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_slice(&self.0.to_be_bytes());
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::UUID
    }

    to_sql_checked!();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_time_stays_the_end_of_time() {
        for at in [Timestamp::ZERO, Timestamp::from_millis(7), Timestamp::MAX] {
            assert_eq!(time(millis(at)), at);
        }
        assert_eq!(time(millis(Timestamp::from_millis(1 << 63))), Timestamp::MAX);
    }

    #[test]
    fn ids_come_back_and_keep_their_order() {
        let ids = [
            "",
            "\0",
            "\0\0",
            "\0\u{1}",
            "\0a",
            "\u{1}",
            "\u{1}\0",
            "\u{1}\u{1}",
            "\u{1}b",
            "\u{2}",
            "a",
        ];
        assert!(ids.is_sorted_by_key(|id| id.as_bytes()));
        for found in ids {
            assert_eq!(&*id(&text(found)), found, "{found:?}");
            assert!(!text(found).contains('\0'));
        }
        let texts = ids.map(text);
        assert!(texts.is_sorted_by(|one, two| one.as_bytes() < two.as_bytes()), "{texts:?}");
    }
}
