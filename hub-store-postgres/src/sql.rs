//! Every statement, with the schema's name in it.
//!
//! Many rows go in and out of one statement as arrays. What a statement locks it locks in the order of
//! keys, so that two batches cannot wait for each other: `unnest` gives its rows in the order of the
//! arrays, which the callers sort, and the planner is told not to turn the loop around.

/// Begins a statement that writes to the log: the heads move on, what they issue is written.
macro_rules! appending {
    ($rest:literal) => {
        concat!(
            "WITH head AS (UPDATE $S.head AS h \
                 SET next = h.next + w.count, floor = h.at, at = greatest(h.at, w.until) \
                 FROM unnest($1::integer[], $2::bigint[], $3::bigint[]) AS w(part, count, until) \
                 WHERE h.part = w.part \
                 RETURNING h.part, h.segment, h.next - w.count AS first, h.floor), \
             log AS (INSERT INTO $S.log \
                 (segment, part, first, last, floor, at, until, places, body) \
                 SELECT h.segment, h.part, h.first + w.skip, h.first + w.skip + w.count - 1, h.floor, \
                     w.at, greatest(h.floor, w.until), w.places, w.body \
                 FROM unnest($4::integer[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], \
                     $9::bytea[], $10::bytea[]) AS w(part, skip, count, at, until, places, body) \
                 JOIN head AS h ON h.part = w.part), ",
            $rest
        )
    };
}

/// A statement that is prepared when a connection first needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Sql {
    Require,
    Create,
    Update,
    Remove,
    Queue,
    Clear,
    Settle,
    Retime,
    Push,
    Finish,
    FinishLog,
    Answer,
    LockDocuments,
    HoldAbsent,
    ReleaseAbsent,
    LockQueues,
    LockItems,
    MakeQueues,
    MakeHeads,
    FindBatch,
    ClaimQueues,
    ClaimOverdue,
    ClaimAny,
    Documents,
    Items,
    ItemsAfter,
    Depths,
    Scan,
    Head,
    Tail,
    SeekTime,
    Trim,
    Block,
}

impl Sql {
    /// How many there are.
    pub(crate) const COUNT: usize = Self::Block as usize + 1;

    /// The text; `$S` stands for the schema.
    pub(crate) fn template(self) -> &'static str {
        match self {
            // What a batch writes. Each ends the transaction if not all of its guards hold.
            Self::Require => {
                "WITH found AS MATERIALIZED (SELECT 1 \
                 FROM unnest($1::smallint[], $2::text[], $3::bigint[]) AS w(kind, id, version) \
                 JOIN $S.document AS d ON d.kind = w.kind AND d.id = w.id AND d.version = w.version \
                 FOR SHARE OF d) \
                 SELECT $S.hold(count(*) = $4) FROM found"
            }
            Self::Create => {
                "INSERT INTO $S.document (kind, id, version, body) \
                 SELECT * FROM unnest($1::smallint[], $2::text[], $3::bigint[], $4::bytea[])"
            }
            Self::Update => {
                "WITH done AS (UPDATE $S.document AS d SET version = w.new, body = w.body \
                 FROM unnest($1::smallint[], $2::text[], $3::bigint[], $4::bigint[], $5::bytea[]) \
                     AS w(kind, id, old, new, body) \
                 WHERE d.kind = w.kind AND d.id = w.id AND d.version = w.old RETURNING 1) \
                 SELECT $S.hold(count(*) = $6) FROM done"
            }
            Self::Remove => {
                "WITH done AS (DELETE FROM $S.document AS d \
                 USING unnest($1::smallint[], $2::text[], $3::bigint[]) AS w(kind, id, version) \
                 WHERE d.kind = w.kind AND d.id = w.id AND d.version = w.version RETURNING 1) \
                 SELECT $S.hold(count(*) = $4) FROM done"
            }
            Self::Queue => {
                "WITH done AS (UPDATE $S.queue AS q \
                 SET next = q.next + w.pushes, depth = greatest(q.depth + w.delta, 0) \
                 FROM unnest($1::smallint[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[]) \
                     AS w(kind, id, pushes, delta, room) \
                 WHERE q.kind = w.kind AND q.id = w.id AND q.depth <= w.room RETURNING 1) \
                 SELECT $S.hold(count(*) = $6) FROM done"
            }
            Self::Clear => {
                "DELETE FROM $S.item AS i USING unnest($1::smallint[], $2::text[]) AS w(kind, queue) \
                 WHERE i.kind = w.kind AND i.queue = w.queue"
            }
            Self::Settle => {
                "WITH done AS (DELETE FROM $S.item AS i \
                 USING unnest($1::smallint[], $2::text[], $3::bigint[], $4::bigint[]) \
                     AS w(kind, queue, seq, version) \
                 WHERE i.kind = w.kind AND i.queue = w.queue AND i.seq = w.seq \
                     AND i.version = w.version RETURNING 1) \
                 SELECT $S.hold(count(*) = $5) FROM done"
            }
            Self::Retime => {
                "WITH done AS (UPDATE $S.item AS i \
                 SET version = w.new, visible = w.visible, marks = w.marks \
                 FROM unnest($1::smallint[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], \
                     $6::bigint[], $7::bytea[]) AS w(kind, queue, seq, old, new, visible, marks) \
                 WHERE i.kind = w.kind AND i.queue = w.queue AND i.seq = w.seq \
                     AND i.version = w.old RETURNING 1) \
                 SELECT $S.hold(count(*) = $8) FROM done"
            }
            // `back`: how many of the numbers that the queue has just issued come from this one on.
            Self::Push => {
                "INSERT INTO $S.item \
                     (kind, queue, seq, version, visible, deadline, claims, marks, body) \
                 SELECT q.kind, q.id, q.next - w.back, w.version, w.visible, w.deadline, 0, '', w.body \
                 FROM unnest($1::smallint[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], \
                     $6::bigint[], $7::bytea[]) AS w(kind, queue, back, version, visible, deadline, body) \
                 JOIN $S.queue AS q ON q.kind = w.kind AND q.id = w.queue"
            }
            // The last statement of every batch: the log, whose heads everybody meets at, and the
            // answer. A head that does not exist yet ends the transaction like a failed guard.
            Self::Finish => {
                appending!(
                    "bases AS MATERIALIZED (SELECT \
                         (SELECT coalesce(array_agg(h.first ORDER BY h.part), '{}') FROM head AS h) AS heads, \
                         (SELECT coalesce(array_agg(q.next - w.pushes ORDER BY w.n), '{}') \
                             FROM unnest($11::smallint[], $12::text[], $13::bigint[]) WITH ORDINALITY \
                                 AS w(kind, id, pushes, n) \
                             JOIN $S.queue AS q ON q.kind = w.kind AND q.id = w.id) AS queues), \
                     done AS (INSERT INTO $S.batch (id, outcomes, bases) \
                         SELECT $14::uuid, $15::bytea, b.heads || b.queues FROM bases AS b \
                         WHERE $14::uuid IS NOT NULL) \
                     SELECT $S.hold(cardinality(heads) = cardinality($1::integer[])), heads || queues FROM bases"
                )
            }
            // The same for a batch that issues numbers of the log alone.
            Self::FinishLog => {
                appending!(
                    "done AS (INSERT INTO $S.batch (id, outcomes, bases) \
                         SELECT $11::uuid, $12::bytea, array_agg(h.first ORDER BY h.part) FROM head AS h \
                         HAVING count(*) = cardinality($1::integer[]) RETURNING bases) \
                     SELECT $S.hold(count(*) = 1), max(bases) FROM done"
                )
            }
            // And for one that issues none.
            Self::Answer => {
                "INSERT INTO $S.batch (id, outcomes, bases) VALUES ($1, $2, '{}') \
                 RETURNING true, bases"
            }
            // Looking before writing, for a batch that has to be judged.
            Self::LockDocuments => {
                "SELECT d.kind, d.id, d.version \
                 FROM unnest($1::smallint[], $2::text[]) AS w(kind, id) \
                 JOIN $S.document AS d ON d.kind = w.kind AND d.id = w.id \
                 ORDER BY d.kind, d.id FOR UPDATE OF d"
            }
            // A row of version 0 keeps others from creating a document that must stay absent. Nobody
            // else ever sees it: its transaction takes it out again.
            Self::HoldAbsent => {
                "INSERT INTO $S.document (kind, id, version, body) \
                 SELECT kind, id, 0, '' FROM unnest($1::smallint[], $2::text[]) AS w(kind, id) \
                 ON CONFLICT DO NOTHING"
            }
            Self::ReleaseAbsent => {
                "DELETE FROM $S.document AS d USING unnest($1::smallint[], $2::text[]) AS w(kind, id) \
                 WHERE d.kind = w.kind AND d.id = w.id AND d.version = 0"
            }
            Self::LockQueues => {
                "SELECT q.kind, q.id, q.depth \
                 FROM unnest($1::smallint[], $2::text[]) AS w(kind, id) \
                 JOIN $S.queue AS q ON q.kind = w.kind AND q.id = w.id \
                 ORDER BY q.kind, q.id FOR UPDATE OF q"
            }
            Self::LockItems => {
                "SELECT i.kind, i.queue, i.seq, i.version \
                 FROM unnest($1::smallint[], $2::text[], $3::bigint[]) AS w(kind, queue, seq) \
                 JOIN $S.item AS i ON i.kind = w.kind AND i.queue = w.queue AND i.seq = w.seq \
                 ORDER BY i.kind, i.queue, i.seq FOR UPDATE OF i"
            }
            Self::MakeQueues => {
                "INSERT INTO $S.queue (kind, id, next, depth) \
                 SELECT kind, id, 1, 0 FROM unnest($1::smallint[], $2::text[]) AS w(kind, id) \
                 ON CONFLICT DO NOTHING"
            }
            // The segment is locked against being dropped until the head that writes to it is there.
            Self::MakeHeads => {
                "WITH segment AS MATERIALIZED (SELECT id FROM $S.segment ORDER BY id DESC LIMIT 1 FOR SHARE), \
                 made AS (INSERT INTO $S.head (part, next, oldest, at, floor, segment) \
                     SELECT w.part, 1, 1, 0, 0, s.id FROM unnest($1::integer[]) AS w(part), segment AS s \
                     ON CONFLICT DO NOTHING RETURNING part, segment) \
                 INSERT INTO $S.span (part, segment, first) SELECT part, segment, 1 FROM made"
            }
            Self::FindBatch => "SELECT outcomes, bases FROM $S.batch WHERE id = $1",
            // Claims. What is chosen is locked first, once: a join might ask for it again.
            Self::ClaimQueues => {
                "WITH chosen AS MATERIALIZED (SELECT c.n, c.until, c.version, i.kind, i.queue, i.seq \
                     FROM unnest($1::smallint[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[]) \
                         WITH ORDINALITY AS c(kind, queue, most, until, version, n) \
                     CROSS JOIN LATERAL (SELECT kind, queue, seq FROM $S.item \
                         WHERE kind = c.kind AND queue = c.queue AND visible <= $6 \
                         ORDER BY seq LIMIT c.most FOR UPDATE SKIP LOCKED) AS i) \
                 UPDATE $S.item AS i SET visible = c.until, version = c.version, \
                     claims = least(i.claims, 2147483646) + 1 \
                 FROM chosen AS c WHERE i.kind = c.kind AND i.queue = c.queue AND i.seq = c.seq \
                 RETURNING i.kind, i.queue, i.seq, i.version, i.visible, i.deadline, i.claims, i.marks, \
                     i.body, c.n"
            }
            Self::ClaimOverdue => {
                "WITH chosen AS MATERIALIZED (SELECT kind, queue, seq FROM $S.item \
                     WHERE kind = $1 AND deadline <= $5 AND deadline < 9223372036854775807 \
                         AND visible <= $5 \
                     ORDER BY deadline LIMIT $2 FOR UPDATE SKIP LOCKED) \
                 UPDATE $S.item AS i SET visible = $3, version = $4, \
                     claims = least(i.claims, 2147483646) + 1 \
                 FROM chosen AS c WHERE i.kind = c.kind AND i.queue = c.queue AND i.seq = c.seq \
                 RETURNING i.kind, i.queue, i.seq, i.version, i.visible, i.deadline, i.claims, i.marks, \
                     i.body, 1::bigint"
            }
            Self::ClaimAny => {
                "WITH chosen AS MATERIALIZED (SELECT kind, queue, seq FROM $S.item \
                     WHERE kind = $1 AND visible <= $5 \
                     ORDER BY kind, queue, seq LIMIT $2 FOR UPDATE SKIP LOCKED) \
                 UPDATE $S.item AS i SET visible = $3, version = $4, \
                     claims = least(i.claims, 2147483646) + 1 \
                 FROM chosen AS c WHERE i.kind = c.kind AND i.queue = c.queue AND i.seq = c.seq \
                 RETURNING i.kind, i.queue, i.seq, i.version, i.visible, i.deadline, i.claims, i.marks, \
                     i.body, 1::bigint"
            }
            // Reading.
            Self::Documents => {
                "SELECT w.n, d.version, d.body \
                 FROM unnest($1::smallint[], $2::text[]) WITH ORDINALITY AS w(kind, id, n) \
                 JOIN $S.document AS d ON d.kind = w.kind AND d.id = w.id"
            }
            Self::Items => {
                "SELECT i.kind, i.queue, i.seq, i.version, i.visible, i.deadline, i.claims, i.marks, \
                     i.body, w.n \
                 FROM unnest($1::smallint[], $2::text[], $3::bigint[]) WITH ORDINALITY \
                     AS w(kind, queue, seq, n) \
                 JOIN $S.item AS i ON i.kind = w.kind AND i.queue = w.queue AND i.seq = w.seq"
            }
            Self::ItemsAfter => {
                "SELECT kind, queue, seq, version, visible, deadline, claims, marks, body, 1::bigint \
                 FROM $S.item WHERE kind = $1 AND queue = $2 AND seq > $3 ORDER BY seq LIMIT $4"
            }
            Self::Depths => {
                "SELECT w.n, q.depth \
                 FROM unnest($1::smallint[], $2::text[]) WITH ORDINALITY AS w(kind, id, n) \
                 JOIN $S.queue AS q ON q.kind = w.kind AND q.id = w.id"
            }
            Self::Scan => {
                "SELECT id, version, body FROM $S.document \
                 WHERE kind = $1 AND ($2::text IS NULL OR id > $2) ORDER BY id LIMIT $3"
            }
            Self::Head => "SELECT oldest, next FROM $S.head WHERE part = $1",
            // `$3` entries from `$2` on, or from the oldest kept one on, as far as they lie in the segment
            // of the first.
            Self::Tail => {
                "SELECT first, floor, at, places, body, \
                     (SELECT oldest FROM $S.head WHERE part = $1) AS oldest \
                 FROM $S.log \
                 WHERE segment = (SELECT segment FROM $S.span WHERE part = $1 AND first <= \
                         greatest($2, (SELECT oldest FROM $S.head WHERE part = $1)) \
                     ORDER BY first DESC, segment DESC LIMIT 1) \
                 AND part = $1 \
                 AND first < greatest($2, (SELECT oldest FROM $S.head WHERE part = $1)) + $3 \
                 AND last >= greatest($2, (SELECT oldest FROM $S.head WHERE part = $1)) \
                 ORDER BY last"
            }
            Self::SeekTime => {
                "SELECT first, floor, at, places, (SELECT oldest FROM $S.head WHERE part = $1) AS oldest \
                 FROM $S.log \
                 WHERE part = $1 AND until >= $2 \
                     AND last >= (SELECT oldest FROM $S.head WHERE part = $1) \
                 ORDER BY until, last LIMIT 1"
            }
            Self::Trim => {
                "UPDATE $S.head SET oldest = least($2, next) \
                 WHERE part = $1 AND oldest < least($2, next)"
            }
            Self::Block => "SELECT nextval('$S.version_block')",
        }
    }
}

/// A schema's name as SQL writes it: in double quotes.
pub(crate) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The text with a schema in it. `schema` is quoted already.
pub(crate) fn within(schema: &str, template: &str) -> String {
    template.replace("$S", schema)
}
