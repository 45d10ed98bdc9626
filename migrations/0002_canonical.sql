-- Canonical events: what landed rows became, append-only, with where each came from.

-- The next position of each (connection, stream). Locked by every append, so positions have no gap and their order is
-- the order of commits.
CREATE TABLE canonical_positions (
    tenant_id     text NOT NULL,
    connection_id uuid NOT NULL,
    stream        text NOT NULL,
    last          bigint NOT NULL,        -- given out; 0 before the first event
    PRIMARY KEY (tenant_id, connection_id, stream),
    FOREIGN KEY (tenant_id, connection_id) REFERENCES connections (tenant_id, id)
);

-- The events. `meta`: connection (its name then), extracted_at, hash. `lineage`: raw_id, sync_id, catalog_version, mapping
-- (digest); which source field fed which canonical field is the same for many events and lies in canonical_event_lineage.
CREATE TABLE canonical_streams (
    tenant_id      text NOT NULL,
    connection_id  uuid NOT NULL,
    stream         text NOT NULL,
    position       bigint NOT NULL CHECK (position >= 1),
    at             timestamptz NOT NULL,  -- when the event was made; the partition key
    id             uuid NOT NULL,         -- from connection, stream, entity, record key and position
    entity         text NOT NULL,
    record_key     text NOT NULL,         -- key values as a JSON list, or the raw id
    op             text NOT NULL CHECK (op IN ('upsert', 'delete')),
    source         text NOT NULL,         -- the system
    meta           jsonb NOT NULL,
    data           jsonb NOT NULL,
    unknown_fields jsonb NOT NULL,
    lineage        jsonb NOT NULL,
    PRIMARY KEY (tenant_id, connection_id, stream, position, at)
) PARTITION BY RANGE (at);
CREATE INDEX canonical_streams_record ON canonical_streams (tenant_id, entity, record_key, position);
CREATE INDEX canonical_streams_newest ON canonical_streams (tenant_id, at DESC, connection_id);
SELECT isolate_tenants('canonical_streams');

-- Row triggers are inherited by partitions; TRUNCATE has statement triggers only, so partitions get their own.
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON canonical_streams FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only_whole BEFORE TRUNCATE ON canonical_streams EXECUTE FUNCTION refuse_change();

-- Rows of months that no partition was made for.
CREATE TABLE canonical_streams_default PARTITION OF canonical_streams DEFAULT;
CREATE TRIGGER append_only_whole BEFORE TRUNCATE ON canonical_streams_default EXECUTE FUNCTION refuse_change();
SELECT isolate_tenants('canonical_streams_default');

-- Makes the partitions of that moment's month and of the two that follow, where they are missing. A month that already
-- has rows in the default partition stays there.
CREATE FUNCTION ensure_canonical_partitions(moment timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    first timestamptz;
    next timestamptz;
    name text;
    taken boolean;
BEGIN
    FOR ahead IN 0..2 LOOP
        first := (date_trunc('month', moment AT TIME ZONE 'UTC') + make_interval(months => ahead)) AT TIME ZONE 'UTC';
        next := ((first AT TIME ZONE 'UTC') + interval '1 month') AT TIME ZONE 'UTC';
        name := 'canonical_streams_' || to_char(first AT TIME ZONE 'UTC', 'YYYY_MM');
        CONTINUE WHEN to_regclass(name) IS NOT NULL;
        -- two appends at the turn of a month make it once
        PERFORM pg_advisory_xact_lock(hashtext('canonical_streams'), 0);
        -- not to_regclass: it answers from a cache that the wait for the lock does not refresh
        CONTINUE WHEN EXISTS (SELECT 1 FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
                              WHERE i.inhparent = 'canonical_streams'::regclass AND c.relname = name);
        SELECT EXISTS (SELECT 1 FROM canonical_streams_default WHERE at >= first AND at < next) INTO taken;
        CONTINUE WHEN taken;
        EXECUTE format('CREATE TABLE %I PARTITION OF canonical_streams FOR VALUES FROM (%L) TO (%L)', name, first, next);
        EXECUTE format('CREATE TRIGGER append_only_whole BEFORE TRUNCATE ON %I EXECUTE FUNCTION refuse_change()', name);
        PERFORM isolate_tenants(name::regclass);
    END LOOP;
END
$$;

-- Runs of events with the same job, catalog version and mapping: from `first_position` up to the next row's.
CREATE TABLE canonical_event_lineage (
    tenant_id       text NOT NULL,
    connection_id   uuid NOT NULL,
    stream          text NOT NULL,
    first_position  bigint NOT NULL,
    last_position   bigint NOT NULL,
    entity          text NOT NULL,
    sync_id         bigint NOT NULL,
    catalog_version integer NOT NULL,
    mapping         text NOT NULL,        -- digest, see mapping_registry
    fields          jsonb NOT NULL,       -- canonical field -> source fields
    PRIMARY KEY (tenant_id, connection_id, stream, first_position)
);
SELECT isolate_tenants('canonical_event_lineage');
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON canonical_event_lineage EXECUTE FUNCTION refuse_change();

-- The last event of each record: decides whether a landed row is news.
CREATE TABLE canonical_heads (
    tenant_id     text NOT NULL,
    connection_id uuid NOT NULL,
    stream        text NOT NULL,
    entity        text NOT NULL,
    record_key    text NOT NULL,
    op            text NOT NULL,
    hash          text NOT NULL,          -- of op, data and unknown fields
    raw_id        text NOT NULL,
    position      bigint NOT NULL,        -- leads to the event, together with at
    at            timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, connection_id, stream, entity, record_key)
);
SELECT isolate_tenants('canonical_heads');

-- Records that could not become events. `record` is json, not jsonb: it may hold \u0000.
CREATE TABLE dead_letters (
    tenant_id     text NOT NULL,
    connection_id uuid NOT NULL,
    stream        text NOT NULL,
    entity        text NOT NULL,
    raw_id        text NOT NULL,
    record_key    text,
    reason        text NOT NULL,          -- one per line
    record        json NOT NULL,
    at            timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, connection_id, stream, entity, raw_id)
);
CREATE INDEX dead_letters_newest ON dead_letters (tenant_id, connection_id, at DESC);
SELECT isolate_tenants('dead_letters');

-- How far landing is read, per stream and entity. Moves in the transaction that stores what the rows became.
CREATE TABLE landing_cursors (
    tenant_id     text NOT NULL,
    connection_id uuid NOT NULL,
    stream        text NOT NULL,
    entity        text NOT NULL,
    cursor        json NOT NULL,          -- the landing reader alone knows what is inside
    PRIMARY KEY (tenant_id, connection_id, stream, entity)
);
SELECT isolate_tenants('landing_cursors');

-- The texts of mappings and entities that ever made an event, by digest.
CREATE TABLE mapping_registry (
    tenant_id text NOT NULL,
    name      text NOT NULL,              -- its path
    digest    text NOT NULL,
    text      text NOT NULL,
    at        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, name, digest)
);
SELECT isolate_tenants('mapping_registry');

SELECT isolate_tenants('canonical_positions');
