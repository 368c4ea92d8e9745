-- The first form said that this function is safe in parallel workers. It is not: what catches an error
-- begins a subtransaction, which PostgreSQL up to 16 refuses in a parallel plan, and in its leader as well.
ALTER FUNCTION $S.as_json(bytea) PARALLEL UNSAFE;
