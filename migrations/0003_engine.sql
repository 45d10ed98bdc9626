-- What the embedded engine keeps for itself: its objects and its jobs. No settings and no secrets: those come with each
-- call. How far a stream is read is not here but in the destination, in the transaction that holds the rows.

CREATE SCHEMA aam_engine;

-- Sources, destinations and connections. `owner` marks an object as ours; `draft` is what a connection carries.
CREATE TABLE aam_engine.objects (
    tenant_id  text NOT NULL,
    id         uuid PRIMARY KEY,
    kind       text NOT NULL CHECK (kind IN ('source', 'destination', 'connection')),
    owner      text NOT NULL,
    name       text NOT NULL,
    draft      jsonb CHECK ((kind = 'connection') = (draft IS NOT NULL)),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (kind, owner)
);
CREATE INDEX ON aam_engine.objects (tenant_id, kind);

-- Runs of syncs. `id` is the sync_id of landed rows; `connection` the identity from the lock; `request` the ask's own id.
CREATE TABLE aam_engine.jobs (
    tenant_id  text NOT NULL,
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    object     uuid NOT NULL,
    connection uuid NOT NULL,
    request    uuid NOT NULL,
    state      text NOT NULL CHECK (state IN ('running', 'succeeded', 'failed', 'cancelled')),
    started_at timestamptz NOT NULL DEFAULT now(),
    ended_at   timestamptz,
    attempts   integer NOT NULL DEFAULT 1,
    rows       bigint NOT NULL DEFAULT 0,
    bytes      bigint NOT NULL DEFAULT 0,
    streams    jsonb NOT NULL DEFAULT '[]',
    error      text,
    CHECK ((state = 'running') = (ended_at IS NULL)),
    UNIQUE (object, request)
);
-- at most one running job per connection
CREATE UNIQUE INDEX ON aam_engine.jobs (object) WHERE state = 'running';
CREATE INDEX ON aam_engine.jobs (tenant_id, object, id DESC);

ALTER TABLE aam_engine.objects ENABLE ROW LEVEL SECURITY;
ALTER TABLE aam_engine.objects FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON aam_engine.objects
    USING (tenant_id = current_setting('aam.tenant', true) OR current_setting('aam.tenant', true) = '*');
ALTER TABLE aam_engine.jobs ENABLE ROW LEVEL SECURITY;
ALTER TABLE aam_engine.jobs FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON aam_engine.jobs
    USING (tenant_id = current_setting('aam.tenant', true) OR current_setting('aam.tenant', true) = '*');
