-- Requests on a forge: one for each repair that was offered there.
--
-- `state` is what was noted last; the forge is asked for what it is now while it is `open`. `target` and `changes` are what
-- people were last told of: what a closing rejects. `approvals`, `closed_by` and `merge_commit` are the forge's words.
CREATE TABLE requests (
    tenant_id     text NOT NULL,
    connection_id uuid NOT NULL,
    project       text NOT NULL,          -- host and path: another project's numbers are other requests
    number        bigint NOT NULL,
    url           text NOT NULL,
    branch        text NOT NULL,
    drift_id      uuid NOT NULL,
    target        text NOT NULL,
    changes       json NOT NULL,          -- json, not jsonb: names may hold \u0000
    state         text NOT NULL CHECK (state IN ('open', 'merged', 'rejected', 'withdrawn', 'closed')),
    approvals     json NOT NULL DEFAULT '[]',
    closed_by     text,                   -- login of who merged or closed it
    merge_commit  text,
    reason        text,
    opened_at     timestamptz NOT NULL,
    changed_at    timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, connection_id, project, number),
    FOREIGN KEY (tenant_id, connection_id) REFERENCES connections (tenant_id, id)
);
-- At most one request of a connection waits for a decision.
CREATE UNIQUE INDEX requests_open ON requests (tenant_id, connection_id, project) WHERE state = 'open';
SELECT isolate_tenants('requests');
