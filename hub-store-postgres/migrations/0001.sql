-- The first form of a hub's schema. `$S` is the schema's name, quoted.
--
-- Times are milliseconds since 1970; 9223372036854775807 is never. Ids are compared by bytes.

CREATE SEQUENCE $S.version_block;

-- Documents: identities, twins, sessions, nodes, cursors, settings. The body is what the hub wrote,
-- byte for byte; the views below show identities and twins as jsonb.
CREATE TABLE $S.document (
    kind    smallint NOT NULL,
    id      text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    body    bytea NOT NULL,
    PRIMARY KEY (kind, id)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);

-- One row for each queue that ever held an item: the number of the next, and how many there are.
CREATE TABLE $S.queue (
    kind  smallint NOT NULL,
    id    text COLLATE "C" NOT NULL,
    next  bigint NOT NULL,
    depth bigint NOT NULL,
    PRIMARY KEY (kind, id)
) WITH (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);

-- Items of queues. A claim changes `visible`, `version` and `claims`: none of them is indexed, so that
-- it stays on its page.
CREATE TABLE $S.item (
    kind     smallint NOT NULL,
    queue    text COLLATE "C" NOT NULL,
    seq      bigint NOT NULL,
    version  bigint NOT NULL,
    visible  bigint NOT NULL,
    deadline bigint NOT NULL,
    claims   integer NOT NULL,
    marks    bytea NOT NULL,
    body     bytea NOT NULL,
    PRIMARY KEY (kind, queue, seq)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.05);
-- Compressed or not, a body over 2 KiB lies beside the row, where claims do not touch it.
ALTER TABLE $S.item ALTER COLUMN body SET STORAGE EXTERNAL;
CREATE INDEX item_deadline ON $S.item (kind, deadline) WHERE deadline < 9223372036854775807;

-- The answers to the batches of late, so that a repeated one has no second effect.
CREATE TABLE $S.batch (
    id       uuid PRIMARY KEY,
    at       timestamptz NOT NULL DEFAULT now(),
    outcomes bytea NOT NULL,
    bases    bigint[] NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.1, autovacuum_vacuum_insert_threshold = -1);
CREATE INDEX batch_at ON $S.batch (at);

-- The log. Its tables are segments: all partitions of the hub write to the newest one, and a segment
-- is dropped once every partition has forgotten what it has in it.
CREATE TABLE $S.segment (
    id   integer PRIMARY KEY,
    born timestamptz NOT NULL DEFAULT now()
);

-- One row for each partition: the next number, the oldest kept one, the time of the last entry and of
-- the one before its append, and the segment it writes to. Every append updates it, last of all.
CREATE TABLE $S.head (
    part    integer PRIMARY KEY,
    next    bigint NOT NULL,
    oldest  bigint NOT NULL,
    at      bigint NOT NULL,
    floor   bigint NOT NULL,
    segment integer NOT NULL
) WITH (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);

-- Where each partition's entries begin in each segment.
CREATE TABLE $S.span (
    part    integer NOT NULL,
    segment integer NOT NULL,
    first   bigint NOT NULL,
    PRIMARY KEY (part, segment)
);

-- Several entries in one row, as many as fit a page: `first` to `last`. `places` has eight bytes for
-- each: where its body ends, and how many milliseconds after `at` it came. No entry is earlier than
-- `floor`; `until` is the time of the last one.
CREATE TABLE $S.log (
    segment integer NOT NULL,
    part    integer NOT NULL,
    first   bigint NOT NULL,
    last    bigint NOT NULL,
    floor   bigint NOT NULL,
    at      bigint NOT NULL,
    until   bigint NOT NULL,
    places  bytea NOT NULL,
    body    bytea NOT NULL
) PARTITION BY LIST (segment);
-- Events are small and many: compressing each chunk costs more than it saves.
ALTER TABLE $S.log ALTER COLUMN places SET STORAGE EXTERNAL;
ALTER TABLE $S.log ALTER COLUMN body SET STORAGE EXTERNAL;
CREATE INDEX log_place ON $S.log (part, last);
CREATE INDEX log_time ON $S.log (part, until, last);

INSERT INTO $S.segment (id) VALUES (1);
CREATE TABLE $S.log_1 PARTITION OF $S.log FOR VALUES IN (1)
    WITH (fillfactor = 100, toast_tuple_target = 8160, autovacuum_vacuum_insert_threshold = -1);

-- Ends the transaction when what it was decided on does not hold any more.
CREATE FUNCTION $S.hold(ok boolean) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF NOT ok THEN
        RAISE EXCEPTION 'a record has changed; the hub judges the batch anew' USING ERRCODE = 'HB001';
    END IF;
END $$;

-- A body as jsonb; NULL if it is none. (`jsonb` refuses \u0000, for one.)
CREATE FUNCTION $S.as_json(body bytea) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    RETURN convert_from(body, 'UTF8')::jsonb;
EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
    RETURN NULL;
END $$;

-- Without keys: who may look at identities need not be let in as them.
CREATE VIEW $S.identity AS
    SELECT id, version, body - 'authentication'
        || jsonb_build_object('authentication', body->'authentication'->'type') AS body
    FROM (SELECT id, version, $S.as_json(body) AS body FROM $S.document WHERE kind = 1 OFFSET 0) AS d;

CREATE VIEW $S.twin AS
    SELECT id, version, $S.as_json(body) AS body FROM $S.document WHERE kind = 2;

-- The log, entry by entry.
CREATE VIEW $S.entry AS
    WITH chunk AS (
        SELECT c.*, h.oldest FROM $S.log AS c JOIN $S.head AS h USING (part) WHERE c.last >= h.oldest
    )
    SELECT part, first + n AS seq,
        to_timestamp(least(greatest(floor, at + p.after), 253402300799000) / 1000.0) AS at,
        substr(body, p.begins + 1, p.ends - p.begins) AS body
    FROM chunk
    CROSS JOIN LATERAL generate_series(0, (last - first)::integer) AS n
    CROSS JOIN LATERAL (
        SELECT ('x' || encode(substr(places, n * 8 + 1, 4), 'hex'))::bit(32)::integer AS ends,
            ('x' || encode(substr(places, n * 8 + 5, 4), 'hex'))::bit(32)::bigint AS after,
            CASE WHEN n = 0 THEN 0
                ELSE ('x' || encode(substr(places, n * 8 - 7, 4), 'hex'))::bit(32)::integer
            END AS begins
    ) AS p
    WHERE first + n >= oldest;
