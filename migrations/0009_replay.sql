-- Dead letters are mapped again when the mapping or the entity that refused them has changed, in the order of `seq`, which is
-- that of landing. `extracted_at` and `sync_id` are the landed row's, for the event it may become; `mapping` is the digest of
-- the mapping that refused it last (see mapping_registry); `refused_by` covers the entity, too, and decides whether it is
-- mapped again. NULL in letters from before this migration: whether a newer row of their record was mapped since is not known,
-- so they are not mapped again, and go when the next row of their record is.

ALTER TABLE dead_letters
    ADD COLUMN seq bigint GENERATED ALWAYS AS IDENTITY,
    ADD COLUMN extracted_at timestamptz,
    ADD COLUMN sync_id bigint,
    ADD COLUMN mapping text,
    ADD COLUMN refused_by text;
-- to map them again in order
CREATE INDEX dead_letters_order ON dead_letters (tenant_id, connection_id, stream, entity, seq);
-- to know at each turn which mappings refused something, however many letters there are
CREATE INDEX dead_letters_refused ON dead_letters (tenant_id, connection_id, stream, entity, refused_by)
    WHERE refused_by IS NOT NULL;
-- to find older letters of a record; a longer key is no key, and an index row has its limits
CREATE INDEX dead_letters_record ON dead_letters (tenant_id, connection_id, stream, entity, record_key)
    WHERE octet_length(record_key) <= 1000;
