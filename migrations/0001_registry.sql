-- The registry: the authority for everything that is not in git.
--
-- Every table carries tenant_id, leads its keys and indexes with it, and is closed by row-level security: a session
-- sees and writes only the rows of the tenant in the setting `aam.tenant`; '*' stands for all tenants (the daemon).
-- FORCE makes that hold for the owner of the tables too; only a superuser or BYPASSRLS role passes by.

-- Closes a table. Every migration that makes a table calls it for that table (and for each of its partitions).
CREATE FUNCTION isolate_tenants(target regclass) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', target);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', target);
    EXECUTE format(
        'CREATE POLICY tenant ON %s USING (current_setting(''aam.tenant'', true) IN (tenant_id, ''*''))', target);
END
$$;

-- Who works on a connection. The row outlives its holder, so that `fence` only ever grows; it exists before the
-- connection's own row does, hence no reference to it.
CREATE TABLE leases (
    tenant_id     text NOT NULL,
    connection_id uuid NOT NULL,
    fence         bigint NOT NULL,        -- grows with each change of holder
    holder        text,                   -- NULL: given back
    expires_at    timestamptz NOT NULL,   -- by this database's clock
    PRIMARY KEY (tenant_id, connection_id)
);

-- Where each connection stands. Rows are never deleted: a connection whose spec is gone is RETIRED.
CREATE TABLE connections (
    tenant_id      text NOT NULL,
    id             uuid NOT NULL UNIQUE,  -- from the lock, for life; the same id in two tenants is a copied lock
    name           text NOT NULL,         -- not unique: a retired connection leaves its name to a new one
    status         text NOT NULL CHECK (status IN ('PENDING', 'ACTIVE', 'HEALING', 'FAILED', 'RETIRED')),
    reason         text,
    retry_at       timestamptz,
    failures       integer NOT NULL DEFAULT 0,   -- in a row; back to 0 when it runs
    objects        jsonb NOT NULL DEFAULT '{}',  -- kind of engine object -> the engine's id
    version        integer NOT NULL DEFAULT 0,   -- of sync_catalog_versions; 0 before the first
    fingerprint    text,
    applied_digest text,                  -- of the specs that the engine's settings were made from
    secrets        text,                  -- keyed fingerprint, never a value
    look_at        timestamptz,
    look_seen      json,                  -- {"Ok": fingerprint} or {"Err": why it could not be seen}
    last_sync_at   timestamptz,
    normalized_job bigint,                -- the last job whose landed rows became canonical events
    paused         boolean NOT NULL DEFAULT false,
    created_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id),
    CHECK ((look_at IS NULL) = (look_seen IS NULL))
);
CREATE INDEX connections_name ON connections (tenant_id, name);

-- The catalogs that a connection ran. `previous` refers to the version before, so that 1..n can have no gap.
CREATE TABLE sync_catalog_versions (
    tenant_id     text NOT NULL,
    connection_id uuid NOT NULL,
    version       integer NOT NULL CHECK (version >= 1),
    previous      integer GENERATED ALWAYS AS (nullif(version - 1, 0)) STORED,
    fingerprint   text NOT NULL,
    body          json NOT NULL,          -- the lock's `streams`; json, not jsonb: names may hold \u0000
    at            timestamptz NOT NULL,
    commit_id     text,
    approved_by   text NOT NULL,
    drift_id      uuid,
    PRIMARY KEY (tenant_id, connection_id, version),
    FOREIGN KEY (tenant_id, connection_id) REFERENCES connections (tenant_id, id),
    FOREIGN KEY (tenant_id, connection_id, previous) REFERENCES sync_catalog_versions (tenant_id, connection_id, version)
);

-- Every catalog that a source ever showed, once per fingerprint.
CREATE TABLE observed_catalogs (
    tenant_id     text NOT NULL,
    connection_id uuid NOT NULL,
    fingerprint   text NOT NULL,
    body          json NOT NULL,          -- in the lock's form
    notes         json NOT NULL,          -- stream -> field -> {place, description}: what the fingerprint does not cover
    raw           json NOT NULL,          -- as the connector said it
    first_seen_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, connection_id, fingerprint),
    FOREIGN KEY (tenant_id, connection_id) REFERENCES connections (tenant_id, id)
);

-- Drifts; their changes are rows of schema_changes.
CREATE TABLE drift_events (
    tenant_id     text NOT NULL,
    id            uuid NOT NULL,
    connection_id uuid NOT NULL,
    base          text NOT NULL,
    target        text NOT NULL,
    status        text NOT NULL
        CHECK (status IN ('pending', 'approved', 'rejected', 'withdrawn', 'repaired', 'failed')),
    confidence    double precision NOT NULL,
    automatic     text NOT NULL,          -- yes, or the gate that forbids it
    branch        text,
    opened_at     timestamptz NOT NULL,
    changed_at    timestamptz NOT NULL,
    cause         text NOT NULL,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, connection_id) REFERENCES connections (tenant_id, id)
);
CREATE INDEX drift_events_connection ON drift_events (tenant_id, connection_id, opened_at DESC);
CREATE UNIQUE INDEX drift_events_one_pending ON drift_events (tenant_id, connection_id) WHERE status = 'pending';

-- One row for each change of a drift, in the drift's order.
CREATE TABLE schema_changes (
    tenant_id text NOT NULL,
    drift_id  uuid NOT NULL,
    place     integer NOT NULL,
    change    json NOT NULL,
    PRIMARY KEY (tenant_id, drift_id, place),
    FOREIGN KEY (tenant_id, drift_id) REFERENCES drift_events (tenant_id, id) ON DELETE CASCADE
);

-- Effects that are about to be sent, or whose outcome is not yet known. A settled intent is deleted.
CREATE TABLE intents (
    tenant_id     text NOT NULL,
    id            uuid NOT NULL,
    connection_id uuid NOT NULL,          -- no reference: the first intent may precede the connection's row
    effect        text NOT NULL,
    key           text NOT NULL,          -- finds the outcome again
    detail        json NOT NULL,          -- never a secret
    at            timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX intents_connection ON intents (tenant_id, connection_id, at);

-- The engine's jobs as last seen.
CREATE TABLE job_history (
    tenant_id     text NOT NULL,
    connection_id uuid NOT NULL,
    job_id        bigint NOT NULL,
    state         text NOT NULL CHECK (state IN ('running', 'succeeded', 'failed', 'cancelled')),
    started_at    timestamptz NOT NULL,
    ended_at      timestamptz,
    attempts      integer NOT NULL,
    rows          bigint NOT NULL,
    bytes         bigint NOT NULL,
    streams       json NOT NULL,          -- [[stream, rows], …]
    error         text,
    PRIMARY KEY (tenant_id, connection_id, job_id),
    FOREIGN KEY (tenant_id, connection_id) REFERENCES connections (tenant_id, id)
);

-- The last good content of each spec file: stays in force while the file is broken.
CREATE TABLE last_good_specs (
    tenant_id text NOT NULL,              -- whose folder the file lies in
    path      text NOT NULL,
    content   text NOT NULL,
    at        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, path)
);

-- Who did what, chained by hash within the tenant. Lines are only ever added.
CREATE TABLE audit_log (
    tenant_id     text NOT NULL,
    position      bigint NOT NULL CHECK (position >= 1),
    at            timestamptz NOT NULL,
    actor         text NOT NULL,
    action        text NOT NULL,
    connection_id uuid,
    summary       text NOT NULL,
    detail        json NOT NULL,          -- json keeps the text that was hashed
    hash          text NOT NULL,
    PRIMARY KEY (tenant_id, position)
);
CREATE INDEX audit_log_connection ON audit_log (tenant_id, connection_id, position DESC);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'table % is append-only', TG_TABLE_NAME;
END
$$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log EXECUTE FUNCTION refuse_change();

SELECT isolate_tenants('leases');
SELECT isolate_tenants('connections');
SELECT isolate_tenants('sync_catalog_versions');
SELECT isolate_tenants('observed_catalogs');
SELECT isolate_tenants('drift_events');
SELECT isolate_tenants('schema_changes');
SELECT isolate_tenants('intents');
SELECT isolate_tenants('job_history');
SELECT isolate_tenants('last_good_specs');
SELECT isolate_tenants('audit_log');
