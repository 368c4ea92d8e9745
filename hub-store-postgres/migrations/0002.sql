-- A value in a body, for indexes that find twins by it: a boolean, a number or a text, NULL where there
-- is none. What an index cannot hold or show, a long text or a body that is no jsonb, is `[]`: whoever
-- looks for a value looks for that as well, and at the body itself then.
CREATE FUNCTION $S.value_at(body bytea, path text[]) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE COST 2000 AS $$
DECLARE
    found jsonb;
BEGIN
    found := convert_from(body, 'UTF8')::jsonb #> path;
    IF jsonb_typeof(found) IN ('object', 'array', 'null') THEN
        RETURN NULL;
    END IF;
    IF octet_length(found::text) > 512 THEN
        RETURN '[]';
    END IF;
    RETURN found;
EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
    RETURN '[]';
END $$;
